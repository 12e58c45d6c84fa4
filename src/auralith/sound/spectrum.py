"""Mel filters on the scales of Slaney, HTK and Kaldi, as codec metrics, taggers and embedders use them."""

import math
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

MelScale = Literal["slaney", "htk", "kaldi"]
"""slaney: the Auditory Toolbox, linear up to 1 kHz. htk: mel = 2595·log10(1 + f/700), triangles linear in Hz. kaldi: the
same spacing, triangles linear in mel."""


@lru_cache(maxsize=16)
def mel_filters(
    sample_rate: int,
    fft_size: int,
    num_bands: int,
    lowest_hz: float = 0.0,
    highest_hz: float | None = None,
    *,
    scale: MelScale = "slaney",
    unit_area: bool = True,
) -> Float[Tensor, "band bin"]:
    """Triangular filters up to the Nyquist frequency by default, each of unit area in Hz or of height 1.

    The defaults are those of librosa. Computed in float64. Unit area is not defined on Kaldi's scale.
    """
    nyquist = sample_rate / 2
    to_mel, to_hz = (_hz_to_mel, _mel_to_hz) if scale == "slaney" else (_hz_to_htk, _htk_to_hz)
    limits = torch.tensor([lowest_hz, highest_hz or nyquist], dtype=torch.float64)
    first, last = to_mel(limits).tolist()
    edges = torch.linspace(first, last, num_bands + 2, dtype=torch.float64)
    bins = torch.linspace(0, nyquist, fft_size // 2 + 1, dtype=torch.float64)
    if scale == "kaldi":
        assert not unit_area
        bins = to_mel(bins)
    else:
        edges = to_hz(edges)
    left, center, right = (edges[i : i + num_bands, None] for i in range(3))
    rising, falling = (bins - left) / (center - left), (right - bins) / (right - center)
    triangles = torch.minimum(rising, falling).clamp(min=0)
    return triangles * 2 / (right - left) if unit_area else triangles


# Slaney's scale: linear up to 1 kHz, three bands per 200 Hz, then logarithmic, 27 bands per factor of 6.4
_LINEAR_HZ, _BREAK_HZ, _LOG_STEP = 200 / 3, 1_000.0, math.log(6.4) / 27
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ


def _hz_to_mel(hz: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
    logarithmic = _BREAK_MEL + torch.log(hz.clamp(min=_BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return torch.where(hz < _BREAK_HZ, hz / _LINEAR_HZ, logarithmic)


def _mel_to_hz(mel: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
    logarithmic = _BREAK_HZ * torch.exp(_LOG_STEP * (mel - _BREAK_MEL))
    return torch.where(mel < _BREAK_MEL, _LINEAR_HZ * mel, logarithmic)


# Kaldi writes 1127·ln where HTK writes 2595·log10: the factor has no effect on where the edges lie
_HTK_HZ = 700.0


def _hz_to_htk(hz: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
    return torch.log1p(hz / _HTK_HZ)


def _htk_to_hz(mel: Float[Tensor, " edge"]) -> Float[Tensor, " edge"]:
    return _HTK_HZ * torch.expm1(mel)
