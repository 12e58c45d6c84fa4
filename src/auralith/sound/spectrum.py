"""Mel filters on Slaney's scale, as codec metrics and the PANNs tagger use them."""

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor


@lru_cache(maxsize=8)
def mel_filters(
    sample_rate: int,
    fft_size: int,
    num_bands: int,
    lowest_hz: float = 0.0,
    highest_hz: float | None = None,
) -> Float[Tensor, "band bin"]:
    """Slaney's triangular filters (Auditory Toolbox), each of unit area in Hz, up to the Nyquist frequency by default.

    The defaults are those of librosa. Computed in float64.
    """
    nyquist = sample_rate / 2
    ends = _hz_to_mel(lowest_hz), _hz_to_mel(highest_hz or nyquist)
    edges = _mel_to_hz(torch.linspace(*ends, num_bands + 2, dtype=torch.float64))
    bins = torch.linspace(0, nyquist, fft_size // 2 + 1, dtype=torch.float64)
    left, center, right = (edges[i : i + num_bands, None] for i in range(3))
    rising, falling = (bins - left) / (center - left), (right - bins) / (right - center)
    return torch.minimum(rising, falling).clamp(min=0) * 2 / (right - left)


# Slaney's scale: linear up to 1 kHz, three bands per 200 Hz, then logarithmic, 27 bands per factor of 6.4
_LINEAR_HZ, _BREAK_HZ, _LOG_STEP = 200 / 3, 1_000.0, math.log(6.4) / 27
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ


def _hz_to_mel(hz: float) -> float:
    if hz < _BREAK_HZ:
        return hz / _LINEAR_HZ
    return _BREAK_MEL + math.log(hz / _BREAK_HZ) / _LOG_STEP


def _mel_to_hz(mel: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
    logarithmic = _BREAK_HZ * torch.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return torch.where(mel < _BREAK_MEL, _LINEAR_HZ * mel, logarithmic)
