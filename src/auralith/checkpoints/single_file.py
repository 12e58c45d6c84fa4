"""The published layout: one file of weights with its `model_config.json` beside it.

Which of its relatives a file is (an inference checkpoint, an autoencoder alone, a wrapped training checkpoint) is
recognized from the names of its tensors. Our own exports are written in this layout too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from auralith.checkpoints.choosing import CONFIG_NAME, WEIGHTS_NAMES, find_config
from auralith.checkpoints.quantization import from_file, header, is_int8, require_int8, to_file
from auralith.checkpoints.transform import (
    check_weights,
    checked,
    published_weights,
    to_single_file,
    with_old_weight_norm,
)
from auralith.config import ModelConfig
from auralith.errors import CheckpointError
from auralith.families.family import Spec
from auralith.families.model_config import spec_from_json, spec_to_json
from auralith.families.registry import text_encoder_kind, text_folder, without_memory
from auralith.foreign import Json, read_json
from auralith.models.lazy_tensor import Weights, weights_of
from auralith.tensor_files import (
    component_files,
    read_component_file,
    write_json,
    write_safetensors,
)
from auralith.text.encoder import TextEncoder

Layout = Literal["single-file", "autoencoder", "training", "diffusers"]
State = Mapping[str, Tensor]

AUTOENCODER = "pretransform.model."
# wrapper's prefix → published prefix; later entries replace earlier ones (the averaged weights win)
WRAPPERS = {
    "diffusion": {"diffusion.": "", "diffusion_ema.ema_model.": "model."},
    "autoencoder": {"autoencoder.": AUTOENCODER, "autoencoder_ema.ema_model.": AUTOENCODER},
}
# what may stand before all names of a whole model, and the beginnings that show it
OUTER = ("module.", "_forward_module.", "state_dict.", "ema_model.", "model.")
INNERS = (
    "pretransform.",
    "conditioner.",
    "diffusion.",
    "model.pretransform.",
    "module.",
    "model.conditioner.",
)
TRANSFORMER = ".transformer.layers."


@dataclass(frozen=True)
class RawCheckpoint:
    """A checkpoint with its config understood, its tensors checked, and nothing in memory yet.

    `weights` has the published single-file names, complete. `files` are what the model's hash is computed from.
    """

    layout: Layout
    source: str
    spec: Spec
    weights: Weights
    files: tuple[Path, ...]
    folder: Path
    config_json: Json | None = None

    @property
    def model(self) -> ModelConfig:
        """The config of a whole model. Raises CheckpointError for an autoencoder alone."""
        if self.spec.model is None:
            raise CheckpointError(
                f"{self.source} holds only an autoencoder; a whole model is needed, "
                "with its transformer and timing embedders: name that file"
            )
        return self.spec.model

    @property
    def is_int8(self) -> bool:
        """Says whether the weights are stored in int8."""
        return is_int8(self.weights)

    def autoencoder_only(self) -> "RawCheckpoint":
        weights = {n: t for n, t in self.weights.items() if n.startswith(AUTOENCODER)}
        return replace(self, spec=replace(self.spec, model=None), weights=weights)


def read_single_file(path: Path, source: str, config: str | Path | None = None) -> RawCheckpoint:
    """Read the header and the config of a weights file, or of an index of shards, and check that they fit.

    `config` names the config; otherwise it is looked for beside the file. Raises CheckpointError.
    """
    file = read_component_file(path)
    layout, weights = _recognize(with_old_weight_norm(file.weights), path)
    config_path = find_config(path, config)
    if config_path is not None:
        data = read_json(config_path)
    elif file.config is not None:
        data = file.config
    else:
        raise CheckpointError(f"{path} has no config; put its {CONFIG_NAME} beside it")
    spec = spec_from_json(data, config_path or f"model_config in {path}")
    weights = from_file(weights, file.metadata, data, path)
    if layout == "autoencoder" and spec.model is not None:
        # an autoencoder beside the config of the model it belongs to
        spec = replace(spec, model=None)
        data = spec_to_json(spec)
    spec, weights = checked(weights, spec, path)
    require_int8(weights, data, spec, path)
    files = component_files(path)
    files = files if config_path is None else (*files, config_path)
    return RawCheckpoint(layout, source, spec, weights, files, path.parent, data)


def _recognize(weights: Weights, path: Path) -> tuple[Layout, Weights]:
    """The layout, and the model's tensors under their published names."""
    weights = _without_outer(weights)
    tops = {name.split(".")[0] for name in weights}
    for wrapper, renames in WRAPPERS.items():
        if wrapper in tops:
            return "training", _unwrapped(weights, renames)
    if tops == {"pretransform"}:
        return "autoencoder", weights
    if tops & {"pretransform", "conditioner"}:
        return "single-file", weights
    if {"encoder", "decoder"} <= tops:
        return "autoencoder", {AUTOENCODER + name: tensor for name, tensor in weights.items()}
    if any(TRANSFORMER in f".{name}" for name in weights):
        raise CheckpointError(
            f"{path} holds only the transformer, without autoencoder and timing embedders; use the file of the "
            "whole model, such as unwrap_model.py of stable-audio-tools writes"
        )
    first = min(weights, default="none")
    raise CheckpointError(
        f"{path} is of another architecture (first tensor: {first!r:.120}); "
        "checkpoints of stable-audio-tools, diffusers and Auralith can be used"
    )


