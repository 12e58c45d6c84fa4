"""Whole sets of tensors from one layout to another, lazily.

The published single-file layout is the hub: every reader ends there, `to_ours` and `to_diffusers` leave from there.
What a config implies (`published_weights`: names and shapes, on the meta device) drives each function, so the same
tables validate, load, write and count. Two published buffers carry no information: the zero `beta` of the norms, which
must be zero, and the rotary `inv_freq`, which is recomputed.
"""

from functools import partial

import torch
from torch import Tensor, nn

from auralith.checkpoints.config_json import Spec
from auralith.checkpoints.reading import FLOATING, LazyTensor, Weights
from auralith.checkpoints.rename import FUSED, Prefixes, prefixes, rename
from auralith.config import OobleckConfig
from auralith.errors import CheckpointError
from auralith.models.attention import rotated_dim
from auralith.models.autoencoder import Autoencoder, Oobleck
from auralith.models.dit import DiT
from auralith.models.embedders import embedders
from auralith.models.spectral import Spectral

INV_FREQ = "model.model.transformer.rotary_pos_emb.inv_freq"
FREQUENCIES = "model.model.timestep_features.weight"
NEW = ".parametrizations.weight.original"  # weight norm in newer versions of torch


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
            self.numbers = embedders(spec.numbers, model.condition_dim)


def without_memory(spec: Spec) -> Networks:
    """The networks on the meta device: names and shapes, to be filled from a file."""
    with torch.device("meta"):
        return Networks(spec)


def weights_of(state: dict[str, Tensor]) -> Weights:
    return {name: LazyTensor.of(tensor) for name, tensor in state.items()}


def published_weights(spec: Spec) -> Weights:
    """Names and shapes of the single-file layout, without values."""
    return to_single_file(weights_of(without_memory(spec).state_dict()), spec)


def is_buffer(name: str) -> bool:
    """Whether a published tensor is saved without ever being trained."""
    return name == INV_FREQ or (name.startswith("model.model.") and name.endswith(".beta"))


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
    return published | _buffers(published, spec)


def to_ours(published: Weights, spec: Spec) -> Weights:
    """Complete published tensors under our names: weight norm folded, buffers dropped."""
    table = prefixes(spec, "single_file", "ours")
    ours: Weights = {}
    for name, tensor in published.items():
        if is_buffer(name) or name.endswith(".weight_v"):
            continue
        if name.endswith(".weight_g"):
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
        dim = rotated_dim(spec.model.dit.head_dim)
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
    """The inverse of `to_diffusers`, for weights that hold every tensor the config implies."""
    table = prefixes(spec, "single_file", "diffusers")
    published: Weights = {}
    for name, expected in published_weights(spec).items():
        if name == INV_FREQ:
            published[name] = expected
        else:
            parts = [weights[target] for target in _diffusers_names(name, table)]
            published[name] = parts[0].reshaped(expected.shape) if len(parts) == 1 else _join(parts)
    return published


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


def check_weights(found: Weights, expected: Weights, where: object) -> None:
    """Raise a CheckpointError that names the first missing, unexpected and misshapen tensor.

    `where` names the file; buffers of `expected` may be missing.
    """
    kinds = {
        "missing": [n for n in expected if n not in found and not is_buffer(n)],
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


def _fits(name: str, found: Weights, expected: Weights) -> bool:
    return found[name].shape == expected[name].shape


def _described(name: str, found: Weights, expected: Weights) -> str:
    if name not in found or name not in expected:
        return repr(name[:120])
    shapes = ("×".join(map(str, weights[name].shape)) or "1" for weights in (found, expected))
    return "{!r}: {}, expected {}".format(name, *shapes)


def completed(published: Weights, spec: Spec, where: object) -> Weights:
    """Published tensors with absent buffers added. Raises CheckpointError if a `beta` is not zero."""
    for name, tensor in published.items():
        if is_buffer(name) and name != INV_FREQ and tensor.read().count_nonzero():
            raise CheckpointError(
                f"{where}: {name!r} is not zero; the architecture has no such bias, so the file "
                "was fine-tuned by software that trained it and can't be used"
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
