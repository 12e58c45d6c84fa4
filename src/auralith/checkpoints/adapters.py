"""Adapters and the model: placed into its transformer for training (through peft), merged into weights for all else.

An adapter is a change ΔW of some weights, always taken from the base weights: with strengths s the model is
W + Σ s·ΔW, computed in float32 and rounded once. So strength 0 is the base bit for bit, the order of several adapters
doesn't matter, DoRA interpolates between base and trained weights, and generation costs what it costs without adapters.
The base weights are read from the checkpoint's file again, whatever precision the model runs in.

Adapters of Stable Audio 3 differ, as in that program: strength multiplies the low-rank part inside the lengths, and each
changes what those before it have made of the weight, in the order in which they are given. There a second one is lost
on every weight that the first does not change; here it applies to all of its own.

`import_adapter` rewrites an adapter of another program as a file of ours, for a given model. Our format has one kind,
one rank and linear layers of the transformer only. Queries, keys and values that are apart become one projection whose
factors are stacked: A below A, B along the diagonal. Ranks are filled up with zeros and scales multiplied into B, so
the change of the weights stays the same but for rounding. What the format can't hold is refused; such an adapter can
still be used as it is, or merged.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from auralith.adapter_effect import MAX_STRENGTH, AdapterEffect, active_sets
from auralith.checkpoints.adapter_changes import Change, Fit, Place, fit
from auralith.checkpoints.adapter_file import (
    MAGNITUDE,
    A,
    Adapter,
    AdapterConfig,
    AdapterMetadata,
    B,
    adapter_shapes,
    first_difference,
    read_adapter,
    write_adapter,
)
from auralith.checkpoints.attribution import carry_attribution
from auralith.checkpoints.opening import Checkpoint, locate
from auralith.checkpoints.quantization import place_int8, require_floats
from auralith.checkpoints.single_file import RawCheckpoint, write_raw
from auralith.checkpoints.text_encoders import copy_text_encoder
from auralith.checkpoints.transform import to_ours, to_single_file
from auralith.errors import CheckpointError, InvalidRequest
from auralith.extras import require
from auralith.families.family import Spec, rename
from auralith.families.registry import is_untrained, prefixes, without_memory
from auralith.files import whole_folder
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.lazy_tensor import LazyTensor, Weights
from auralith.models.quantized import quantized_layers
from auralith.tensor_files import sha256_of

# where peft puts the one adapter of a module, and the module itself
INJECTED, BASE = ".default", ".base_layer"

Choice = tuple[str | Path, float | AdapterEffect]
"""An adapter's file and its strength, or all of its effect."""
Part = tuple[float, Place, Change]
"""A change with its strength and where it goes."""


@dataclass(frozen=True, eq=False)
class Applied:
    """An adapter and its effect."""

    adapter: Adapter
    effect: AdapterEffect

    @property
    def strength(self) -> float:
        """Share of its change: 0 none, 1 as trained."""
        return self.effect.strength


# --- training ---


