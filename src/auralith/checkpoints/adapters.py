"""Adapters and the transformer: placed into it for training (through peft), merged into its weights for everything else.

An adapter is a change ΔW of some projections, always taken from the base weights: with strengths s the model is
W + Σ s·ΔW, computed in float32 and rounded once. So strength 0 is the base bit for bit, the order of several adapters
doesn't matter, DoRA interpolates between base and trained weights, and generation costs what it costs without adapters.
The base weights are read from the checkpoint's file again, whatever precision the model runs in.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from auralith.checkpoints.adapter_file import (
    Adapter,
    AdapterConfig,
    AdapterMetadata,
    Factors,
    adapter_shapes,
    first_difference,
    read_adapter,
    write_adapter,
)
from auralith.checkpoints.opening import Checkpoint, locate
from auralith.checkpoints.reading import LazyTensor, sha256_of
from auralith.checkpoints.rename import prefixes, rename
from auralith.checkpoints.single_file import RawCheckpoint, refuse_training, write_raw
from auralith.checkpoints.text_encoder import (
    TextEncoderFolders,
    copy_text_encoder,
    find_text_encoder,
)
from auralith.checkpoints.transform import to_ours
from auralith.config import DiTConfig
from auralith.errors import CheckpointError, InvalidRequest
from auralith.extras import require
from auralith.files import whole_folder
from auralith.models.dit import DiT

MAX_STRENGTH = 10.0
# where peft puts the one adapter of a module, and the module itself
INJECTED, BASE = ".default", ".base_layer"

Choice = tuple[str | Path, float]
"""An adapter's file and its strength."""


@dataclass(frozen=True, eq=False)
class Applied:
    """An adapter and how much of its change is used: 0 none, 1 as trained."""

    adapter: Adapter
    strength: float


# --- training ---


def add_adapter(dit: DiT, config: AdapterConfig, rng: np.random.Generator) -> list[nn.Parameter]:
    """Place an adapter into a transformer, in place, and freeze the rest; returns what is trained, in float32.

    A starts uniform in ±1/√in (He et al. 2015, as in peft), B at zero: the output is at first that of the base.

    Raises:
        MissingExtra: peft is not installed.
        InvalidRequest: a target names no projection, or DoRA meets a row of zeros, which has no direction.
    """
    peft = require("peft", "train")
    projections = targeted_projections(dit, config)
    if config.kind == "dora":
        _require_directions(dit, projections)
    settings = peft.LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(projections),
        use_dora=config.kind == "dora",
    )
    with torch.random.fork_rng(devices=[]):  # peft draws starting values; ours replace them
        peft.inject_adapter_in_model(settings, dit)
    parameters = dict(dit.named_parameters())
    for name, (_, features_in) in projections.items():
        start = rng.uniform(-1, 1, (config.rank, features_in)) / math.sqrt(features_in)
        parameters[f"{name}.lora_A{INJECTED}.weight"].data.copy_(torch.from_numpy(start))
    return [parameter for parameter in parameters.values() if parameter.requires_grad]


def adapter_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The adapter's tensors in the state dict of a transformer that has one, named as in a file."""
    named = {name.replace(INJECTED, ""): t for name, t in state.items() if INJECTED in name}
    magnitude = ".lora_magnitude_vector"
    return {
        name.replace(f"{magnitude}.weight", magnitude): tensor for name, tensor in named.items()
    }


