"""3×3 convolutions in a quarter of the multiplications (Winograd; Lavin & Gray 2016, arXiv 1509.09308, F(4×4, 3×3)).

Tiles of 6×6 inputs, every 4, become 36 matrix products over channels, each tile then 4×4 outputs. It pays on a CPU in
float32 from 128 channels on, where products outweigh the transforms; the rounding is about four times that of a plain
convolution.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

PAYS_FROM = 128
"""Least number of input channels."""
_TILE, _STEP = 6, 4
_INPUT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_OUTPUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
"""The matrices Bᵀ, G and Aᵀ of the paper."""


class WinogradConvolution:
    """A 3×3 convolution with one zero around the picture, in float32."""

    def __init__(
        self, weight: Float[Tensor, "out channel 3 3"], bias: Float[Tensor, " out"]
    ) -> None:
        kernel = torch.tensor(_KERNEL, dtype=torch.float64)
        products = torch.einsum("ia,ocab,jb->ijco", kernel, weight.double(), kernel)
        self._weights, self._bias = products.flatten(0, 1).float().contiguous(), bias.float()
        self._input, self._output = _twice(_INPUT), _twice(_OUTPUT)

    def __call__(
        self, x: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch out height width"]:
        """Return the convolution, channels last."""
        batch, channels, height, width = x.shape
        rows, columns = -(-height // _STEP), -(-width // _STEP)
        below, right = (_STEP * n + 1 - size for n, size in ((rows, height), (columns, width)))
        framed = pad(x.permute(0, 2, 3, 1), (0, 0, 1, right, 1, below))
        tiles = framed.unfold(1, _TILE, _STEP).unfold(2, _TILE, _STEP).permute(4, 5, 0, 1, 2, 3)
        transformed = self._input @ tiles.reshape(_TILE * _TILE, -1)
        products = torch.bmm(transformed.unflatten(1, (-1, channels)), self._weights)
        made = (self._output @ products.flatten(1)).view(_STEP, _STEP, batch, rows, columns, -1)
        made = made.permute(2, 3, 0, 4, 1, 5).reshape(batch, rows * _STEP, columns * _STEP, -1)
        return (made[:, :height, :width] + self._bias).permute(0, 3, 1, 2)


def _twice(matrix: tuple[tuple[float | int, ...], ...]) -> Float[Tensor, "to from"]:
    """Return what a matrix does to rows and columns of a tile, as one matrix."""
    one = torch.tensor(matrix, dtype=torch.float64)
    return torch.kron(one, one).float()