def add_adapter(
    dit: DiffusionTransformer[Any], config: AdapterConfig, rng: np.random.Generator
) -> list[nn.Parameter]:
    """Place an adapter into a transformer, in place, and freeze the rest; returns what is trained, in float32.

    A starts uniform in ±1/√in (He et al. 2015, as in peft), B at zero: the output is at first that of the base.

    Raises:
        MissingExtra: peft is not installed.
        InvalidRequest: a target matches none of the projections, or DoRA meets a row of zeros, whose direction is undefined.
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


def save_adapter(
    path: str | Path, dit: DiffusionTransformer[Any], metadata: AdapterMetadata
) -> None:
    """Write the adapter in a transformer to a file, whole or not at all; raises as `write_adapter` does."""
    write_adapter(path, adapter_state(dit.state_dict()), metadata)


def targeted_projections(
    dit: DiffusionTransformer[Any], config: AdapterConfig
) -> dict[str, tuple[int, int]]:
    """(out, in) features of every projection that the config targets. Raises InvalidRequest for an idle target."""
    linear = {n: m for n, m in dit.named_modules() if isinstance(m, nn.Linear)}
    for target in config.targets:
        if not any(replace(config, targets=(target,)).targeted(name) for name in linear):
            raise InvalidRequest(f"target {target!r} names no linear projection of the transformer")
    return {n: (m.out_features, m.in_features) for n, m in linear.items() if config.targeted(n)}


def _require_directions(dit: DiffusionTransformer[Any], projections: Iterable[str]) -> None:
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
    return tuple(Applied(read_adapter(path), _effect(path, value)) for path, value in choices)


def with_adapters(
    checkpoint: Checkpoint, applied: Sequence[Applied], before: Sequence[Applied] = ()
) -> Checkpoint:
    """The checkpoint with adapters merged into its weights, in place of those that were applied `before`.

    All other tensors are shared with the old one; an adapter in training stays behind there. Raises CheckpointError if an adapter does not fit.
    """
    raw = locate(checkpoint.source, files=checkpoint.files)
    in_int8 = quantized_layers(checkpoint.dit)
    base, changed = to_ours(raw.weights, raw.spec), _changed(raw, applied)
    fresh = base | changed
    networks = without_memory(raw.spec)
    parts: dict[str, nn.Module] = {"dit": networks.dit}
    touched = dict.fromkeys((*_changed(raw, before), *changed))
    if any(name.startswith(("numbers.", "autoencoder.")) for name in touched):
        parts |= {"numbers": networks.numbers, "autoencoder": networks.autoencoder}
    if in_int8:
        modules = {name.rpartition(".")[0] for name in touched}
        kept = {name: layer for name, layer in in_int8.items() if f"dit.{name}" not in modules}
        fresh = place_int8(networks.dit, fresh, kept)
    for part, network in parts.items():
        state = base_state(getattr(checkpoint, part).state_dict())
        for name in touched:
            if name.startswith(f"{part}.") and name in fresh:
                inner = name.removeprefix(f"{part}.")
                state[inner] = fresh[name].load(state[inner].device, state[inner].dtype)
        network.load_state_dict(state, strict=True, assign=True)
    return replace(checkpoint, **{part: network.eval() for part, network in parts.items()})


def transformers_by_set(
    checkpoint: Checkpoint, applied: Sequence[Applied]
) -> dict[tuple[int, ...], DiffusionTransformer[Any]]:
    """Return the transformer with each set of adapters that acts together, of a checkpoint that has them all merged.

    The keys are indices into `applied`; empty if all act at every noise level.
    """
    sets = active_sets([one.effect for one in applied])
    parts = {
        indices: with_adapters(checkpoint, [applied[i] for i in indices], applied).dit
        for indices in sets
        if len(indices) < len(applied)
    }
    return parts and parts | {tuple(range(len(applied))): checkpoint.dit}


def adapter_warnings(applied: Sequence[Applied], model_hash: str) -> list[str]:
    """A line for every adapter that was trained on another model than the one with this hash, and for every assumption."""
    warnings = []
    for adapter in (one.adapter for one in applied):
        trained_on = adapter.metadata
        if trained_on is not None and trained_on.base_hash not in ("", model_hash):
            warnings.append(
                f"{adapter.name} was trained on another model ({trained_on.base_model or 'unnamed'}, "
                f"{trained_on.base_hash[:12]}, not {model_hash[:12]}); it may work less well"
            )
        warnings += [f"{adapter.name}: {note}" for note in adapter.notes]
    return warnings


def merge_adapters(source: str | Path, choices: Sequence[Choice], out: Path) -> list[str]:
    """Write a model with adapters merged into the new folder `out`, in the single-file layout; returns warnings.

    The tensors that change are stored in float32, so that the folder generates what base and adapters together do; all
    others are copied as they are, with the text encoder that lies beside them. Raises CheckpointError, ResourceError.
    """
    applied = open_adapters(choices)
    for one in applied:
        if not one.effect.acts_always:
            raise InvalidRequest(
                f"{one.adapter.name} is to act at some noise levels only, and merged weights act at all; leave out its levels, "
                "or give it to --adapter"
            )
    raw = locate(source, with_text_encoder=True)
    with whole_folder(out) as folder:
        changed = to_single_file(_changed(raw, applied), raw.spec)
        trained = {n: t for n, t in changed.items() if not is_untrained(n, raw.spec)}
        published = {n: trained.get(n, t) for n, t in raw.weights.items()}
        write_raw(folder, replace(raw, weights=published))
        copy_text_encoder(raw, folder)
        carry_attribution(raw.folder, folder)
    return adapter_warnings(applied, sha256_of(raw.files))


def fit_adapter(adapter: Adapter, spec: Spec) -> Fit:
    """Return how an adapter fits a model. One of our own must also be whole. Raises CheckpointError if it is not."""
    if adapter.metadata is not None and spec.model is not None:
        _require_whole(adapter, adapter.metadata.config, without_memory(spec).dit)
    return fit(adapter.changes, spec)


def _changed(raw: RawCheckpoint, applied: Sequence[Applied]) -> Weights:
    """Our tensors that adapters change, as W + Σ s·ΔW in float32 and still lazy.

    Raises CheckpointError if an adapter does not fit, or if the weights are stored in int8.
    """
    if applied:
        require_floats(raw.source, raw.weights, "an adapter")
    parts: dict[str, list[Part]] = {}
    published = prefixes(raw.spec, "ours", "single_file")
    for one in applied:
        found = fit_adapter(one.adapter, raw.spec)
        if found.problem:
            raise unfit(one.adapter, found.problem)
        for place, change in found.placed:
            name = rename(f"{place.module}.weight", published) or place.module
            if not (place.module.startswith("dit.") and one.effect.skips(_layer(name))):
                parts.setdefault(place.module, []).append((one.strength, place, change))
    ours = to_ours(raw.weights, raw.spec)
    changed: Weights = {}
    for module, used in parts.items():
        used = [part for part in used if part[0]]
        weight, bias = ours[f"{module}.weight"], ours.get(f"{module}.bias")
        changed[f"{module}.weight"] = weight
        if used:
            values = partial(_merged_weight, module, weight, used)
            changed[f"{module}.weight"] = LazyTensor(weight.shape, torch.float32, values)
        if bias is not None and any(change.scales_bias for _, _, change in used):
            values = partial(_merged_bias, weight, bias, used)
            changed[f"{module}.bias"] = LazyTensor(bias.shape, torch.float32, values)
    return changed


def _merged_weight(module: str, base: LazyTensor, parts: list[Part]) -> Tensor:
    weight = base.read().float()
    rows = weight.flatten(1)
    merged, stack = rows.clone(), rows.clone()
    for strength, place, change in parts:
        block = slice(place.first, place.end)
        current = stack[block] if change.stacks else rows[block]
        added = change.change(current, rows[block], strength)
        merged[block] += added
        if change.stacks:
            stack[block] += added
    if not merged.sum().isfinite():
        raise CheckpointError(
            f"an adapter makes {module.removeprefix('dit.')} NaN or infinite; it is damaged or diverged"
        )
    return merged.reshape(weight.shape)


def _merged_bias(weight: LazyTensor, base: LazyTensor, parts: list[Part]) -> Tensor:
    rows, bias = weight.read().float().flatten(1), base.read().float()
    merged = bias.clone()
    for strength, place, change in parts:
        block = slice(place.first, place.end)
        merged[block] += change.bias_change(rows[block], bias[block], strength)
    return merged


def _require_whole(adapter: Adapter, config: AdapterConfig, dit: DiffusionTransformer[Any]) -> None:
    try:
        expected = adapter_shapes(config, targeted_projections(dit, config))
    except InvalidRequest as error:
        problem = str(error)
    else:
        problem = first_difference(adapter.shapes, expected)
    if problem:
        raise unfit(adapter, problem)


def unfit(adapter: Adapter, problem: str) -> CheckpointError:
    """The error for an adapter that can't be used with a model."""
    return CheckpointError(
        f"{adapter.path} does not fit the model: {problem}; use a model like the one it was trained on"
    )


