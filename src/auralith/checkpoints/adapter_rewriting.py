"""An adapter of another program rewritten as a file of ours, for a given model.

Our format has one kind, one rank and linear layers of the transformer only. Queries, keys and values that are apart
become one projection whose factors are stacked: A below A, B along the diagonal. Ranks are filled up with zeros and
scales multiplied into B, so the change of the weights stays the same but for rounding. What the format can't hold is
refused; such an adapter can still be used as it is, or merged.
"""

from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from auralith.checkpoints.adapter_change import Change
from auralith.checkpoints.adapter_file import (
    MAGNITUDE,
    A,
    Adapter,
    AdapterConfig,
    AdapterMetadata,
    B,
    write_adapter,
)
from auralith.checkpoints.adapter_places import Place
from auralith.checkpoints.adapters import fit_adapter, unfit
from auralith.checkpoints.opening import locate
from auralith.checkpoints.transform import without_memory
from auralith.errors import CheckpointError

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
