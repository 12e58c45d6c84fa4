"""Whole sets of tensors from one layout to another, lazily.

The published single-file layout is the hub: every reader ends there, `to_ours` and `to_diffusers` leave from there.
What a config implies (`published_weights`: names and shapes, on the meta device) drives each function, so the same
tables validate, load, write and count. Two published buffers carry no information: the rotary `inv_freq`, which is
recomputed, and the `beta` of the norms where it is zero. A `beta` that is not zero was trained, and `as_stored` says so.
"""

import re
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from auralith.checkpoints.config_json import Spec
from auralith.checkpoints.rename import FUSED, Prefixes, prefixes, rename
from auralith.checkpoints.tensors import FLOATING, LazyTensor, Weights
from auralith.config import OobleckConfig
from auralith.errors import CheckpointError
from auralith.models.autoencoder import Autoencoder, Oobleck
from auralith.models.dit import DiT
from auralith.models.embedders import condition_networks
from auralith.models.spectral import Spectral

INV_FREQ = "model.model.transformer.rotary_pos_emb.inv_freq"
FREQUENCIES = "model.model.timestep_features.weight"
NEW = ".parametrizations.weight.original"  # weight norm in newer versions of torch
# biases of the norms in both layouts; diffusers trains them, the published model has them at zero
NORM_BIAS = re.compile(r"model\.model\..*\.beta|transformer\.transformer_blocks\.\d+\.norm\d\.bias")


class Networks(nn.Module):
    """All networks of a checkpoint; `dit` and `numbers` only of a whole model."""

    autoencoder: Autoencoder
    dit: DiT
    numbers: nn.ModuleDict

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        config, model = spec.autoencoder, spec.model
        self.autoencoder = (
            Oobleck(config) if isinstance(config, OobleckConfig) else Spectral(config)
        )
        if model is not None:
            self.dit = DiT(model.dit)
            self.numbers = condition_networks(model)


def without_memory(spec: Spec, dtype: torch.dtype = torch.float32) -> Networks:
    """Return the networks on the meta device: names, shapes and dtypes, to be filled from a file.

    A network of another `dtype` holds what must stay exact in float32.

    Raises:
        CheckpointError: they would be larger than any tensor can be.
    """
    try:
        with torch.device("meta"):
            return Networks(spec).to(dtype)
    except (RuntimeError, OverflowError, ValueError, MemoryError) as error:
        first = str(error).partition("\n")[0]
        raise CheckpointError(f"the config's networks can't be built: {first:.200}") from error


def weights_of(state: dict[str, Tensor]) -> Weights:
    return {name: LazyTensor.of(tensor) for name, tensor in state.items()}


def published_weights(spec: Spec) -> Weights:
    """Names and shapes of the single-file layout, without values."""
    return to_single_file(weights_of(without_memory(spec).state_dict()), spec)


def is_buffer(name: str, spec: Spec) -> bool:
    """Whether a published tensor is saved without ever being trained."""
    trained = spec.model is not None and spec.model.dit.norm_bias
    return name == INV_FREQ or (not trained and NORM_BIAS.fullmatch(name) is not None)


def as_stored(spec: Spec, published: Weights) -> Spec:
    """The spec with what only the tensors tell: trained biases of the norms, and the width that text is projected from.

    Of the biases the values are read.
    """
    model = spec.model
    if model is None:
        return spec
    if model.is_conditional:
        layer = published.get(f"conditioner.conditioners.{model.text.id}.proj_out.weight")
        width = layer.shape[-1] if layer is not None and layer.shape else model.condition_dim
        model = model.with_text_of(width)
    biases = (t for name, t in published.items() if NORM_BIAS.fullmatch(name))
    trained = model.dit.norm_bias or any(bool(t.read().count_nonzero()) for t in biases)
    dit = replace(model.dit, norm_bias=trained)
    return Spec.of(replace(model, dit=dit))


# --- ours ↔ single file ---


def to_single_file(ours: Weights, spec: Spec) -> Weights:
    """Our tensors under the published names: weight norm unfolded, buffers added."""
    table = prefixes(spec, "ours", "single_file")
    published: Weights = {}
    for name, tensor in ours.items():
        target = _known(rename(name, table), name)
        if _is_weight_normed(name, tensor, spec):
            published[f"{target}_g"], published[f"{target}_v"] = _unfold(tensor)
        elif target == FREQUENCIES:
            published[target] = tensor.reshaped((*tensor.shape, 1))
        else:
            published[target] = tensor
    return _buffers(published, spec) | published


