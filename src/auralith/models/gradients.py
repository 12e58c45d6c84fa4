"""Forward and backward passes written out where autograd alone would keep or copy more than the mathematics needs.

A block of the transformer is bound by memory as soon as its products are fast. Three rules save it: what is cheap to
make again is not kept but made again (`Recipe`: a normalized input, the product of SwiGLU); a tensor nobody else needs
is changed in place (rotary positions); weights cast by autocast are cast again in the backward pass instead of kept
beside the originals. The gradients are those of the plain formulas, which the tests compare.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

WEIGHT_ROWS = 1_536
"""Rows of a bfloat16 weight gradient that a CPU makes at once."""
WIDE = 1_024
"""Columns of a weight gradient from which that is worth two more copies."""


class Recipe(NamedTuple):
    """A way to make a tensor again: `make(*sources)`. It is kept nowhere if its only user is a `Linear`."""

    make: Callable[..., Tensor]
    sources: tuple[Tensor | None, ...]


class Linear(nn.Linear):
    """`nn.Linear` that may be told how its input is made again, and keeps no copy of its weight under autocast."""

    def forward(self, input: Tensor, recipe: Recipe | None = None) -> Tensor:
        if not torch.is_grad_enabled():
            return super().forward(input)
        make, sources = recipe or (None, ())
        return _Linear.apply(input, self.weight, self.bias, make, *sources)  # pyright: ignore[reportReturnType]


class _Linear(torch.autograd.Function):
    """y = xWᵀ + b; dx = dy·W, dW = dyᵀx, db = Σ dy."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        make: Callable[..., Tensor] | None,
        *sources: Tensor | None,
    ) -> Tensor:
        dtype = _working_dtype(x)
        x = x.to(dtype)
        ctx.make, ctx.dtype = make, dtype
        needed = (sources if make else (x,)) if weight.requires_grad else ()
        ctx.save_for_backward(weight, *needed)
        return F.linear(x, weight.to(dtype), None if bias is None else bias.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        weight, *kept = ctx.saved_tensors
        wants_x, wants_weight, wants_bias, *rest = ctx.needs_input_grad
        rows = grad.flatten(0, -2)
        grad_x = grad_weight = grad_bias = None
        if wants_weight:
            x = (ctx.make(*kept) if ctx.make else kept[0]).to(ctx.dtype)
            grad_weight = _weight_gradient(rows, x.flatten(0, -2), weight.dtype)
        if wants_bias:
            grad_bias = rows.sum(0).to(weight.dtype)
        if wants_x:
            grad_x = grad @ weight.to(grad.dtype)
        return grad_x, grad_weight, grad_bias, *(None for _ in rest)


def _working_dtype(x: Tensor) -> torch.dtype:
    """Return the dtype in which autocast computes products; the input's own where it is off."""
    kind = x.device.type
    if kind != "meta" and torch.is_autocast_enabled(kind):
        return torch.get_autocast_dtype(kind)
    return x.dtype


def _weight_gradient(
    grad: Float[Tensor, "row out"], x: Float[Tensor, "row in"], dtype: torch.dtype
) -> Float[Tensor, "out in"]:
    if grad.dtype is not torch.bfloat16 or grad.device.type != "cpu" or x.shape[1] < WIDE:
        return (grad.t() @ x).to(dtype)
    # matrix units want the left factor row by row, and both transpositions of a part stay in the cache
    result = torch.empty(grad.shape[1], x.shape[1], dtype=dtype)
    for start in range(0, len(result), WEIGHT_ROWS):
        left = grad[:, start : start + WEIGHT_ROWS].contiguous().t().contiguous()
        target = result[start : start + WEIGHT_ROWS]
        if dtype is grad.dtype:
            torch.mm(left, x, out=target)
        else:
            target.copy_(left @ x)
    return result


def normalize(
    x: Float[Tensor, "*batch dim"],
    scale: Float[Tensor, " dim"],
    bias: Float[Tensor, " dim"] | None = None,
    eps: float = 1e-5,
) -> Float[Tensor, "*batch dim"]:
    """LayerNorm in the dtype of `x` even under autocast; sums are in float32 all the same."""
    shift = None if bias is None else bias.to(x.dtype)
    return torch.native_layer_norm(x, (x.shape[-1],), scale.to(x.dtype), shift, eps)[0]


def swiglu(
    projected: Float[Tensor, "*batch two_widths"],
) -> Float[Tensor, "*batch width"]:
    """value · silu(gate) of the two halves (Shazeer 2020, equation 6)."""
    return _SwiGLU.apply(projected)  # pyright: ignore[reportReturnType]


class _SwiGLU(torch.autograd.Function):
    """With s = σ(gate): d value = dy·gate·s; d gate = dy·value·s·(1 + gate·(1 − s))."""

    @staticmethod
    def forward(ctx: Any, projected: Tensor) -> Tensor:
        ctx.save_for_backward(projected)
        value, gate = projected.chunk(2, dim=-1)
        return F.silu(gate).mul_(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        (projected,) = ctx.saved_tensors
        value, gate = projected.chunk(2, dim=-1)
        result = torch.empty_like(projected)
        grad_value, grad_gate = result.chunk(2, dim=-1)
        torch.mul(grad, value, out=grad_gate)
        torch.ops.aten.silu_backward(grad_gate, gate, grad_input=grad_gate)
        torch.ops.aten.silu(gate, out=grad_value).mul_(grad)
        return result


class Heads(NamedTuple):
    """Queries, keys and values of self-attention, in rotary positions."""

    query: Float[Tensor, "batch head position head_dim"]
    key: Float[Tensor, "batch head position head_dim"]
    value: Float[Tensor, "batch head position head_dim"]


def rotated_heads(
    projected: Float[Tensor, "batch position three_widths"],
    num_heads: int,
    cos: Float[Tensor, "position rotated"],
    sin: Float[Tensor, "position rotated"],
) -> Heads:
    """Heads of `projected`, queries and keys rotated as by `attention.rotate`. The memory of `projected` is taken over."""
    return Heads(*_RotatedHeads.apply(projected, num_heads, cos, sin))  # pyright: ignore[reportGeneralTypeIssues]


class _RotatedHeads(torch.autograd.Function):
    """The rotation is orthogonal: its gradient is the rotation by the opposite angle, and nothing has to be kept."""

    @staticmethod
    def forward(
        ctx: Any, projected: Tensor, num_heads: int, cos: Tensor, sin: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.save_for_backward(cos, sin)
        parts = projected.unflatten(-1, (3, num_heads, -1))
        _rotate_in_place(parts[:, :, :2], cos, sin)
        return tuple(part.transpose(1, 2) for part in parts.unbind(2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        cos, sin = ctx.saved_tensors
        result = torch.stack([grad.transpose(1, 2) for grad in grads], dim=2)
        _rotate_in_place(result[:, :, :2], cos, -sin)
        return result.flatten(2), None, None, None


def _rotate_in_place(
    heads: Float[Tensor, "batch position part head head_dim"],
    cos: Float[Tensor, "position rotated"],
    sin: Float[Tensor, "position rotated"],
) -> None:
    """(a, b) → (a·cos − b·sin, b·cos + a·sin) of the two halves of the rotated dimensions, in float32."""
    first, second = heads[..., : cos.shape[-1]].chunk(2, dim=-1)
    cos, sin = (table.chunk(2, dim=-1)[0][:, None, None] for table in (cos, sin))
    turned = first * cos - second * sin
    second.copy_(second * cos + first * sin)
    first.copy_(turned)
