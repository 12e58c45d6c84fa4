"""Whole sets of tensors from one layout to another, lazily.

The published single-file layout is the hub: every reader ends there, `to_ours` and `to_diffusers` leave from there.
What a config implies (`published_weights`: names and shapes, on the meta device) drives each function, so the same
tables validate, load, write and count. Names, and which published tensors were never trained, are the family's.
"""

from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from auralith.errors import CheckpointError
from auralith.families.family import FUSED, Prefixes, Spec, rename
from auralith.families.registry import (
    block_order,
    condition_kind,
    family_of,
    is_column,
    is_untrained,
    may_be_missing,
    prefixes,
    with_buffers,
    without_memory,
)
from auralith.models.lazy_tensor import LazyTensor, Weights, require_tensors, weights_of

NEW = ".parametrizations.weight.original"  # weight norm in newer versions of torch


def published_weights(spec: Spec) -> Weights:
    """Names and shapes of the single-file layout, without values."""
    return to_single_file(weights_of(without_memory(spec).state_dict()), spec)


def as_stored(spec: Spec, published: Weights) -> Spec:
    """Return the spec with what only the tensors tell, such as trained biases of norms; some values are read."""
    model = spec.model
    if model is None:
        return spec
    conditions = tuple(
        condition_kind(model, condition).as_stored(condition, published, model.condition_dim)
        for condition in model.conditions
    )
    dit = family_of(spec.autoencoder).transformer.as_stored(model.dit, published)
    return Spec.of(replace(model, conditions=conditions, dit=dit))


# --- ours ↔ single file ---


def to_single_file(ours: Weights, spec: Spec) -> Weights:
    """Our tensors under the published names: weight norm unfolded, buffers added."""
    table = prefixes(spec, "ours", "single_file")
    published: Weights = {}
    for name, tensor in ours.items():
        target = _known(rename(name, table), name)
        if _is_weight_normed(name, tensor, spec):
            published[f"{target}_g"], published[f"{target}_v"] = _unfold(tensor)
        elif is_column(target, spec):
            published[target] = tensor.reshaped((*tensor.shape, 1))
        else:
            published[target] = tensor
    return with_buffers(published, spec)


def to_ours(published: Weights, spec: Spec, *, folded: bool = True) -> Weights:
    """Complete published tensors under our names: weight norm folded or kept, buffers dropped."""
    table = prefixes(spec, "single_file", "ours")
    ours: Weights = {}
    for name, tensor in published.items():
        if is_untrained(name, spec) or (folded and name.endswith(".weight_v")):
            continue
        if folded and name.endswith(".weight_g"):
            name = name.removesuffix("_g")
            tensor = _fold(tensor, published[f"{name}_v"])
        elif is_column(name, spec):
            tensor = tensor.reshaped(tensor.shape[:1])
        ours[_known(rename(name, table), name)] = tensor
    return ours


def _is_weight_normed(name: str, tensor: LazyTensor, spec: Spec) -> bool:
    normed = family_of(spec.autoencoder).autoencoder.weight_norm and name.startswith("autoencoder.")
    return normed and name.endswith(".weight") and len(tensor.shape) == 3


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


# --- single file ↔ diffusers ---


def to_diffusers(published: Weights, spec: Spec) -> Weights:
    """Complete published tensors under `component.name`; fused projections are split."""
    table = prefixes(spec, "single_file", "diffusers")
    out: Weights = {}
    for name, tensor in published.items():
        targets = _diffusers_names(name, table, spec)
        order = block_order(name, spec)
        if order is not None:
            tensor = _in_order(tensor, order)
        parts = _split(tensor, len(targets), _diffusers_shape(name, tensor, spec))
        out |= zip(targets, parts, strict=True)
    form = family_of(spec.autoencoder).diffusers
    return out if form is None or spec.model is None else out | form.buffers(spec.model)


def from_diffusers(weights: Weights, spec: Spec) -> Weights:
    """Return the published tensors of `to_diffusers`' result; biases of norms that are absent become zero.

    The weights must hold every other tensor that the config implies.
    """
    table = prefixes(spec, "single_file", "diffusers")
    published: Weights = {}
    for name, expected in published_weights(spec).items():
        targets = _diffusers_names(name, table, spec)
        parts = [weights[target] for target in targets if target in weights]
        if len(parts) > 1:
            published[name] = _join(parts)
        elif parts:
            published[name] = parts[0].reshaped(expected.shape)
            order = block_order(name, spec)
            if order is not None:
                back = tuple(order.index(place) for place in range(len(order)))
                published[name] = _in_order(published[name], back)
    return with_buffers(published, spec)


def _diffusers_names(name: str, table: Prefixes, spec: Spec) -> tuple[str, ...]:
    """Return the diffusers names of a tensor's parts; an empty tuple for an untrained tensor that the layout lacks."""
    renamed = rename(name, table)
    if renamed is None and is_untrained(name, spec):
        return ()
    target = _known(renamed, name)
    is_split = family_of(spec.autoencoder).transformer.is_split
    for fused, parts in FUSED.items():
        if is_split and target.startswith("transformer.") and target.endswith(fused):
            return tuple(target.removesuffix(fused) + part for part in parts)
    return (target,)


def _in_order(tensor: LazyTensor, order: tuple[int, ...]) -> LazyTensor:
    return LazyTensor(tensor.shape, tensor.dtype, partial(_blocks_in_order, tensor, order))


def _blocks_in_order(tensor: LazyTensor, order: tuple[int, ...]) -> Tensor:
    blocks = tensor.read().chunk(len(order))
    return torch.cat([blocks[place] for place in order])


def _diffusers_shape(name: str, tensor: LazyTensor, spec: Spec) -> tuple[int, ...]:
    if is_column(name, spec):
        return tensor.shape[:1]
    vectors = family_of(spec.autoencoder).autoencoder.map_vectors
    if name.startswith("pretransform.") and name.endswith(vectors):
        return (1, *tensor.shape, 1)
    return tensor.shape


def _split(tensor: LazyTensor, count: int, shape: tuple[int, ...]) -> list[LazyTensor]:
    if count == 0:
        return []
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
    """Raise a CheckpointError unless `found` has the tensors of `expected`; those that families leave out may be missing."""
    require_tensors(found, expected, where, may_be_missing)


def checked(published: Weights, spec: Spec, where: object) -> tuple[Spec, Weights]:
    """Return published tensors of a file, completed with absent untrained ones, and the spec with what they tell.

    Raises CheckpointError unless they are those that the spec implies.
    """
    spec = as_stored(spec, published)
    check_weights(published, published_weights(spec), where)
    return spec, with_buffers(published, spec)


def completed(published: Weights, spec: Spec, where: object) -> Weights:
    """Return published tensors with absent untrained ones added.

    Raises:
        CheckpointError: `where` holds trained values of tensors that the config takes to be untrained.
    """
    if spec.model is not None:
        try:
            family_of(spec.autoencoder).transformer.check_untrained(spec.model.dit, published)
        except CheckpointError as error:
            raise CheckpointError(f"{where}: {error}") from None
    return with_buffers(published, spec)


def _known(target: str | None, name: str) -> str:
    if target is None:
        raise CheckpointError(f"tensor {name!r} has no name in the other layout")
    return target
