"""Landmarks of a sound (Wang 2003): pairs of peaks in its spectrum, each a hash of 22 bits with the frame it starts at.

The sound is mono at 11,025 Hz. Peaks are local maxima of the log spectrum above the 0.80 quantile of their half minute; a
pair joins a peak to one of the next few (`PARAMETERS`). Sounds are read in blocks, and half minutes are counted from the
start, so an hour takes no more memory than a minute and the hashes don't depend on the size of the blocks. A reference
keeps only the hashes of its most prominent peaks, a query keeps all. Prominence is measured over an even noise 10 dB
below the sound: without that floor, the silence behind clean music is full of peaks that no noisy copy has.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from jaxtyping import Bool, Float, Int
from numpy.lib.stride_tricks import sliding_window_view

from auralith.sound.stream import open_mono

HASH_BITS = 22


@dataclass(frozen=True)
class LandmarkParameters:
    """Parameters of the hashes; an index of other parameters is not comparable."""

    sample_rate: int = 11_025
    window: int = 1_024
    hop: int = 256
    lowest_bin: int = 8
    num_bins: int = 392
    peak_frames: int = 11
    peak_bins: int = 21
    """A peak is the maximum of this many frames and bins around it."""
    rise: float = 0.05
    """Height of a peak over the minimum of its bin in those frames, in nepers; excludes rounding errors of a steady tone."""
    quantile: float = 0.80
    segment_frames: int = 1_292
    """Frames over which the quantile is taken: half a minute."""
    pairs_per_peak: int = 4
    nearest_frames: int = 2
    farthest_frames: int = 63
    farthest_bins: int = 63
    reference_hashes_per_second: int = 30
    floor_db: float = -10.0
    """Level of the noise floor for prominence, relative to the mean power of the half minute; softer peaks don't survive noise."""

    @property
    def seconds_per_frame(self) -> float:
        return self.hop / self.sample_rate


PARAMETERS = LandmarkParameters()


@dataclass(frozen=True)
class Landmarks:
    """Landmarks in the order of their frames."""

    hashes: Int[np.ndarray, " landmark"]
    frames: Int[np.ndarray, " landmark"]
    prominence: Float[np.ndarray, " landmark"]
    """Height of the weaker peak of each pair over the local mean, both above the noise floor, in nepers."""
    num_frames: int
    seconds: float


@dataclass(frozen=True)
class _Peaks:
    frames: Int[np.ndarray, " peak"]
    bins: Int[np.ndarray, " peak"]
    prominence: Float[np.ndarray, " peak"]


def read_landmarks(path: Path) -> Landmarks:
    """Return all landmarks of a sound file. Raises `AudioError` as `open_mono` and its blocks do."""
    with open_mono(path) as sound:
        return landmarks_of(sound.blocks, sound.sample_rate)


