"""The change that an adapter makes to one weight: a low-rank sum, with or without trained lengths of rows and columns.

With W as out × in (a convolution's taps belong to "in"), s = α/r, and Δ = s·BA, or s·U·M·Vᵀ for the kinds that end in
`-xs`, where U and V are the first r singular vectors of W itself:

| kind      | trained weight                                                        | paper            |
|-----------|-----------------------------------------------------------------------|------------------|
| lora      | W + Δ                                                                 | arXiv 2106.09685 |
| dora      | the rows of W + Δ, each at its trained length                         | arXiv 2402.09353 |
| dora-cols | the columns of W + Δ, each at its trained length                      |                  |
| bora      | the rows at their trained lengths, then the columns at theirs         | arXiv 2412.06441 |
| …-xs      | the same with M (r × r) as the only trained factor                    | arXiv 2405.17604 |
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.checkpoints.reading import LazyTensor

SMALLEST_LENGTH = 1e-12
NAMES = {
    (False, False): "lora",
    (True, False): "dora",
    (False, True): "dora-cols",
    (True, True): "bora",
}


@dataclass(frozen=True, eq=False)
class Change:
    """The change of one weight, still in its file: A and B, or the core M, and the lengths of rows and columns."""

    rank: int
    alpha: float
    scale: float
    """α/r, or α/√r where the adapter says so."""
    a: LazyTensor | None = None
    b: LazyTensor | None = None
    core: LazyTensor | None = None
    rows: LazyTensor | None = None
    columns: LazyTensor | None = None
    strength_inside: bool = False
    """Strength multiplies Δ before lengths are applied, as Stable Audio 3 does; else the whole change."""
    scales_bias: bool = False
    """The factors of the rows apply to the module's bias too, as in LoRAW."""

    @property
    def kind(self) -> str:
        """One of the names in the table above."""
        name = NAMES[self.rows is not None, self.columns is not None]
        return name if self.core is None else f"{name}-xs"

    def misfit(self, out: int, columns: int) -> str | None:
        """The first tensor that does not fit a weight of this size, in words; None if all do."""
        wanted = {
            "A": (self.a, (self.rank, columns)),
            "B": (self.b, (out, self.rank)),
            "M": (self.core, (self.rank, self.rank)),
        }
        for name, (tensor, shape) in wanted.items():
            if tensor is not None and flat_shape(tensor.shape) != shape:
                return f"{name} is {sizes(flat_shape(tensor.shape))}, not {sizes(shape)}"
        if self.core is not None and self.rank > min(out, columns):
            return f"M is {self.rank} wide, but the weight has only {min(out, columns)} singular vectors"
        for name, tensor, count in (("rows", self.rows, out), ("columns", self.columns, columns)):
            if tensor is not None and tensor.numel != count:
                return f"it has lengths of {tensor.numel} {name}, not {count}"
        return None

    def change(
        self, weight: Float[Tensor, "out columns"], strength: float = 1.0
    ) -> Float[Tensor, "out columns"]:
        """Return what the adapter adds to a float32 weight. A row or column of zeros stays zero."""
        inner, outer = (strength, 1.0) if self.strength_inside else (1.0, strength)
        low_rank = inner * self.scale * self._product(weight)
        if self.rows is None and self.columns is None:
            return outer * low_rank
        changed = weight + low_rank
        if self.rows is not None:
            changed = changed * _factors(changed, self.rows, 1)
        if self.columns is not None:
            changed = changed * _factors(changed, self.columns, 0)
        return outer * (changed - weight)

    def bias_change(
        self,
        weight: Float[Tensor, "out columns"],
        bias: Float[Tensor, " out"],
        strength: float = 1.0,
    ) -> Float[Tensor, " out"]:
        """Return what the adapter adds to the bias: nothing unless `scales_bias`."""
        if self.rows is None or not self.scales_bias:
            return torch.zeros_like(bias)
        directed = weight + self.scale * self._product(weight)
        return strength * (_factors(directed, self.rows, 1).flatten() - 1) * bias

    def _product(self, weight: Tensor) -> Tensor:
        if self.core is not None:
            left, right = _singular_vectors(weight, self.rank)
            return left @ self.core.read().float() @ right
        assert self.a is not None and self.b is not None  # checked when the file was read
        return self.b.read().float().flatten(1) @ self.a.read().float().flatten(1)


def flat_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """The shape as a matrix: everything after the first axis belongs to the columns."""
    return (shape[0], math.prod(shape[1:])) if shape else (1, 1)


def sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _factors(matrix: Tensor, lengths: LazyTensor, axis: int) -> Tensor:
    norms = torch.linalg.vector_norm(matrix, dim=axis, keepdim=True)
    return lengths.read().float().reshape(norms.shape) / (norms + SMALLEST_LENGTH)


def _singular_vectors(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The first left and right singular vectors; the largest entry of each left one is positive, as in the reference."""
    left, _, right = torch.linalg.svd(weight.cpu().float(), full_matrices=False)
    signs = left.gather(0, left.abs().argmax(dim=0, keepdim=True)).sign()
    signs[signs == 0] = 1
    return (left * signs)[:, :rank], (right * signs.T)[:rank]
