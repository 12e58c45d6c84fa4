"""What a waveform does, by plain signal processing: its tempo, its pitch, where it ends, and which kind it sounds like.

Every measure hears the waveform alone, never the caption, and returns None (or NaN features) for silence. Tempo is the
beat whose multiples all match the autocorrelation of the onsets; pitch is the first strong peak of the normalized
autocorrelation (McLeod and Wyvill, 2005); the end is the last moment within 40 dB of the loudest; the kind is a linear
discriminant on statistics of the log-mel spectrogram. Thresholds were chosen on training clips of the corpus.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float

SAMPLE_RATE = 44100

Waveform = Float[np.ndarray, "channel sample"]

END_DB = -40.0
"""A moment sounds if its level is at most this far below the loudest moment of the clip."""
_LEVEL_HOP = 441
_ONSET_HOP = 256
_BPM_GRID = np.geomspace(66, 186, 415)
_HZ_RANGE = (60.0, 2150.0)
_FIRST_PEAK = 0.87
_LEAST_CLARITY = 0.5
_LEAST_BEAT = 0.1
_FLOOR_DB = -50.0


def tempo(waveform: Waveform) -> float | None:
    """Beats per minute from 66 to 186, or None without a regular beat. Its double or half may be what is meant."""
    onsets = _onsets(waveform)
    if onsets is None:
        return None
    matches = _autocorrelation(onsets)
    beats = 60 * SAMPLE_RATE / _ONSET_HOP / _BPM_GRID
    scores = np.array([_beat_score(matches, beat) for beat in beats])
    best = int(scores.argmax())
    return float(_BPM_GRID[best]) if scores[best] > _LEAST_BEAT else None


def tempo_matches(found: float | None, expected: float) -> bool:
    """Whether a tempo is within 3 % of the expected one, of its half or of its double."""
    if found is None:
        return False
    return any(abs(found / (expected * octave) - 1) <= 0.03 for octave in (0.5, 1.0, 2.0))


def pitch(waveform: Waveform) -> float | None:
    """Fundamental in Hz, 60 to 2150, of the part that sounds, or None if it is not periodic."""
    found = _periodicity(waveform)
    if found is None:
        return None
    lags, clarity = found
    return None if clarity < _LEAST_CLARITY else SAMPLE_RATE / lags


def pitch_matches(found: float | None, expected: float) -> bool:
    """Whether a fundamental is within 50 cents of the expected one, in the same octave."""
    return found is not None and abs(1200 * math.log2(found / expected)) <= 50


def end(waveform: Waveform) -> float:
    """Seconds until the last moment (20 ms) within 40 dB of the loudest; 0 for silence."""
    levels = _levels(waveform)
    sounding = np.flatnonzero(levels > levels.max() * 10 ** (END_DB / 20)) if levels.any() else []
    if not len(sounding):
        return 0.0
    return min(float((sounding[-1] + 2) * _LEVEL_HOP), waveform.shape[-1]) / SAMPLE_RATE


def longest_pause(waveform: Waveform) -> float:
    """Seconds of the longest run of moments below the threshold of `end`, from the start to the end; 0 for silence."""
    levels = _levels(waveform)
    sounding = np.flatnonzero(levels > levels.max() * 10 ** (END_DB / 20))
    return float(np.diff(sounding, prepend=-1).max(initial=1) - 1) * _LEVEL_HOP / SAMPLE_RATE


def _levels(waveform: Waveform) -> Float[np.ndarray, " moment"]:
    """RMS over both channels in windows of 20 ms every 10 ms."""
    power = np.mean(np.square(waveform.astype(np.float64)), axis=0)
    sums = np.concatenate([[0.0], np.cumsum(power)])
    starts = np.arange(0, max(len(power) - 2 * _LEVEL_HOP, 0) + 1, _LEVEL_HOP)
    stops = np.minimum(starts + 2 * _LEVEL_HOP, len(power))
    return np.sqrt(np.maximum(sums[stops] - sums[starts], 0) / (2 * _LEVEL_HOP))


def _magnitudes(waveform: Waveform, size: int, hop: int) -> Float[np.ndarray, "bin frame"]:
    """Magnitude spectrogram of the root of the mean power of both channels."""
    spectra = torch.stft(
        torch.from_numpy(np.ascontiguousarray(waveform, np.float32)),
        size,
        hop,
        window=torch.hann_window(size),
        pad_mode="constant",
        return_complex=True,
    )
    return spectra.abs().square().mean(0).sqrt().numpy()


def _mel_filters(size: int, bands: int) -> Float[np.ndarray, "band bin"]:
    """Triangles of unit sum, evenly spaced on the mel scale (2595 log10(1 + f / 700)) from 30 Hz to 16 kHz."""
    bins = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    low, high = (2595 * math.log10(1 + hz / 700) for hz in (30, 16000))
    mels = np.linspace(low, high, bands + 2)
    edges = 700 * (10 ** (mels / 2595) - 1)
    rise = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    fall = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    triangles = np.maximum(np.minimum(rise, fall), 0)
    nearest = np.abs(bins - edges[1:-1, None]).argmin(1)
    triangles[np.arange(bands), nearest] += 1e-3
    return triangles / triangles.sum(1, keepdims=True)


_MEL_64 = _mel_filters(2048, 64)
_MEL_24 = _mel_filters(1024, 24)


def _onsets(waveform: Waveform) -> Float[np.ndarray, "group frame"] | None:
    """Rises of level in three groups of bands, zero on average; None for silence."""
    mel = _MEL_24 @ _magnitudes(waveform, 1024, _ONSET_HOP)
    if mel.max() < 1e-6:
        return None
    level = np.log1p(100 * mel / mel.max(1, keepdims=True).clip(mel.max() / 30))
    rises = np.maximum(np.diff(level, axis=1, prepend=level[:, :1] * 0), 0)
    groups = np.stack([group.sum(0) for group in np.array_split(rises, 3)])
    kernel = np.hanning(9)
    groups = np.stack([np.convolve(g, kernel / kernel.sum(), "same") for g in groups])
    return groups - groups.mean(1, keepdims=True)


def _autocorrelation(onsets: Float[np.ndarray, "group frame"]) -> Float[np.ndarray, " lag"]:
    """Correlation with itself at each lag, over what overlaps; groups count by their power."""
    length = onsets.shape[1]
    size = 2 * length
    product = np.fft.irfft(np.abs(np.fft.rfft(onsets, size)) ** 2, size)[:, :length]
    power = np.cumsum(onsets**2, axis=1)
    head = power[:, ::-1]
    tail = power[:, -1:] - np.concatenate([np.zeros((len(onsets), 1)), power[:, :-1]], axis=1)
    matches = product / np.sqrt(head * tail).clip(1e-9)
    weights = np.sqrt(power[:, -1] / power[:, -1].sum().clip(1e-9))
    return weights @ matches / weights.sum().clip(1e-9)


def _beat_score(matches: Float[np.ndarray, " lag"], beat: float) -> float:
    """The worst match among one to four beats, as far as 0.35 s and 0.7 of a beat still overlap."""
    last = len(matches) - max(0.7 * beat, 60)
    lags = [beat * count for count in (1, 2, 3, 4) if beat * count <= last]
    if not lags:
        return -1.0
    return float(np.interp(lags, np.arange(len(matches)), matches).min())


def _periodicity(waveform: Waveform) -> tuple[float, float] | None:
    """(period in samples, clarity from 0 to 1) of the frames within 26 dB of the loudest after the attack."""
    mono = waveform.mean(0, dtype=np.float64)
    if waveform.shape[0] > 1 and np.square(mono).sum() < 0.05 * np.square(waveform).mean(0).sum():
        mono = waveform[0].astype(np.float64)
    frames = _pitch_frames(mono, 8192, 2048)
    power = np.square(frames).mean(1)
    if power.max() < 1e-9:
        return None
    chosen = power > power.max() * 10**-2.6
    curve = np.average(_nsdf(frames[chosen]), axis=0, weights=np.sqrt(power[chosen]))
    return _first_peak(curve)


def _pitch_frames(
    mono: Float[np.ndarray, " sample"], size: int, hop: int
) -> Float[np.ndarray, "frame sample2"]:
    """Frames after the first 80 ms, or of all of a sound that is too short for that."""
    skipped = int(0.08 * SAMPLE_RATE)
    kept = mono[skipped:] if len(mono) >= skipped + size else mono
    kept = np.pad(kept, (0, max(0, size - len(kept))))
    return np.lib.stride_tricks.sliding_window_view(kept, size)[::hop]


def _nsdf(frames: Float[np.ndarray, "frame sample"]) -> Float[np.ndarray, "frame lag"]:
    """Normalized square difference, 1 - Σ (x[i] - x[i+lag])² / Σ (x[i]² + x[i+lag]²), at lags down to 60 Hz."""
    length, lags = frames.shape[1], int(SAMPLE_RATE / _HZ_RANGE[0]) + 2
    frames = frames - frames.mean(1, keepdims=True)
    product = np.fft.irfft(np.abs(np.fft.rfft(frames, 2 * length)) ** 2)[:, :lags]
    power = np.concatenate([np.zeros((len(frames), 1)), np.cumsum(frames**2, axis=1)], axis=1)
    heads = power[:, length - np.arange(lags)]
    tails = power[:, -1:] - power[:, :lags]
    return 2 * product / (heads + tails).clip(1e-12)


def _first_peak(curve: Float[np.ndarray, " lag"]) -> tuple[float, float] | None:
    """(lag, height) of the first peak nearly as high as the highest one, by a parabola through its samples."""
    least = int(SAMPLE_RATE / _HZ_RANGE[1])
    inner = curve[1:-1]
    peaks = 1 + np.flatnonzero((inner > curve[:-2]) & (inner >= curve[2:]))
    peaks = peaks[(peaks >= least) & (curve[peaks] > 0)]
    if not len(peaks):
        return None
    peak = int(peaks[curve[peaks] >= _FIRST_PEAK * curve[peaks].max()][0])
    left, top, right = curve[peak - 1 : peak + 2]
    shift = 0.5 * (left - right) / (left - 2 * top + right)
    return peak + float(shift), float(top)


def features(waveform: Waveform) -> Float[np.ndarray, " feature"]:
    """Statistics of a clip that depend neither on its level nor, by much, on its length."""
    mel = _MEL_64 @ _magnitudes(waveform, 2048, 512)
    mel_db = 20 * np.log10(np.maximum(mel / max(float(mel.max()), 1e-9), 1e-9))
    mel_db = np.maximum(mel_db, _FLOOR_DB)
    loudness = np.maximum(10 * np.log10(np.square(mel).mean(0) + 1e-18), -180)
    loudness = np.maximum(loudness - loudness.max(), _FLOOR_DB)
    active = mel_db[:, loudness > END_DB]
    return np.concatenate(
        [
            active.mean(1),
            active.std(1),
            *np.percentile(mel_db, (10, 50, 90), axis=1),
            np.abs(np.diff(mel_db, axis=1)).mean(1),
            _envelope_features(loudness),
            _shape_features(active),
            _rhythm_features(waveform),
            _tonal_features(waveform),
        ]
    )


def _envelope_features(loudness: Float[np.ndarray, " frame"]) -> Float[np.ndarray, " feature"]:
    """The level: percentiles, course, how much of the clip sounds, how fast it changes."""
    slope = np.diff(loudness)
    power = 10 ** (loudness / 10)
    place = (power * np.linspace(0, 1, len(power))).sum() / power.sum()
    quarters = [part.mean() for part in np.array_split(loudness, 6)]
    return np.array(
        [
            *np.percentile(loudness, (5, 25, 50, 75, 95)),
            (loudness > -20).mean(),
            (loudness > END_DB).mean(),
            place,
            np.maximum(slope, 0).mean(),
            slope.std(),
            (slope > 6).mean(),
            *quarters,
        ]
    )


def _shape_features(active: Float[np.ndarray, "band frame"]) -> Float[np.ndarray, " feature"]:
    """Center and spread of the mel spectrum: mean, deviation and course over time; its roughness."""
    power = 10 ** (active / 10)
    bands = np.arange(len(power))[:, None]
    center = (power * bands).sum(0) / power.sum(0)
    spread = np.sqrt((power * (bands - center) ** 2).sum(0) / power.sum(0))
    time = np.linspace(-1, 1, len(center))
    course = (center * time).sum() / max(float((time**2).sum()), 1e-9)
    rough = np.abs(np.diff(active, 2, axis=0)).mean(0)
    jumps = np.abs(np.diff(center, prepend=center[:1]))
    moments = (center.mean(), center.std(), spread.mean(), spread.std(), course)
    return np.array([*moments, rough.mean(), rough.std(), jumps.mean()])


def _rhythm_features(waveform: Waveform) -> Float[np.ndarray, " feature"]:
    """The strongest match of the onsets in ranges of lag from 40 ms to 2 s, and their size."""
    onsets = _onsets(waveform)
    if onsets is None:
        return np.zeros(9)
    matches = _autocorrelation(onsets)
    edges = (7, 12, 20, 35, 60, 100, 170, 340)
    peaks = [float(matches[a:b].max(initial=0.0)) for a, b in pairwise(edges)]
    rises = onsets - onsets.min(1, keepdims=True)
    return np.array([*peaks, np.log(rises.mean() + 1e-3), np.log(rises.std() + 1e-3)])


def _tonal_features(waveform: Waveform) -> Float[np.ndarray, " feature"]:
    """Clarity of the pitch in frames of 93 ms, and how it moves; zeros if nothing is periodic."""
    frames = _pitch_frames(waveform.mean(0, dtype=np.float64), 4096, 4096)
    power = np.square(frames).mean(1)
    curves = _nsdf(frames[power >= max(power.max() * 10**-2.6, 1e-12)])
    found = np.array([peak for peak in map(_first_peak, curves) if peak is not None])
    if not len(found):
        return np.zeros(6)
    octaves, clarity = np.log2(found[:, 0]), found[:, 1]
    steps = np.diff(octaves) if len(octaves) > 1 else np.zeros(1)
    moves = (np.median(np.abs(steps)), np.clip(steps, -0.2, 0.2).mean())
    return np.array([clarity.mean(), clarity.std(), octaves.mean(), octaves.std(), *moves])


@dataclass(frozen=True)
class Classifier:
    """Linear discriminant analysis with a shared, shrunk covariance: the class whose mean is nearest."""

    labels: tuple[str, ...]
    mean: Float[np.ndarray, " feature"]
    whitening: Float[np.ndarray, "feature feature"]
    centroids: Float[np.ndarray, "label feature"]

    @classmethod
    def fit(
        cls,
        rows: Float[np.ndarray, "clip feature"],
        labels: list[str],
        shrinkage: float = 0.2,
    ) -> "Classifier":
        """The discriminant of labeled rows; `shrinkage` (0 to 1) mixes the covariance with its diagonal."""
        names = tuple(dict.fromkeys(labels))
        mean, scale = rows.mean(0), rows.std(0) + 1e-6
        scaled = (rows - mean) / scale
        owners = np.array([names.index(label) for label in labels])
        centroids = np.stack([scaled[owners == index].mean(0) for index in range(len(names))])
        within = np.cov(scaled - centroids[owners], rowvar=False)
        shrunk = (1 - shrinkage) * within + shrinkage * np.eye(len(within)) * np.trace(
            within
        ) / len(within)
        values, vectors = np.linalg.eigh(shrunk)
        whitening = vectors / np.sqrt(values.clip(1e-9)) / scale[:, None]
        return cls(names, mean, whitening, centroids * scale @ whitening)

    def label(self, row: Float[np.ndarray, " feature"]) -> str:
        """The label of the nearest class."""
        distances = np.square(self.centroids - (row - self.mean) @ self.whitening).sum(1)
        return self.labels[int(distances.argmin())]
