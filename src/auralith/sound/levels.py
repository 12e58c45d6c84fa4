"""Levels of a waveform: peak, root mean square, silence, and what white noise looks like."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

SILENCE_DB = -60.0
"""A clip whose peak is below this is called silent (dBFS)."""
_NORMALIZE_ABOVE = 1e-5
"""Below this peak (-100 dBFS) there is nothing to normalize but rounding noise."""


def peak_normalize(
    waveform: Float[Tensor, "channel sample"],
) -> Float[Tensor, "channel sample"]:
    """The waveform divided by its largest magnitude, as on the model card; unchanged below -100 dBFS."""
    peak = float(waveform.abs().max()) if waveform.numel() else 0.0
    return waveform / peak if peak > _NORMALIZE_ABOVE else waveform


def peak_db(waveform: Float[Tensor, "channel sample"]) -> float:
    """Largest magnitude in dBFS; -inf for digital silence."""
    return _decibels(float(waveform.abs().max()) if waveform.numel() else 0.0)


def rms_db(waveform: Float[Tensor, "channel sample"]) -> float:
    """Root mean square over all channels in dBFS (a full-scale sine is -3.01); -inf for digital silence."""
    return _decibels(float(waveform.square().mean().sqrt()) if waveform.numel() else 0.0)


def is_silent(waveform: Float[Tensor, "channel sample"]) -> bool:
    """Whether the peak is below `SILENCE_DB`. Ask before normalizing: afterwards every peak is 0 dBFS."""
    return peak_db(waveform) < SILENCE_DB


def looks_like_white_noise(waveform: Float[Tensor, "channel sample"]) -> bool:
    """Whether the clip is steady and its long-term spectrum flat, as an undenoised or untrained output is.

    Flat: geometric over arithmetic mean of the averaged power spectrum above 0.9. Steady: the quietest tenth
    of the frames has more than a tenth of the mean power, which a click, flat as it is, doesn't.
    """
    size = 1024
    if waveform.shape[-1] < 16 * size:
        return False
    window = torch.hann_window(size, device=waveform.device)
    spectrum = torch.stft(waveform, size, size // 2, window=window, return_complex=True)
    power = spectrum.abs().square().mean(dim=0)[1:-1]
    frames, bins = power.mean(dim=0), power.mean(dim=1)
    if not float(frames.mean()) > 0:
        return False
    flatness = float(bins.log().mean().exp() / bins.mean())
    steadiness = float(frames.quantile(0.1) / frames.mean())
    return flatness > 0.9 and steadiness > 0.1


def _decibels(magnitude: float) -> float:
    return 20 * math.log10(magnitude) if magnitude > 0 else -math.inf