def _layer(name: str) -> str:
    """Return the published name of a layer of the transformer from that of its weight, as filters have it."""
    return name.removeprefix("model.model.").removesuffix(".weight")


def _effect(path: str | Path, value: float | AdapterEffect) -> AdapterEffect:
    if isinstance(value, AdapterEffect):
        return value
    if not math.isfinite(value) or abs(value) > MAX_STRENGTH:
        raise InvalidRequest(
            f"the strength of {path} is {value:g}; it must be from -{MAX_STRENGTH:g} to {MAX_STRENGTH:g}"
        )
    return AdapterEffect(value)


Placed = list[tuple[Place, Change]]


def import_adapter(adapter: Adapter, source: str | Path, out: str | Path) -> None:
    """Write an adapter into the new file `out` in our format, for the model `source`.

    Raises:
        CheckpointError: it does not fit the model, or the format can't express it.
        ResourceError: the file can't be written.
    """
    spec = locate(source).spec
    found = fit_adapter(adapter, spec)
    if found.problem:
        raise unfit(adapter, found.problem)
    every = without_memory(spec).named_modules()
    linear = {name: module for name, module in every if isinstance(module, nn.Linear)}
    modules: dict[str, Placed] = {}
    for place, change in found.placed:
        has_bias = place.module in linear and linear[place.module].bias is not None
        _require_expressible(adapter, place, change, place.module in linear, has_bias)
        modules.setdefault(place.module.removeprefix("dit."), []).append((place, change))
    kind, rank = _kind(adapter), max(map(_total_rank, modules.values()))
    config = AdapterConfig(kind, rank, float(rank), targets=tuple(modules))
    tensors: dict[str, Tensor] = {}
    for name, placed in modules.items():
        rows = linear[f"dit.{name}"].out_features
        tensors[name + A], tensors[name + B] = _stacked(placed, rows, rank)
        if kind == "dora":
            tensors[name + MAGNITUDE] = _lengths(adapter, placed, rows)
    write_adapter(out, tensors, AdapterMetadata(config))


