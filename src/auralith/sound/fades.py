"""Fades at the ends of a sound: half a cosine, by position, so that pieces of a stream fade as the whole does."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

CLICK_FADE_SECONDS = 0.005
"""What takes the click out of an end that was cut."""
CLICK_AMPLITUDE = 1e-3
"""An end whose outermost sample is beyond this (-60 dBFS) clicks."""


def fade_seconds(asked: float | None, outermost: Float[Tensor, " channel"], is_cut: bool) -> float:
    """Return the fade at an end: as asked for, or by default 5 ms where a cut end is not at a zero."""
    if asked is not None:
        return asked
    clicks = is_cut and bool(outermost.abs().max() > CLICK_AMPLITUDE)
    return CLICK_FADE_SECONDS if clicks else 0.0


def fade_gain(
    start: int, stop: int, num_samples: int, fade_in: int, fade_out: int
) -> Float[Tensor, " sample"]:
    """Return the gain of samples [start, stop) of a sound with these fades; one longer than the sound spans it all."""
    position = torch.arange(start, stop, dtype=torch.float64)
    rise = _ramp(position, min(fade_in, num_samples))
    fall = _ramp(num_samples - 1 - position, min(fade_out, num_samples))
    return (rise * fall).float()


def _ramp(position: Float[Tensor, " sample"], length: int) -> Float[Tensor, " sample"]:
    if not length:
        return torch.ones_like(position)
    share = ((position + 0.5) / length).clamp(0.0, 1.0)
    return 0.5 - 0.5 * (math.pi * share).cos()
