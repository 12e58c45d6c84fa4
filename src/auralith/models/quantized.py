"""Linear layers with int8 weights: a scale per output channel for weights, one per token for activations.

y = sₓ·s_w·Σ qₓ·q_w, the symmetric scheme of Jacob et al. 2018 (arXiv 1712.05877, equation 3). The sum is one of whole
numbers, so it is the same on every machine and for every size of a batch. CPUs without VNNI add two products of
neighboring columns in 16 bits, where they saturate; codes are chosen so that no such sum can (`PAIR_LIMIT`).

`INT8_LAYERS` names the layers of diffusion transformers that compute so, `FLOAT_LAYERS` all others and why they don't.
"""

import logging
import re
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int8, UInt8
from torch import Tensor, nn

from auralith.models.gradients import Recipe

LEVELS = 127
"""Largest code of a weight or an activation, of either sign."""
PAIR_LIMIT = LEVELS + 1
"""Largest sum of two neighboring codes of one sign: 255 · 128 still fits into 16 bits, with activations from 0 to 255."""
ZERO = 128
"""Activations are handed over as unsigned numbers around it."""
INT8_LAYERS = re.compile(
    r"blocks\.\d+\.(self_attention\.(qkv|out)|cross_attention\.(q|out)|feed_forward\.(up|down))"
)
FLOAT_LAYERS = {
    r"conv_in|project_in": "first: the noise of small latents would pass through all blocks",
    r"project_out|conv_out": "last: its error is the velocity's, and it has few rows",
    r"timestep_embed\..*|timestep_features": "tells neighboring timesteps apart",
    r"modulation\..*|blocks\.\d+\.modulation": "scales whole channels of every block",
    r"global_embed\..*|context_embed\..*|blocks\.\d+\.cross_attention\.kv": "computed once per request",
    r"blocks\.\d+\.local_embed\..*": "computed once per request",
    r"positions|memory": "tables, which multiply nothing",
    r"blocks\.\d+\..*norm": "norms, computed in float32",
}
"""Names of the other layers with the reason. Attention's own products, which have no weights, are in floats too."""
CACHED = 2**18
"""Activations that are coded at a time: as floats they take 1 MiB, which stays in a core's own cache."""
SLOW_BELOW = 1.15
"""A product that is less than so many times as fast as in float32 is not worth its error."""
log = logging.getLogger(__name__)


class Codes(NamedTuple):
    """A matrix in int8: row n is `scale[n]` times its codes."""

    codes: Int8[Tensor, "out in"]
    scale: Float[Tensor, " out"]


class Rows(NamedTuple):
    """Activations as unsigned codes around `ZERO`, with a scale per token."""

    codes: UInt8[Tensor, "row in"]
    scale: Float[Tensor, "row 1"]


Packed = Tensor
"""Codes of a weight in the order that a kernel wants."""


class Kernel(NamedTuple):
    """A way to multiply codes: sums of whole numbers times `scale`, in float32."""

    name: str
    pack: Callable[[Int8[Tensor, "out in"]], Packed]
    product: Callable[[UInt8[Tensor, "row in"], Packed, Float[Tensor, " out"]], Tensor]


def quantize(weight: Float[Tensor, "out in"]) -> Codes:
    """Return the nearest codes of a weight: |w − s·q| ≤ s/2 (1 + 2⁻²⁰). A row of zeros has the scale 1.

    A NaN or an infinite value makes the scale of its row so.
    """
    values = weight.float()
    first, second = F.pad(values, (0, values.shape[1] % 2)).unflatten(1, (-1, 2)).unbind(-1)
    # neighbors of one sign sum to LEVELS, to which rounding adds one half each; those of two signs to less than the larger
    peak = torch.maximum(values.abs().amax(1), (first + second).abs_().amax(1))
    scale = (peak / LEVELS).clamp(min=torch.finfo(torch.float32).tiny)
    scale = torch.where(peak == 0, 1.0, scale)
    return Codes((values / scale[:, None]).round_().to(torch.int8), scale)


def dequantize(quantized: Codes) -> Float[Tensor, "out in"]:
    """Return the matrix that codes stand for, in float32."""
    return quantized.codes.float() * quantized.scale[:, None]