def to_ours(published: Weights, spec: Spec, *, folded: bool = True) -> Weights:
    """Complete published tensors under our names: weight norm folded or kept, buffers dropped."""
    table = prefixes(spec, "single_file", "ours")
    ours: Weights = {}
    for name, tensor in published.items():
        if is_buffer(name, spec) or (folded and name.endswith(".weight_v")):
            continue
        if folded and name.endswith(".weight_g"):
            name = name.removesuffix("_g")
            tensor = _fold(tensor, published[f"{name}_v"])
        elif name == FREQUENCIES:
            tensor = tensor.reshaped(tensor.shape[:1])
        ours[_known(rename(name, table), name)] = tensor
    return ours


def _is_weight_normed(name: str, tensor: LazyTensor, spec: Spec) -> bool:
    oobleck = isinstance(spec.autoencoder, OobleckConfig) and name.startswith("autoencoder.")
    return oobleck and name.endswith(".weight") and len(tensor.shape) == 3


def _row_norms(v: Tensor) -> Tensor:
    return torch.linalg.vector_norm(v, dim=(1, 2), keepdim=True)


def _fold(g: LazyTensor, v: LazyTensor) -> LazyTensor:
    """w = g·v/‖v‖ over every dimension but 0, in float32 (Salimans and Kingma 2016, equation 2)."""
    return LazyTensor(v.shape, torch.float32, partial(_folded, g, v))


def _folded(g: LazyTensor, v: LazyTensor) -> Tensor:
    direction = v.read().float()
    norms = _row_norms(direction)
    # a row of zeros has no direction: it stays zero
    return direction * torch.where(norms > 0, g.read().float() / norms, 0.0)


def _unfold(w: LazyTensor) -> tuple[LazyTensor, LazyTensor]:
    """g = ‖w‖ in float32, v = w (rows of zeros: g = 0, v = 1), so that folding gives w again exactly."""
    g = LazyTensor((w.shape[0], 1, 1), torch.float32, lambda: _row_norms(w.read().float()))
    return g, LazyTensor(w.shape, w.dtype, partial(_direction, w))


def _direction(w: LazyTensor) -> Tensor:
    values = w.read()
    return torch.where(_row_norms(values.float()) > 0, values, torch.ones_like(values))