def base_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The other tensors of that state dict, under the names that they have without an adapter."""
    return {name.replace(BASE, ""): t for name, t in state.items() if INJECTED not in name}


def save_adapter(path: str | Path, dit: DiT, metadata: AdapterMetadata) -> None:
    """Write the adapter in a transformer to a file, whole or not at all; raises as `write_adapter` does."""
    write_adapter(path, adapter_state(dit.state_dict()), metadata)


def targeted_projections(dit: DiT, config: AdapterConfig) -> dict[str, tuple[int, int]]:
    """(out, in) features of every projection that the config targets. Raises InvalidRequest for an idle target."""
    linear = {n: m for n, m in dit.named_modules() if isinstance(m, nn.Linear)}
    for target in config.targets:
        if not any(replace(config, targets=(target,)).targeted(name) for name in linear):
            raise InvalidRequest(f"target {target!r} names no linear projection of the transformer")
    return {n: (m.out_features, m.in_features) for n, m in linear.items() if config.targeted(n)}


def _require_directions(dit: DiT, projections: Iterable[str]) -> None:
    for name in projections:
        weight = dit.get_parameter(f"{name}.weight")
        if not weight.is_meta and not weight.any(dim=1).all():
            raise InvalidRequest(
                f"{name} has rows of zeros, which DoRA can't rescale; use LoRA or start from trained weights"
            )


# --- generation ---


def open_adapters(choices: Iterable[Choice]) -> tuple[Applied, ...]:
    """Read adapters' headers and check their strengths.

    Raises:
        CheckpointError: a file is missing, damaged or no adapter.
        InvalidRequest: a strength is out of its range.
    """
    return tuple(Applied(read_adapter(path), _strength(path, value)) for path, value in choices)


def with_adapters(
    checkpoint: Checkpoint, applied: Sequence[Applied], before: Sequence[Applied] = ()
) -> Checkpoint:
    """The checkpoint with adapters merged into its transformer, in place of those that were applied `before`.

    All other tensors are shared with the old one; an adapter in training stays behind there. Raises CheckpointError if an adapter does not fit.
    """
    raw = locate(checkpoint.source)
    ours = to_ours(_merged(raw, applied).weights, raw.spec)
    state = base_state(checkpoint.dit.state_dict())
    for name in _touched((*before, *applied)):
        old = state[f"{name}.weight"]
        state[f"{name}.weight"] = ours[f"dit.{name}.weight"].load(old.device, old.dtype)
    dit = _without_memory(checkpoint.config.dit)
    dit.load_state_dict(state, strict=True, assign=True)
    return replace(checkpoint, dit=dit.eval())


def base_warnings(applied: Sequence[Applied], model_hash: str) -> list[str]:
    """A line for every adapter that was trained on another model than the one with this hash."""
    return [
        f"{adapter.name} was trained on another model ({adapter.metadata.base_model or 'unnamed'}, "
        f"{adapter.metadata.base_hash[:12]}, not {model_hash[:12]}); it may work less well"
        for adapter in (one.adapter for one in applied)
        if adapter.metadata.base_hash not in ("", model_hash)
    ]


def merge_adapters(source: str | Path, choices: Sequence[Choice], out: Path) -> list[str]:
    """Write a model with adapters merged into the new folder `out`, in the single-file layout; returns warnings.

    The tensors that change are stored in float32, so that the folder generates what base and adapters together do; all
    others are copied as they are, with the text encoder that lies beside them. Raises CheckpointError, ResourceError.
    """
    applied = open_adapters(choices)
    raw = locate(source, with_text_encoder=True)
    refuse_training(raw)
    with whole_folder(out) as folder:
        write_raw(folder, _merged(raw, applied))
        encoder = find_text_encoder(raw.folder)
        if encoder is not None:
            copy_text_encoder(encoder, TextEncoderFolders(folder / "t5", folder / "t5"))
    return base_warnings(applied, sha256_of(raw.files))


def _merged(raw: RawCheckpoint, applied: Sequence[Applied]) -> RawCheckpoint:
    """The checkpoint with W + Σ s·ΔW for every projection that an adapter changes, in float32 and still lazy."""
    dit = _without_memory(raw.model.dit)
    for one in applied:
        _require_fit(one.adapter, dit)
    table = prefixes(raw.spec, "ours", "single_file")
    weights = dict(raw.weights)
    for name in _touched(applied):
        parts = [
            (one.strength, one.adapter.projections[name])
            for one in applied
            if one.strength and name in one.adapter.projections
        ]
        published = rename(f"dit.{name}.weight", table)
        assert published is not None  # the adapter fits
        if parts:
            base = weights[published]
            values = partial(_merged_values, name, base, parts)
            weights[published] = LazyTensor(base.shape, torch.float32, values)
    return replace(raw, weights=weights)


def _merged_values(name: str, base: LazyTensor, parts: list[tuple[float, Factors]]) -> Tensor:
    weight = base.read().float()
    merged = weight
    for strength, factors in parts:
        merged = torch.add(merged, factors.change(weight), alpha=strength)
    if not merged.sum().isfinite():
        raise CheckpointError(f"an adapter makes {name} NaN or infinite; it is damaged or diverged")
    return merged


def _require_fit(adapter: Adapter, dit: DiT) -> None:
    config = adapter.metadata.config
    try:
        expected = adapter_shapes(config, targeted_projections(dit, config))
    except InvalidRequest as error:
        problem = str(error)
    else:
        problem = first_difference(adapter.shapes, expected)
    if problem:
        raise CheckpointError(
            f"{adapter.path} does not fit the model: {problem}; use a model like the one it was trained on"
        )


def _touched(applied: Iterable[Applied]) -> list[str]:
    return list(dict.fromkeys(name for one in applied for name in one.adapter.projections))


def _without_memory(config: DiTConfig) -> DiT:
    with torch.device("meta"):
        return DiT(config)


def _strength(path: str | Path, value: float) -> float:
    if not math.isfinite(value) or abs(value) > MAX_STRENGTH:
        raise InvalidRequest(
            f"the strength of {path} is {value:g}; it must be from -{MAX_STRENGTH:g} to {MAX_STRENGTH:g}"
        )
    return value