def quantize_rows(x: Float[Tensor, "row in"]) -> Rows:
    """Return the nearest codes of activations; |x − s·(q − ZERO)| ≤ s/2 but for rounding. A NaN makes its scale NaN."""
    codes, scale = torch.empty(x.shape, dtype=torch.uint8), torch.empty(len(x), 1)
    count = max(1, CACHED // x.shape[1])
    space = torch.empty(min(count, len(x)), x.shape[1])
    for part, coded, scales in zip(*(t.split(count) for t in (x, codes, scale)), strict=True):
        values = space[: len(part)]
        torch.amax(torch.abs(part, out=values), dim=1, keepdim=True, out=scales)
        scales.div_(LEVELS).clamp_(min=torch.finfo(torch.float32).tiny)
        coded.copy_(torch.div(part, scales, out=values).round_().add_(ZERO))
    return Rows(codes, scale)


class QuantizedLinear(nn.Module):
    """`nn.Linear` for inference on a CPU with a weight in int8. It holds no parameters: `state_dict` leaves it out."""

    def __init__(self, weight: Codes, bias: Float[Tensor, " out"] | None = None) -> None:
        super().__init__()
        self.out_features, self.in_features = weight.codes.shape
        self.kernel = kernel()
        self.packed, self.scale, self.bias = self.kernel.pack(weight.codes), weight.scale, bias

    @property
    def num_bytes(self) -> int:
        """Return the bytes of codes, scales and bias."""
        channels = self.out_features * (1 if self.bias is None else 2)
        return self.out_features * self.in_features + 4 * channels

    def forward(
        self, x: Float[Tensor, "*batch in"], recipe: Recipe | None = None
    ) -> Float[Tensor, "*batch out"]:
        """Return the layer's output. `recipe` is for training, which needs floats."""
        rows = quantize_rows(x.reshape(-1, self.in_features))
        out = self.kernel.product(rows.codes, self.packed, self.scale)
        if self.bias is None:
            out.mul_(rows.scale)
        else:
            torch.addcmul(self.bias, out, rows.scale, out=out)
        return out.view(*x.shape[:-1], self.out_features)


def int8_layers(network: nn.Module) -> Iterator[str]:
    """Yield the names of a transformer's layers that compute in int8."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Linear | QuantizedLinear) and INT8_LAYERS.fullmatch(name):
            yield name


def quantized_layers(network: nn.Module) -> dict[str, QuantizedLinear]:
    """Return the layers of a network that compute in int8, by name; none where it computes in floats."""
    return {n: m for n, m in network.named_modules() if isinstance(m, QuantizedLinear)}


@cache
def kernel() -> Kernel:
    """Return oneDNN's product where torch has it and it sums exactly, else one in float32."""
    return ONEDNN if _is_exact(ONEDNN) else FLOAT


@cache
def warn_of_slow_int8() -> None:
    """Log one line, once, if products in int8 are not faster than in float32 on this machine."""
    gain = _gain()
    if gain < SLOW_BELOW:
        log.warning(
            "int8 products are %.1f times as fast as float32 on this CPU; int8 is used all the same and takes a quarter "
            "of the memory; --dtype float32 is as fast and exact",
            gain,
        )


def _onednn_pack(codes: Tensor) -> Packed:
    return torch.ops.onednn.qlinear_prepack(codes, None)


def _onednn_product(rows: Tensor, packed: Packed, scale: Tensor) -> Tensor:
    zeros = torch.zeros(len(scale), dtype=torch.int32)
    return torch.ops.onednn.qlinear_pointwise(
        *(rows, 1.0, ZERO),
        *(packed, scale, zeros, None),
        *(1.0, 0, torch.float32),
        *("none", [], ""),
    )


def _float_product(rows: Tensor, packed: Packed, scale: Tensor) -> Tensor:
    return F.linear(rows.float().sub_(ZERO), packed.float()).mul_(scale)


ONEDNN = Kernel("onednn", _onednn_pack, _onednn_product)
FLOAT = Kernel("float", lambda codes: codes, _float_product)


def _is_exact(candidate: Kernel) -> bool:
    """Return whether a kernel sums the largest products that codes allow as whole numbers."""
    half = torch.full((1, 32), PAIR_LIMIT // 2, dtype=torch.int8)
    whole = torch.tensor([LEVELS, 1] * 16, dtype=torch.int8)[None]
    codes = torch.cat((half, -half, whole, -whole)).repeat(8, 1)
    rows = torch.tensor([[1], [255]], dtype=torch.uint8).repeat(4, 32)
    expected = (rows.long() - ZERO) @ codes.long().T
    try:
        found = candidate.product(rows, candidate.pack(codes), torch.ones(len(codes)))
    except (RuntimeError, AttributeError):  # a build of torch without it
        return False
    return torch.equal(found.long(), expected)


def _gain(rows: int = 256, features: int = 1_024, rounds: int = 3) -> float:
    """Return how many times as fast as in float32 a layer is on this machine: the best of some rounds, 0.1 s in all."""
    x = torch.linspace(-1, 1, rows * features).view(rows, features)
    weight = torch.linspace(1, -1, features * features).view(features, features)
    layer = QuantizedLinear(quantize(weight))
    with torch.inference_mode():
        float_time, int8_time = (
            min(_seconds(task) for _ in range(rounds))
            for task in (lambda: F.linear(x, weight), lambda: layer(x))
        )
    return float_time / int8_time


def _seconds(task: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    task()
    return time.perf_counter() - start
