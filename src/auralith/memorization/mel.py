"""Correlation of log-mel spectrograms over all lags: a detector of copies without weights.

A mel spectrogram finds copies more surely than a learned embedding does (Bralios et al. 2023, Generation or Replication).
Windows of 5 s of one sound slide over the other. Each of the 64 bands is standardized in both places, so level and
equalization make no difference; the value is the mean of the bands' correlations, −1 … 1, over the bands that move in the
window, but over a quarter of all bands at least: one band alone resembles too much.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.embedders.mel import HOP, NUM_BANDS, SAMPLE_RATE, log_mel
from auralith.errors import AudioError
from auralith.sound.levels import SILENCE_DB, peak_db
from auralith.sound.resampling import resample

SECONDS_PER_FRAME = HOP / SAMPLE_RATE
WINDOW_SECONDS, WINDOW_HOP_SECONDS, LEAST_SECONDS = 5.0, 2.5, 1.0
LEAST_DB = -60.0
"""Floor below the loudest value; what is softer is the noise of codecs and of resampling."""
_STEADY_DB = 0.01
"""Standard deviation below which a band stands still, and correlates with nothing."""
LogMel = Float[Tensor, "band frame"]
Others = Float[Tensor, "band other_frame"]


@dataclass(frozen=True)
class MelMatch:
    """The best match of two sounds, with where it is in both."""

    correlation: float
    query_start_s: float
    reference_start_s: float
    duration_s: float


def mel_of(waveform: Float[Tensor, "channel sample"], sample_rate: int) -> LogMel:
    """Return the levels of 64 mel bands of the mono sound in dB below the loudest, at least -60, every 23 ms.

    Raises:
        AudioError: the sound is silent, or shorter than a second.
    """
    mono = resample(waveform.float().mean(0, keepdim=True), sample_rate, SAMPLE_RATE)
    if mono.shape[1] < LEAST_SECONDS * SAMPLE_RATE:
        raise AudioError(
            f"it is shorter than {LEAST_SECONDS:g} s, too short to compare", "too_short"
        )
    if (peak := peak_db(mono)) < SILENCE_DB:
        raise AudioError(f"it is silent (below {SILENCE_DB:g} dBFS)", "silent")
    bands = log_mel(mono[0] * 10 ** (-peak / 20)).clamp(min=LEAST_DB)
    return bands[:, 1 : mono.shape[1] // HOP]  # a cut clicks in frames that reach beyond it


def mel_correlation(query: LogMel, reference: Others) -> MelMatch:
    """Return where a window of `query` matches a stretch of `reference` best.

    Where the reference is shorter than a window, its windows slide over the query.
    """
    if query.shape[1] < reference.shape[1] or _window_frames() <= reference.shape[1]:
        return _slide(query, reference)
    swapped = _slide(reference, query)
    return MelMatch(
        swapped.correlation, swapped.reference_start_s, swapped.query_start_s, swapped.duration_s
    )


def _window_frames() -> int:
    return round(WINDOW_SECONDS / SECONDS_PER_FRAME)


def _slide(query: LogMel, reference: Others) -> MelMatch:
    size = min(_window_frames(), query.shape[1], reference.shape[1])
    length = 1 << (reference.shape[1] - 1).bit_length()
    # around the mean, since a standard deviation is a difference of squares
    centered = (reference - reference.mean(1, keepdim=True)).double()
    transformed = torch.fft.rfft(centered, n=length)
    spread = _spread(centered, size)
    best = MelMatch(-1.0, 0.0, 0.0, size * SECONDS_PER_FRAME)
    for start, window in _windows(query, size):
        products = torch.fft.irfft(torch.fft.rfft(window, n=length).conj() * transformed, n=length)
        counted = max(int(window.any(1).sum()), NUM_BANDS // 4)
        correlations = (products[:, : spread.shape[1]] / spread).sum(0) / counted
        value, lag = correlations.max(0)
        if float(value) > best.correlation:
            places = start * SECONDS_PER_FRAME, int(lag) * SECONDS_PER_FRAME
            best = MelMatch(float(value), *places, best.duration_s)
    return best


def _windows(query: LogMel, size: int) -> Iterator[tuple[int, Float[Tensor, "band frame"]]]:
    """Yield windows with their first frames, each band without its mean and of norm 1; the last one ends with the sound."""
    last = query.shape[1] - size
    for start in sorted({*range(0, last, round(WINDOW_HOP_SECONDS / SECONDS_PER_FRAME)), last}):
        window = query[:, start : start + size].double()
        window = window - window.mean(1, keepdim=True)
        norm = window.norm(dim=1, keepdim=True)
        moves = norm > _STEADY_DB * size**0.5
        yield start, torch.where(moves, window / torch.where(moves, norm, 1.0), 0.0)


def _spread(centered: Others, size: int) -> Float[Tensor, "band lag"]:
    """Return the norm of each stretch of each band without its mean; infinity where it stands still."""
    sums, squares = (
        torch.nn.functional.pad(v.cumsum(1), (1, 0)) for v in (centered, centered.square())
    )
    sums, squares = (v[:, size:] - v[:, :-size] for v in (sums, squares))
    norm = (squares - sums.square() / size).clamp(min=0).sqrt()
    return torch.where(norm > _STEADY_DB * size**0.5, norm, torch.inf)