def _kind(adapter: Adapter) -> Literal["lora", "dora"]:
    if adapter.kind == "lora":
        return "lora"
    if adapter.kind == "dora":
        return "dora"
    raise _inexpressible(adapter, f"it is of kind {adapter.kind}")


def _require_expressible(
    adapter: Adapter, place: Place, change: Change, linear: bool, has_bias: bool
) -> None:
    if not (linear and place.module.startswith("dit.")):
        raise _inexpressible(adapter, f"it changes {place.module}")
    if change.scales_bias and change.rows is not None and has_bias:
        raise _inexpressible(adapter, f"it changes the bias of {place.module}")


def _inexpressible(adapter: Adapter, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{adapter.path} can't be written as an adapter of Auralith, which is lora or dora on linear layers of "
        f"the transformer: {reason}; use it as it is with --adapter, or merge it into a model"
    )


def _total_rank(placed: Placed) -> int:
    return sum(change.rank for _, change in placed)


def _stacked(placed: Placed, rows: int, rank: int) -> tuple[Tensor, Tensor]:
    """A and B of one projection in float32, with the scales in B and zeros up to the rank."""
    columns = placed[0][0].columns
    a, b = torch.zeros(rank, columns), torch.zeros(rows, rank)
    start = 0
    for place, change in placed:
        assert change.a is not None and change.b is not None  # of kind lora or dora
        end = start + change.rank
        a[start:end] = change.a.read().float().flatten(1)
        b[place.first : place.end, start:end] = change.scale * change.b.read().float().flatten(1)
        start = end
    return a, b


def _lengths(adapter: Adapter, placed: Placed, rows: int) -> Tensor:
    if sum(place.rows for place, _ in placed) != rows:
        raise _inexpressible(adapter, f"it changes only some rows of {placed[0][0].module}")
    ordered = sorted(placed, key=lambda one: one[0].first)
    lengths = [change.rows.read().float().flatten() for _, change in ordered if change.rows]
    return torch.cat(lengths)
