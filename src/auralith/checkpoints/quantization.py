"""Weights in int8: chosen when a float model is loaded so, or prepared once and stored in the single-file layout.

A stored matrix `X.weight` is I8 with the scale of each row beside it, as `X.weight_scale`. Which matrices those are
follows from the model (`models.quantized.INT8_LAYERS`), so a file has all of them or none. The config and the header of
the weights name the version of the form and the hash of the model that was quantized: files of two models are not mixed.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from auralith.errors import CheckpointError
from auralith.families.family import Spec, rename
from auralith.families.registry import prefixes, without_memory
from auralith.foreign import Json
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.lazy_tensor import LazyCodes, LazyTensor, Weights
from auralith.models.quantized import (
    LEVELS,
    Codes,
    QuantizedLinear,
    dequantize,
    int8_layers,
    quantize,
)

SCALE = "_scale"
VERSION = "int8-1"
KEY = "auralith_quantization"
"""Names the version and the base model in the header of the weights."""
SECTION = "quantization"
"""Names them in the config, in its object "auralith"."""


def int8_names(spec: Spec) -> set[str]:
    """Return the published names of the matrices that a model has in int8; none of an autoencoder alone."""
    if spec.model is None:
        return set()
    table = prefixes(spec, "ours", "single_file")
    names = (f"dit.{name}.weight" for name in int8_layers(without_memory(spec).dit))
    return {renamed for name in names if (renamed := rename(name, table)) is not None}


def quantized(weights: Weights, spec: Spec) -> Weights:
    """Return published tensors with the matrices of `int8_names` in int8."""
    names = int8_names(spec)
    return {n: with_codes(t) if n in names else t for n, t in weights.items()}


def with_codes(weight: LazyTensor) -> LazyTensor:
    """Return a matrix in int8, computed when it is read."""

    def part(index: int) -> Tensor:
        return quantize(weight.read())[index]

    rows = weight.shape[:1]
    codes = LazyCodes(
        LazyTensor(weight.shape, torch.int8, partial(part, 0)),
        LazyTensor(rows, torch.float32, partial(part, 1)),
    )
    return stored(codes)


def stored(codes: LazyCodes) -> LazyTensor:
    """Return a matrix that is kept in int8."""

    def read() -> Tensor:
        return dequantize(Codes(codes.codes.read(), codes.scale.read()))

    return LazyTensor(codes.codes.shape, torch.float32, read, codes=codes)


def quantized_layer(weights: Weights, module: str) -> QuantizedLinear:
    """Return a layer of our weights in int8, quantized now unless its matrix is stored so. Raises CheckpointError."""
    weight, bias = weights[f"{module}.weight"], weights.get(f"{module}.bias")
    if weight.codes is None:
        codes = quantize(weight.read())
    else:
        codes = Codes(weight.codes.codes.read(), weight.codes.scale.read())
    # the lowest code of int8 is none of ours
    usable = (
        codes.scale.isfinite().all() and codes.scale.gt(0).all() and codes.codes.amin() >= -LEVELS
    )
    if not usable:
        raise CheckpointError(
            f"{module.removeprefix('dit.')} is NaN, infinite or damaged; get the file again"
        )
    return QuantizedLinear(codes, None if bias is None else bias.read().float())


def place_int8(
    dit: DiffusionTransformer[Any],
    weights: Weights,
    kept: Mapping[str, QuantizedLinear] | None = None,
) -> Weights:
    """Put layers in int8 into a transformer, in place, and return those of our weights that belong to other layers.

    Layers that are `kept` are put there as they are, without reading their weights. Raises CheckpointError.
    """
    rest = dict(weights)
    for name in int8_layers(dit):
        found = None if kept is None else kept.get(name)
        dit.set_submodule(name, found or quantized_layer(weights, f"dit.{name}"))
        rest.pop(f"dit.{name}.weight")
        rest.pop(f"dit.{name}.bias", None)
    return rest


# --- files ---


def description(base: str) -> dict[str, str]:
    """Return what is said of weights that were quantized from the model with the hash `base`."""
    return {"version": VERSION, "base": base}


def described(data: Json, base: str) -> Json:
    """Return a model's config that says that its weights are int8, made from the model with the hash `base`."""
    extension = data.get("auralith") or {}
    return data | {"auralith": extension | {SECTION: description(base)}}


def header(data: Json) -> dict[str, str]:
    """Return the metadata of weights that belong to a config."""
    found = _stated(data)
    return {} if found is None else {KEY: _text(found)}


def to_file(weights: Weights) -> Weights:
    """Return the tensors of a file: codes and scales apart."""
    out: Weights = {}
    for name, tensor in weights.items():
        if tensor.codes is None:
            out[name] = tensor
        else:
            out[name], out[name + SCALE] = tensor.codes
    return out


def from_file(weights: Weights, metadata: Mapping[str, str], data: Json, path: Path) -> Weights:
    """Return the tensors of a file with each scale joined to its codes: the inverse of `to_file`.

    Raises CheckpointError if the config and the header are not of one quantized model, or of another version.
    """
    found, marked = _stated(data), metadata.get(KEY)
    if found is None and marked is None:
        return weights
    if found is None or marked != _text(found):
        raise CheckpointError(
            f"{path} and its config are not of one quantized model; use the config that was written with it"
        )
    if found != description(str(found.get("base"))):
        raise CheckpointError(
            f"{path} is quantized in version {found.get('version')!r:.40}, this program reads {VERSION}; "
            "quantize the model again with auralith convert --quantize int8"
        )
    joined: Weights = {}
    for name, tensor in weights.items():
        scale = weights.get(name + SCALE)
        if scale is not None:
            _check(name, tensor, scale, path)
            joined[name] = stored(LazyCodes(tensor, scale))
        elif not (name.endswith(SCALE) and name.removesuffix(SCALE) in weights):
            joined[name] = tensor
    return joined


def require_int8(weights: Weights, data: Json, spec: Spec, path: Path) -> None:
    """Raise CheckpointError if a quantized file has other matrices in int8 than the model."""
    if _stated(data) is None:
        return
    expected, found = int8_names(spec), {n for n, t in weights.items() if t.codes is not None}
    if odd := sorted(expected ^ found):
        problem = "is not in int8" if odd[0] in expected else "is in int8"
        raise CheckpointError(
            f"{path} is not a quantized model of its config: {odd[0]!r:.120} {problem}; quantize the model again"
        )


def is_int8(weights: Weights) -> bool:
    """Return whether weights are stored in int8."""
    return any(tensor.codes is not None for tensor in weights.values())


def require_floats(source: str, weights: Weights, purpose: str) -> None:
    """Raise CheckpointError if only rounded weights are there. `purpose` begins the message."""
    if is_int8(weights):
        raise CheckpointError(
            f"{purpose} needs float weights, and {source} holds int8; use the model that it was made from"
        )


def _check(name: str, codes: LazyTensor, scale: LazyTensor, path: Path) -> None:
    fits = len(codes.shape) == 2 and scale.shape == codes.shape[:1]
    if not fits or (codes.dtype, scale.dtype) != (torch.int8, torch.float32):
        raise CheckpointError(
            f"{path} is damaged: {name!r:.120} is no matrix in int8 with a float32 scale per row; quantize the model again"
        )


def _stated(data: Json) -> Json | None:
    extension = data.get("auralith")
    found = extension.get(SECTION) if isinstance(extension, dict) else None
    return found if isinstance(found, dict) else None


def _text(found: Json) -> str:
    return f"{found.get('version')} {found.get('base')}"
