"""Nearest rows by cosine, exactly, in blocks of bounded memory.

Rows are unit vectors in float16. Blocks are multiplied in float32, on any device, and each query keeps a few more
candidates than are asked for. The candidates are then scored again in float64, where a product of two such rows has no
rounding at all (22 bits each, 512 of them). What was dropped scored below the candidates by more than float32 can err, or
the query is searched once more in float64. So the answer is that of exact arithmetic, whatever the size of the blocks
and the device.

Memory is that of one block of scores three times over, and of both blocks in float32: 200 MB at the defaults, whatever the
number of rows.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Float16, Int
from torch import Tensor

ROW_BLOCK, QUERY_BLOCK = 8_192, 1_024
_SLACK = 16
"""Candidates beyond those that are asked for."""


@runtime_checkable
class Rows(Protocol):
    """Unit vectors in float16: an array, or a store that reads them from disk."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(
        self, places: slice | Int[np.ndarray, "..."], /
    ) -> Float16[np.ndarray, "..."]: ...


@dataclass(frozen=True)
class Nearest:
    """For each query its nearest groups, the nearest first; of equals the earlier row."""

    scores: Float[np.ndarray, "query k"]
    """Cosine of the query and the nearest row of the group; −inf where there are fewer than k groups."""
    rows: Int[np.ndarray, "query k"]
    """Place of that row; −1 where there is none."""


def nearest(
    queries: Float16[np.ndarray, "query dim"],
    rows: Rows,
    k: int,
    *,
    groups: Int[np.ndarray, " row"] | None = None,
    row_block: int = ROW_BLOCK,
    query_block: int = QUERY_BLOCK,
    device: torch.device | str = "cpu",
) -> Nearest:
    """Return the k nearest groups of rows for each query; without groups each row is one.

    Groups are numbered from 0; the nearest row of a group stands for it.
    """
    owners = (np.arange(rows.shape[0]) if groups is None else groups).astype(np.int64)
    members = _Members(owners)
    scores = np.full((len(queries), k), -np.inf)
    places = np.full((len(queries), k), -1)
    for start in range(0, len(queries), query_block):
        some = queries[start : start + query_block]
        candidates = _candidates(some, rows, owners, k + _SLACK, row_block, device)
        for i, query in enumerate(some.astype(np.float64)):
            found = _best(query, rows, members, candidates.groups[i], k)
            if not _is_certain(found, candidates, i, members.count, k):
                found = _exhaustive(query, rows, owners, k, row_block)
            scores[start + i, : len(found[0])], places[start + i, : len(found[1])] = found
    return Nearest(scores, places)


def near_pairs(
    rows: Rows, least: float, neighbors: int, *, device: torch.device | str = "cpu"
) -> list[tuple[int, int, float]]:
    """Return (place, later place, cosine) of each row and its nearest other rows, the largest cosine first.

    Only cosines of at least `least` are returned. Of rows that are equal, all have the earliest ones as neighbors, so
    that pairs join them to one group whatever their number.
    """
    found = nearest(rows[:], rows, neighbors + 1, device=device)
    pairs = {
        (min(i, int(j)), max(i, int(j))): float(score)
        for i, (places, scores) in enumerate(zip(found.rows, found.scores, strict=True))
        for j, score in zip(places, scores, strict=True)
        if score >= least and i != j
    }
    return sorted(((i, j, score) for (i, j), score in pairs.items()), key=lambda p: (-p[2], p[:2]))


def distance_ratio(scores: Float[np.ndarray, "query k"]) -> Float[np.ndarray, " query"]:
    """Return ρ = (1 − c₁) / mean(1 − c₂ … cₖ): small where one recording is far nearer than the next ones.

    NaN with fewer than two scores, or where the others are equal to the query, too.
    """
    distances = np.where(np.isfinite(scores), np.maximum(0, 1 - scores), np.nan)
    if distances.shape[1] < 2:
        return np.full(len(distances), np.nan)
    counts = np.isfinite(distances[:, 1:]).sum(1)
    others = np.nansum(distances[:, 1:], axis=1)
    defined = (counts > 0) & (others > 0)
    mean = others / np.maximum(counts, 1)
    return np.where(defined, distances[:, 0] / np.where(defined, mean, 1), np.nan)


