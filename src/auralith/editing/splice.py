"""Joining what a model made to the sound it was made for, without a click and without a dip.

A seam lies outside the part that is new. There the decoder's sound goes from its copy of the old sound, as far out as
the decoder reaches, to the new one, and the old samples fade into it. How two sounds add up in a crossfade depends on
how alike they are: gains are chosen so that the power stays level for the correlation found (Fink et al. 2016,
"Signal-matched power-complementary cross-fading and dry-wet mixing"), linear for equal waveforms, equal-power for unrelated ones
(which those of an autoencoder are that makes up its phases). Outside the seams nothing is computed: the samples are the same.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

Span = tuple[int, int]
"""First sample and the one after the last."""


def splice(
    kept: Float[Tensor, "channel sample"],
    made: Float[Tensor, "channel sample"],
    spans: list[Span],
    fade: int,
) -> Float[Tensor, "channel sample"]:
    """`kept` with the spans (in their order, apart) from `made`, crossfaded over up to `fade` samples around each."""
    result, length = kept.clone(), kept.shape[-1]
    for index, (start, end) in enumerate(spans):
        # two spans share what lies between them
        before = (start - spans[index - 1][1]) // 2 if index else start
        is_last = index + 1 == len(spans)
        after = length - end if is_last else (spans[index + 1][0] - end) // 2
        result[:, start:end] = made[:, start:end]
        for seam, rising in (
            (slice(start - min(fade, before), start), True),
            (slice(end, end + min(fade, after)), False),
        ):
            result[:, seam] = crossfade(kept[:, seam], made[:, seam], rising)
    return result


def crossfade(
    kept: Float[Tensor, "channel sample"], made: Float[Tensor, "channel sample"], rising: bool
) -> Float[Tensor, "channel sample"]:
    """From `kept` to `made`, or back if not `rising`, at level power for their correlation."""
    position = (torch.arange(kept.shape[-1], dtype=torch.float64) + 0.5) / kept.shape[-1]
    share = (position * (math.pi / 2)).sin().square()
    if not rising:
        share = share.flip(0)
    alike = correlation(kept, made)
    power = share.square() + (1 - share).square() + 2 * alike * share * (1 - share)
    return (((1 - share) * kept + share * made) / power.sqrt()).to(kept.dtype)


def correlation(a: Float[Tensor, "channel sample"], b: Float[Tensor, "channel sample"]) -> float:
    """How alike two sounds are: 1 for equal waveforms, 0 for unrelated or opposed ones, and for silence."""
    product, scale = (a * b).sum(), a.norm() * b.norm()
    return min(1.0, max(0.0, float(product / scale))) if float(scale) > 0 else 0.0


def place(
    canvas: Float[Tensor, "channel sample"], piece: Float[Tensor, "channel piece"], start: int
) -> None:
    """Write a piece over a canvas from sample `start` on, as far as it lies inside."""
    first, last = max(0, start), min(canvas.shape[-1], start + piece.shape[-1])
    canvas[:, first:last] = piece[:, first - start : last - start]