def _buffers(published: Weights, spec: Spec) -> Weights:
    buffers: Weights = {}
    for name, gamma in published.items():
        if name.startswith("model.model.") and name.endswith(".gamma"):
            zeros = partial(torch.zeros, gamma.shape, dtype=gamma.dtype)
            beta = f"{name.removesuffix('gamma')}beta"
            buffers[beta] = LazyTensor(gamma.shape, gamma.dtype, zeros)
    if spec.model is not None:
        dim = spec.model.dit.rotary_dim
        read = partial(inverse_frequencies, dim)
        buffers[INV_FREQ] = LazyTensor((dim // 2,), torch.float32, read)
    return buffers


def inverse_frequencies(dim: int) -> Tensor:
    """1 / 10000^(2i/dim) in float32, rounded as the reference rounds it."""
    return 1.0 / 10_000 ** (torch.arange(0, dim, 2).float() / dim)


# --- single file ↔ diffusers ---


def to_diffusers(published: Weights, spec: Spec) -> Weights:
    """Complete published tensors under `component.name`; fused projections are split."""
    table = prefixes(spec, "single_file", "diffusers")
    out: Weights = {}
    for name, tensor in published.items():
        if name != INV_FREQ:
            targets = _diffusers_names(name, table)
            parts = _split(tensor, len(targets), _diffusers_shape(name, tensor))
            out |= zip(targets, parts, strict=True)
    return out


def from_diffusers(weights: Weights, spec: Spec) -> Weights:
    """The inverse of `to_diffusers`, for weights that hold every tensor the config implies; absent biases are zero."""
    table = prefixes(spec, "single_file", "diffusers")
    published: Weights = {}
    for name, expected in published_weights(spec).items():
        targets = () if name == INV_FREQ else _diffusers_names(name, table)
        parts = [weights[target] for target in targets if target in weights]
        if len(parts) > 1:
            published[name] = _join(parts)
        elif parts:
            published[name] = parts[0].reshaped(expected.shape)
    return _buffers(published, spec) | published


def _diffusers_names(name: str, table: Prefixes) -> tuple[str, ...]:
    target = _known(rename(name, table), name)
    for fused, parts in FUSED.items():
        if target.endswith(fused):
            return tuple(target.removesuffix(fused) + part for part in parts)
    return (target,)


def _diffusers_shape(name: str, tensor: LazyTensor) -> tuple[int, ...]:
    if name == FREQUENCIES:
        return tensor.shape[:1]
    if name.startswith("pretransform.") and name.endswith((".alpha", ".beta")):
        return (1, *tensor.shape, 1)
    return tensor.shape


def _split(tensor: LazyTensor, count: int, shape: tuple[int, ...]) -> list[LazyTensor]:
    if count == 1:
        return [tensor.reshaped(shape)]
    rows = shape[0] // count
    reads = [partial(_rows, tensor, i * rows, (i + 1) * rows) for i in range(count)]
    return [LazyTensor((rows, *shape[1:]), tensor.dtype, read) for read in reads]


def _rows(tensor: LazyTensor, start: int, end: int) -> Tensor:
    return tensor.read()[start:end]


def _join(parts: list[LazyTensor]) -> LazyTensor:
    shape = (sum(part.shape[0] for part in parts), *parts[0].shape[1:])
    dtype = parts[0].dtype
    return LazyTensor(shape, dtype, lambda: torch.cat([part.read().to(dtype) for part in parts]))


# --- validation ---


def with_old_weight_norm(weights: Weights) -> Weights:
    """Names of torch's new weight norm under those of the old one."""
    return {
        name.replace(f"{NEW}0", ".weight_g").replace(f"{NEW}1", ".weight_v"): tensor
        for name, tensor in weights.items()
    }


def with_new_weight_norm(weights: Weights) -> Weights:
    """The inverse of `with_old_weight_norm`."""
    return {
        name.replace(".weight_g", f"{NEW}0").replace(".weight_v", f"{NEW}1"): tensor
        for name, tensor in weights.items()
    }


def check_weights(found: Weights, expected: Weights, where: object) -> None:
    """Raise a CheckpointError that names the first missing, unexpected and misshapen tensor.

    `where` names the file; the rotary table and biases of norms may be missing.
    """
    kinds = {
        "missing": [n for n in expected if n not in found and not _may_be_missing(n)],
        "unexpected": [n for n in found if n not in expected],
        "of another shape": [n for n in found if n in expected and not _fits(n, found, expected)],
    }
    problems = [
        f"{len(n)} {kind} (first {_described(n[0], found, expected)})"
        for kind, n in kinds.items()
        if n
    ]
    if problems:
        raise CheckpointError(
            f"{where} does not fit its config: {'; '.join(problems)} of {len(expected)} tensors; "
            "use the config that belongs to it"
        )
    for name, tensor in found.items():
        if tensor.dtype not in FLOATING:
            raise CheckpointError(f"{where}: tensor {name!r} is {tensor.dtype}, not floating point")


def _may_be_missing(name: str) -> bool:
    return name == INV_FREQ or NORM_BIAS.fullmatch(name) is not None


def _fits(name: str, found: Weights, expected: Weights) -> bool:
    return found[name].shape == expected[name].shape


def _described(name: str, found: Weights, expected: Weights) -> str:
    if name not in found or name not in expected:
        return repr(name[:120])
    shapes = ("×".join(map(str, weights[name].shape)) or "1" for weights in (found, expected))
    return "{!r}: {}, expected {}".format(name, *shapes)


def completed(published: Weights, spec: Spec, where: object) -> Weights:
    """Published tensors with absent buffers added. Raises CheckpointError if a `beta` that the spec lacks is not zero."""
    for name, tensor in published.items():
        if is_buffer(name, spec) and name != INV_FREQ and tensor.read().count_nonzero():
            raise CheckpointError(
                f"{where}: {name!r} is not zero, but the config has norms without a bias; "
                'set "norm_kwargs": {"bias": true} in the config of the diffusion model'
            )
    buffers = _buffers(published, spec)
    stored = published.get(INV_FREQ)
    if stored is not None and stored.dtype is torch.float32:
        return buffers | published
    # rounded to half precision, the rotary table is wrong for long sounds
    return buffers | {name: tensor for name, tensor in published.items() if name != INV_FREQ}


def _known(target: str | None, name: str) -> str:
    if target is None:
        raise CheckpointError(f"tensor {name!r} has no name in the other layout")
    return target