class _Members:
    """Rows of each group."""

    def __init__(self, owners: Int[np.ndarray, " row"]) -> None:
        self._order = np.argsort(owners, kind="stable")
        self._starts = np.searchsorted(owners[self._order], np.arange(owners.max(initial=-1) + 2))
        self.count = int((np.diff(self._starts) > 0).sum())

    def of(self, groups: Int[np.ndarray, " group"]) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of these groups, and for each the place of its group among them."""
        parts = [self._order[self._starts[g] : self._starts[g + 1]] for g in groups]
        return np.concatenate(parts), np.repeat(np.arange(len(groups)), [len(p) for p in parts])


@dataclass(frozen=True)
class _Candidates:
    groups: list[Int[np.ndarray, " candidate"]]
    least: Float[np.ndarray, " query"]
    """Score of the last candidate in float32; none that was dropped scored more."""
    error: float
    """Largest distance of a score in float32 from the exact one."""


def _candidates(
    queries: np.ndarray,
    rows: Rows,
    owners: np.ndarray,
    count: int,
    row_block: int,
    device: torch.device | str,
) -> _Candidates:
    ours = _on(queries, device)
    scores = torch.full((len(queries), count), -torch.inf, device=device)
    groups = torch.full((len(queries), count), -1, dtype=torch.int64, device=device)
    error = 0.0
    for start in range(0, rows.shape[0], row_block):
        theirs = _on(rows[start : start + row_block], device)
        error = max(error, _error(ours, theirs))
        named, products = _by_group(theirs, ours, owners[start : start + row_block])
        best, place = products.topk(min(count, products.shape[1]), dim=1)
        scores, groups = _merged(scores, groups, best, named[place], count)
    found = groups.cpu().numpy()
    return _Candidates([g[g >= 0] for g in found], scores[:, -1].cpu().numpy(), error)


def _by_group(
    theirs: Tensor, ours: Tensor, owners: np.ndarray
) -> tuple[Int[Tensor, " group"], Float[Tensor, "query group"]]:
    """Return the groups of a block of rows, and the best score of each."""
    named, inverse = np.unique(owners, return_inverse=True)
    if len(named) == len(owners):
        return torch.from_numpy(owners).to(ours.device), ours @ theirs.T
    products = theirs @ ours.T
    best = torch.full((len(named), ours.shape[0]), -torch.inf, device=ours.device)
    places = torch.from_numpy(inverse).to(ours.device)[:, None].expand_as(products)
    best.scatter_reduce_(0, places, products, "amax")
    return torch.from_numpy(named).to(ours.device), best.T.contiguous()


def _merged(
    scores: Tensor, groups: Tensor, more: Tensor, named: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Return the best of both lists for each query, each group once, with the better of its scores."""
    scores, groups = torch.cat((scores, more), dim=1), torch.cat((groups, named), dim=1)
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    groups = groups.gather(1, order)
    by_group, order = groups.sort(dim=1, stable=True)  # of a group, the best comes first
    repeated = torch.zeros_like(groups, dtype=torch.bool)
    repeated.scatter_(1, order[:, 1:], by_group[:, 1:] == by_group[:, :-1])
    scores = scores.masked_fill(repeated, -torch.inf)
    scores, order = scores.topk(count, dim=1)
    return scores, groups.gather(1, order).masked_fill(scores == -torch.inf, -1)


def _best(
    query: np.ndarray, rows: Rows, members: _Members, groups: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return exact scores and rows of the k best of these groups."""
    if not len(groups):
        return np.zeros(0), np.zeros(0, np.int64)
    places, owner = members.of(groups)
    return _top(rows[places].astype(np.float64) @ query, places, owner, k)


def _exhaustive(
    query: np.ndarray, rows: Rows, owners: np.ndarray, k: int, block: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return exact scores and rows of the k best of all groups."""
    parts = [
        rows[start : start + block].astype(np.float64) @ query
        for start in range(0, rows.shape[0], block)
    ]
    return _top(np.concatenate(parts), np.arange(rows.shape[0]), owners, k)


def _top(
    scores: np.ndarray, places: np.ndarray, owner: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((places, -scores))
    _, first = np.unique(owner[order], return_index=True)
    kept = order[np.sort(first)[:k]]
    return scores[kept], places[kept]


def _is_certain(
    found: tuple[np.ndarray, np.ndarray], candidates: _Candidates, i: int, groups: int, k: int
) -> bool:
    """Return whether nothing that was dropped can be among the k best."""
    if len(candidates.groups[i]) == groups:
        return True
    return len(found[0]) == k and bool(found[0][-1] > candidates.least[i] + candidates.error)


def _on(rows: np.ndarray, device: torch.device | str) -> Float[Tensor, "row dim"]:
    return torch.from_numpy(np.asarray(rows)).to(device).float()


def _error(ours: Tensor, theirs: Tensor) -> float:
    """Return how far float32 may err in a product: dim · 2⁻²⁴ · |x| · |y| (Higham 2002, section 3.1), doubled."""
    norms = (float(one.norm(dim=1).max()) for one in (ours, theirs))
    return 2 * ours.shape[1] * 2.0**-24 * float(np.prod(list(norms)))