def _without_outer(weights: Weights) -> Weights:
    """The names without what a compiled, distributed or otherwise wrapped module puts before all of them."""
    weights = {name.replace("_orig_mod.", ""): tensor for name, tensor in weights.items()}
    while True:
        outer = next((o for o in OUTER if weights and all(n.startswith(o) for n in weights)), None)
        if outer is None or not any(
            n.startswith(f"{outer}{inner}") for n in weights for inner in INNERS
        ):
            return weights
        weights = {name.removeprefix(outer): tensor for name, tensor in weights.items()}


def _unwrapped(weights: Weights, renames: dict[str, str]) -> Weights:
    out: Weights = {}
    for wrapper, prefix in renames.items():
        for name, tensor in weights.items():
            if name.startswith(wrapper):
                out[prefix + name.removeprefix(wrapper)] = tensor
    return out


def write_raw(folder: Path, raw: RawCheckpoint) -> None:
    """Write published tensors as they are, with their config: bit for bit the same values, those in int8 too.

    Raises CheckpointError for a model that `model_config.json` can't express.
    """
    weights, config = raw.weights, raw.config_json or spec_to_json(raw.spec)
    if raw.spec.model is None:
        weights = {name.removeprefix(AUTOENCODER): tensor for name, tensor in weights.items()}
    write_safetensors(folder / WEIGHTS_NAMES[0], to_file(weights), header(config))
    write_json(folder / CONFIG_NAME, config)


def save_single_file(
    folder: Path,
    config: ModelConfig,
    *,
    dit: State,
    numbers: State,
    autoencoder: State,
    text: TextEncoder | None = None,
    dtype: torch.dtype | None = None,
    training: object = None,
) -> None:
    """Write a model into `folder` from our state dicts, with its text encoder if one is given.

    `training` is the section of that name in the config, written as it is.

    Floating-point tensors are stored as `dtype` (None: as they are); the frequencies and the norms of the weight norm
    stay in float32. Each file is written whole or not at all and replaces an older one.
    """
    parts = {"dit": dit, "numbers": numbers, "autoencoder": autoencoder}
    _save(folder, Spec.of(config), parts, dtype, training)
    if text is not None:
        kind = text_encoder_kind(config)
        kind.save(folder / text_folder(config), text, dtype)


def save_autoencoder(
    folder: Path, spec: Spec, state: State, *, dtype: torch.dtype | None = None
) -> None:
    """Write an autoencoder alone (`spec.model` is None); otherwise as `save_single_file`."""
    _save(folder, spec, {"autoencoder": state}, dtype)


def _save(
    folder: Path,
    spec: Spec,
    parts: Mapping[str, State],
    dtype: torch.dtype | None,
    training: object = None,
) -> None:
    state = {f"{part}.{name}": t for part, tensors in parts.items() for name, t in tensors.items()}
    weights = to_single_file(_rounded(weights_of(state), spec, dtype), spec)
    check_weights(weights, published_weights(spec), folder)
    data = spec_to_json(spec) | ({} if training is None else {"training": training})
    write_raw(folder, RawCheckpoint("single-file", str(folder), spec, weights, (), folder, data))


def _rounded(ours: Weights, spec: Spec, dtype: torch.dtype | None) -> Weights:
    """Round before weight norm is unfolded, so that folding gives the rounded values exactly."""
    if dtype is None:
        return ours
    expected = without_memory(spec, dtype).state_dict()
    dtypes = {name: expected[name].dtype if name in expected else dtype for name in ours}
    return {name: tensor.cast(dtypes[name]) for name, tensor in ours.items()}
