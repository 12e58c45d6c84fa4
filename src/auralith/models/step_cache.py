"""Steps that add again what the blocks of a transformer added at an earlier one (first-block caching).

Neighboring steps differ little in what the blocks add to their rows. The first block is always computed, and what it adds
tells how much: while that has changed by less than a threshold since the last step that was computed whole, the sum that
the other blocks added then is added again. (The idea is that of TeaCache, Liu et al. 2024, arXiv 2411.19108, which asks the
input of the first block; asking its output instead is ParaAttention's "first block cache", github.com/chengzeyi/ParaAttention.)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

TINY = 1e-30
"""Keeps what adds nothing from dividing by zero."""


@dataclass(frozen=True)
class _Added:
    """Holds what the first block and all others added to the rows of a sound, a branch of guidance after the other."""

    by_first: Float[Tensor, "branch position dim"]
    by_others: Float[Tensor, "branch position dim"]


class StepCache:
    """The last whole step of each sound of a batch, for one network and one generation.

    Each sound decides for itself and is computed by itself, so that neither what it reuses nor how its sums are rounded
    depends on its neighbors. The branches of guidance, with and without the prompt, decide together: guidance multiplies
    their difference, so they have to be of one step. `threshold` is a mean absolute change relative to the mean absolute
    value.
    """

    def __init__(self, threshold: float, items: int) -> None:
        """Start with nothing to reuse. The batch has the rows of `items` sounds, once or, for guidance, twice in a row."""
        self._threshold = threshold
        self._last: list[_Added | None] = [None] * items

    def rows_after(
        self,
        before: Float[Tensor, "row position dim"],
        first: Float[Tensor, "row position dim"],
        others: Callable[[slice], Float[Tensor, "branch position dim"]],
    ) -> Float[Tensor, "row position dim"]:
        """Return the rows behind the last block, from those before and behind the first one.

        `others` computes them for some of the rows.
        """
        added = first - before
        selections = [slice(item, None, len(self._last)) for item in range(len(self._last))]
        own = [added[rows].contiguous() for rows in selections]
        changes = torch.stack([_change(*pair) for pair in zip(self._last, own, strict=True)])
        found = []
        for item, (rows, change) in enumerate(zip(selections, changes.tolist(), strict=True)):
            last = self._last[item]
            if last is not None and change <= self._threshold:
                found.append(first[rows] + last.by_others[: len(own[item])])
                continue
            after = others(rows)
            self._last[item] = _Added(own[item], after - first[rows])
            found.append(after)
        return torch.stack(found, dim=1).flatten(0, 1)


def _change(last: _Added | None, added: Float[Tensor, "branch position dim"]) -> Float[Tensor, ""]:
    """Return the larger change of the branches; infinite where a branch has nothing to be compared with."""
    if last is None or len(last.by_first) < len(added):
        return added.new_full((), math.inf, dtype=torch.float32)
    before = last.by_first[: len(added)].float()
    moved, size = ((part.abs().mean(dim=(1, 2))) for part in (added.float() - before, before))
    return (moved / size.clamp_min(TINY)).amax()
