"""Result of a measure: a value with its confidence, or the reason why there is none."""

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import soxr
from jaxtyping import Float

T = TypeVar("T")

Waveform = Float[np.ndarray, "channel sample"]
Mono = Float[np.ndarray, " sample"]
SILENCE = 1e-5
"""A peak below this (−100 dBFS) is silence to every measure."""
_CANCELED = 0.05
"""Share of the energy that the sum of the channels must have to be listened to."""


@dataclass(frozen=True, slots=True)
class Measurement(Generic[T]):
    """A value, or None with a reason."""

    value: T | None
    confidence: float
    """From 0 to 1, on the measure's own scale; compare it only with that of the same measure."""
    reason: str | None = None
    """Says why there is no value."""


def unknown(reason: str, confidence: float = 0.0) -> Measurement:
    """Return a measurement that can't tell."""
    return Measurement(None, confidence, reason)


def mono(
    waveform: Waveform, sample_rate: int, wanted_rate: int | None = None
) -> Float[np.ndarray, " resampled"]:
    """Return the mean of the channels at a rate in Hz; the first channel where they cancel each other."""
    mixed = waveform.mean(axis=0, dtype=np.float32)
    if np.square(mixed).sum() < _CANCELED * np.square(waveform).mean(axis=0).sum():
        mixed = waveform[0].astype(np.float32)
    if wanted_rate in (None, sample_rate):
        return mixed
    return soxr.resample(mixed, sample_rate, wanted_rate, quality="HQ")


def spectra(sound: Mono, size: int, hop: int) -> Float[np.ndarray, "frame bin"]:
    """Return magnitudes under a Hann window, frames centered at multiples of `hop`, zeros beyond the ends."""
    padded = np.pad(sound, (size // 2, size // 2 + hop))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)).astype(np.float32)
    return np.abs(np.fft.rfft(frames * window, axis=1)).astype(np.float32)
