"""Muon (Jordan 2024, kellerjordan.github.io/posts/muon): steps of momentum whose matrices are made orthogonal.

torch has one that iterates in bfloat16 on every device; a CPU without instructions for it takes a hundred times as long for
that as for float32. This one iterates in what the device multiplies natively, and equals torch's in bfloat16.
"""

import math
from collections.abc import Callable, Iterable
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auralith.resources import choose_dtype

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""They make a polynomial that takes singular values from 0.01 to 1 to between 0.7 and 1.2 in five iterations."""
ITERATIONS = 5
ADAMW_RMS = 0.2
"""Root mean square of an update of AdamW, which those of a matrix of any shape are given (Liu et al. 2025, arXiv 2502.16982)."""
TINY = 1e-7
"""Keeps a matrix of zeros from dividing by zero."""


class Muon(torch.optim.Muon):
    """Nesterov momentum of matrices, orthogonalized, with decoupled weight decay; its state is that of torch's."""

    def __init__(
        self, matrices: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
    ) -> None:
        """Take matrices alone; `learning_rate` is that of AdamW."""
        super().__init__(matrices, learning_rate, weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Move each matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._move(matrix, group["lr"], group["momentum"], group["weight_decay"])

    def _move(self, matrix: nn.Parameter, rate: float, momentum: float, decay: float) -> None:
        assert matrix.grad is not None
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix.grad)
        average = state["momentum_buffer"]
        average.lerp_(matrix.grad, 1 - momentum)
        update = matrix.grad.lerp(average, momentum)
        update = orthogonalized(update, native_dtype(matrix.device))
        matrix.mul_(1 - rate * decay)
        matrix.add_(update, alpha=-rate * ADAMW_RMS * math.sqrt(max(matrix.shape)))


@cache
def native_dtype(device: torch.device) -> torch.dtype:
    """Return the number format that a device multiplies fastest in: bfloat16 or float32."""
    return choose_dtype("auto", device)


def orthogonalized(
    matrix: Float[Tensor, "row column"], dtype: torch.dtype
) -> Float[Tensor, "row column"]:
    """Return about UVᵀ of a matrix USVᵀ, by Newton-Schulz iterations in a number format.

    Singular values come out between 0.7 and 1.2, those below a hundredth of the Frobenius norm lower.
    """
    linear, cubic, quintic = COEFFICIENTS
    is_tall = matrix.shape[0] > matrix.shape[1]
    found = matrix.to(dtype).T if is_tall else matrix.to(dtype)
    found = found / found.norm().clamp(min=TINY)
    for _ in range(ITERATIONS):
        gram = found @ found.T
        change = torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic)
        found = torch.addmm(found, change, found, beta=linear)
    return found.T if is_tall else found