def landmarks_of(blocks: Iterator[Float[np.ndarray, " sample"]], sample_rate: int) -> Landmarks:
    """Return all landmarks of a mono sound, given in blocks of any length."""
    finder = _PeakFinder()
    resampler = soxr.ResampleStream(sample_rate, PARAMETERS.sample_rate, 1, dtype="float32")
    num_samples = 0
    for block in blocks:
        num_samples += len(block)
        finder.add(resampler.resample_chunk(block))
    finder.add(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    peaks = finder.finish()
    hashes, frames, prominence = _pairs(peaks)
    return Landmarks(hashes, frames, prominence, finder.num_frames, num_samples / sample_rate)


def pruned(landmarks: Landmarks) -> Landmarks:
    """Return the most prominent landmarks of each second, as a reference keeps them."""
    second = (landmarks.frames * PARAMETERS.seconds_per_frame).astype(np.int64)
    order = np.lexsort((landmarks.hashes, landmarks.frames, -landmarks.prominence, second))
    starts = np.searchsorted(second[order], second[order])
    kept = order[np.arange(len(order)) - starts < PARAMETERS.reference_hashes_per_second]
    kept.sort()
    return Landmarks(
        landmarks.hashes[kept],
        landmarks.frames[kept],
        landmarks.prominence[kept],
        landmarks.num_frames,
        landmarks.seconds,
    )


class _PeakFinder:
    """Find the peaks of a sound that comes in blocks, one segment at a time."""

    def __init__(self) -> None:
        self.num_frames = 0
        self._samples = np.zeros(0, np.float32)
        self._spectra = np.zeros((0, PARAMETERS.num_bins), np.float32)
        self._first = 0
        """First frame of `_spectra`, a few frames before the next segment."""
        self._segment = 0
        self._found: list[_Peaks] = []

    def add(self, samples: Float[np.ndarray, " sample"]) -> None:
        self._samples = np.concatenate((self._samples, samples))
        count = 1 + (len(self._samples) - PARAMETERS.window) // PARAMETERS.hop
        if count < 1:
            return
        spectra = _log_spectra(self._samples, count)
        self._samples = self._samples[count * PARAMETERS.hop :]
        self._spectra = np.concatenate((self._spectra, spectra))
        self.num_frames += count
        while self.num_frames >= (self._segment + 1) * PARAMETERS.segment_frames + _REACH:
            self._take((self._segment + 1) * PARAMETERS.segment_frames)

    def finish(self) -> _Peaks:
        start = self._segment * PARAMETERS.segment_frames
        while start < self.num_frames:
            self._take(min(start + PARAMETERS.segment_frames, self.num_frames))
            start = self._segment * PARAMETERS.segment_frames
        empty = _Peaks(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        found = [empty, *self._found]
        return _Peaks(
            *(np.concatenate([getattr(p, n) for p in found]) for n in vars(empty)),
        )

    def _take(self, stop: int) -> None:
        """Find the peaks of the segment that ends before frame `stop`."""
        start = self._segment * PARAMETERS.segment_frames
        inside = slice(start - self._first, stop - self._first)
        around = self._spectra[: stop - self._first + _REACH]
        threshold = np.quantile(self._spectra[inside], PARAMETERS.quantile)
        is_peak = (_maxima(around) & (around > threshold))[inside]
        frames, bins = np.nonzero(is_peak)
        heard = _over_floor(around)
        prominence = (heard - _local_means(heard))[inside][is_peak]
        self._found.append(_Peaks(frames + start, bins, prominence.astype(np.float32)))
        self._segment += 1
        kept = max(0, stop - _REACH)
        self._spectra, self._first = self._spectra[kept - self._first :], kept


_REACH = PARAMETERS.peak_frames // 2
"""Frames on each side that the maximum of a frame covers."""


def _log_spectra(samples: Float[np.ndarray, " sample"], count: int) -> np.ndarray:
    """Return the natural log of the magnitudes of `count` frames, in the bins in use."""
    size = PARAMETERS.window
    frames = sliding_window_view(samples, size)[:: PARAMETERS.hop][:count]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    bins = slice(PARAMETERS.lowest_bin, PARAMETERS.lowest_bin + PARAMETERS.num_bins)
    magnitude = np.abs(np.fft.rfft(frames * window.astype(np.float32), axis=1)[:, bins])
    return np.log(magnitude + 1e-6).astype(np.float32)


def _maxima(spectra: Float[np.ndarray, "frame bin"]) -> Bool[np.ndarray, "frame bin"]:
    """Mark the values that are the largest around them and not on a plateau, as in digital silence or a steady tone."""
    largest = spectra
    for axis, size in ((0, PARAMETERS.peak_frames), (1, PARAMETERS.peak_bins)):
        largest = _padded_windows(largest, axis, size, -np.inf).max(axis=-1)
    least = _padded_windows(spectra, 0, PARAMETERS.peak_frames, np.inf).min(axis=-1)
    neighbors = _padded_windows(spectra, 1, 3, -np.inf)
    is_ridge = (neighbors[..., 0] < spectra) & (neighbors[..., 2] < spectra)
    return (spectra == largest) & is_ridge & (spectra - least > PARAMETERS.rise)


def _over_floor(spectra: Float[np.ndarray, "frame bin"]) -> Float[np.ndarray, "frame bin"]:
    """Return the spectra as if an even noise at `floor_db` lay below them."""
    mean = np.log(np.exp(2 * spectra.astype(np.float64)).mean()) / 2
    return np.logaddexp(spectra, mean + math.log(10) * PARAMETERS.floor_db / 20)


def _local_means(spectra: Float[np.ndarray, "frame bin"]) -> Float[np.ndarray, "frame bin"]:
    means = spectra
    for axis, size in ((0, PARAMETERS.peak_frames), (1, PARAMETERS.peak_bins)):
        means = np.nanmean(_padded_windows(means, axis, size, np.nan), axis=-1)
    return means


def _padded_windows(values: np.ndarray, axis: int, size: int, padding: float) -> np.ndarray:
    """Return the `size` values around each value along an axis, as a new last axis."""
    widths = [(0, 0), (0, 0)]
    widths[axis] = (size // 2, size // 2)
    padded = np.pad(values, widths, constant_values=padding)
    return sliding_window_view(padded, size, axis=axis)


def _pairs(peaks: _Peaks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return hash, frame and prominence of each pair, in the order of their frames."""
    count = len(peaks.frames)
    taken = np.zeros(count, np.int64)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for step in range(1, count):
        first = np.arange(count - step)
        later = peaks.frames[step:] - peaks.frames[:-step]
        if (later > PARAMETERS.farthest_frames).all():
            break
        higher = peaks.bins[step:] - peaks.bins[:-step]
        fits = (
            (later >= PARAMETERS.nearest_frames)
            & (later <= PARAMETERS.farthest_frames)
            & (np.abs(higher) <= PARAMETERS.farthest_bins)
            & (taken[first] < PARAMETERS.pairs_per_peak)
        )
        taken[first[fits]] += 1
        found.append((first[fits], first[fits] + step))
    one, other = (
        np.concatenate([pair[i] for pair in found] or [np.zeros(0, np.int64)]) for i in (0, 1)
    )
    order = np.lexsort((other, one))
    one, other = one[order], other[order]
    higher = peaks.bins[other] - peaks.bins[one] + PARAMETERS.farthest_bins + 1
    later = peaks.frames[other] - peaks.frames[one]
    hashes = peaks.bins[one] << 13 | higher << 6 | later
    prominence = np.minimum(peaks.prominence[one], peaks.prominence[other])
    return hashes, peaks.frames[one], prominence
