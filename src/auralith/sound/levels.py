"""Levels of a waveform (peak, root mean square, silence, impossible levels, what white noise looks like), and fades.

A fade is half a cosine, by position, so that pieces of a stream fade as the whole does.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.errors import AudioError

SILENCE_DB = -60.0
"""A clip whose peak is below this is called silent (dBFS)."""
HIGHEST_DB = 40.0
"""A peak above this (dBFS) is impossible for sound: samples are damaged, or on the scale of integers."""
_INTEGER_BITS = (16, 24, 32)
_BLOCK_SAMPLES = 1 << 18
LEAST_PEAK = 1e-5
"""Below this peak (-100 dBFS) there is nothing to normalize but rounding noise."""


def peak_normalize(
    waveform: Float[Tensor, "channel sample"],
) -> Float[Tensor, "channel sample"]:
    """The waveform divided by its largest magnitude, as on the model card; unchanged below -100 dBFS."""
    peak = float(waveform.abs().max()) if waveform.numel() else 0.0
    return waveform / peak if peak > LEAST_PEAK else waveform


def peak_db(waveform: Float[Tensor, "channel sample"]) -> float:
    """Largest magnitude in dBFS; -inf for digital silence."""
    return decibels(float(waveform.abs().max()) if waveform.numel() else 0.0)


def rms_db(waveform: Float[Tensor, "channel sample"]) -> float:
    """Root mean square over all channels in dBFS (a full-scale sine is -3.01); -inf for digital silence."""
    return decibels(float(waveform.square().mean().sqrt()) if waveform.numel() else 0.0)


def require_usable(waveform: Float[Tensor, "channel sample"], name: str, start: int = 0) -> None:
    """Raise `AudioError` ("nan_samples", "impossible_level") if samples aren't finite, or peak above `HIGHEST_DB`.

    `start` is where the waveform begins in its file.
    """
    if not waveform.numel():
        return
    peak, place = 0.0, start
    for part in waveform.split(_BLOCK_SAMPLES, dim=1):  # in blocks, as long sounds fill memory
        largest, first = part.abs().amax(dim=0).max(dim=0)  # NaN counts as the largest
        if not math.isfinite(float(largest)):
            first = (~torch.isfinite(part)).any(dim=0).nonzero()[0]
            raise AudioError(
                f"{name} is not finite: NaN or infinity at sample {start + int(first)}",
                "nan_samples",
            )
        if float(largest) > peak:
            peak, place = float(largest), start + int(first)
        start += part.shape[1]
    if decibels(peak) > HIGHEST_DB:
        raise AudioError(
            f"{name} {impossible_level(peak, place, _rms(waveform))}", "impossible_level"
        )


def impossible_level(peak: float, sample: int, rms: float) -> str:
    """Return what to say of a peak above `HIGHEST_DB`, at a sample; `rms` tells a single spike from another scale."""
    told = f"peaks at {decibels(peak):+.0f} dBFS at sample {sample}"
    bits = next((bits for bits in _INTEGER_BITS if peak <= 2 ** (bits - 1)), None)
    if bits is not None and rms > 1:
        return f"{told}: integer scale; divide its samples by 2^{bits - 1}"
    return f"{told}, {HIGHEST_DB:+.0f} is the most that a sound can have; repair or replace it"


def _rms(waveform: Tensor) -> float:
    parts = waveform.split(_BLOCK_SAMPLES, dim=1)
    return math.sqrt(math.fsum(float(p.double().square().sum()) for p in parts) / waveform.numel())


def is_silent(waveform: Float[Tensor, "channel sample"]) -> bool:
    """Return whether the peak is below `SILENCE_DB`. Ask before normalizing: afterwards every peak is 0 dBFS."""
    return peak_db(waveform) < SILENCE_DB


def looks_like_white_noise(waveform: Float[Tensor, "channel sample"]) -> bool:
    """Return whether the clip is steady and its long-term spectrum flat, as an undenoised or untrained output is.

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


def decibels(magnitude: float) -> float:
    """A magnitude in dBFS; -inf for 0."""
    return 20 * math.log10(magnitude) if magnitude > 0 else -math.inf


CLICK_FADE_SECONDS = 0.005
"""Length of the fade that removes the click from an end that was cut."""
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
