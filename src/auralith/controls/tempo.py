"""Tempo of a sound: the beat whose multiples all match the autocorrelation of its onsets.

Twice or half the tempo matches too. Which of them is meant is decided by a preference for about 130 beats per minute
(after van Noorden and Moelants 1999, who find 120 over all music; loops are faster), so an octave error isn't a wrong tempo.
"""

import numpy as np
from jaxtyping import Float

from auralith.controls.measurement import Measurement, Waveform, mono, unknown
from auralith.controls.onsets import FRAMES_PER_SECOND, RATE, onset_strengths

LOWEST_BPM, HIGHEST_BPM = 50.0, 220.0
_GRID = np.geomspace(LOWEST_BPM, HIGHEST_BPM, 1_200)
"""Steps of 0.12 %."""
PREFERRED_BPM = 130.0
_PREFERENCE_OCTAVES = 0.9
LEAST_BEATS = 3.0
"""Beats that a sound must hold for its tempo to be told."""
_SAME_OCTAVES = 0.05
_MOST_MULTIPLES = 8
LEAST_CONFIDENCE = 0.35
"""Least mean match of the multiples of a beat;"""
_FAINT_CONFIDENCE, _LEAST_REPEAT = 0.2, 0.45
"""or this one, where the sound repeats itself at some lag by at least so much, as a loop with few hits does."""
_LEAST_PROMINENCE, _PROMINENT = 4.2, 5.5
"""Standard deviations that the match of a beat lies above the median over all tempi, at least; far above."""
_RIVAL, _FAINT_RIVAL, _PROMINENT_RIVAL = 0.95, 0.9, 1.05
"""Another tempo that is not an octave away must not match as well as this share of the best; of a faint, of a prominent."""


def tempo(waveform: Waveform, sample_rate: int) -> Measurement[float]:
    """Return beats per minute from 50 to 220, or that there is no regular beat."""
    onsets = onset_strengths(mono(waveform, sample_rate, RATE))
    if onsets.max(initial=0.0) < 1e-6:
        return unknown("silence")
    beats = 60 * FRAMES_PER_SECOND / _GRID
    length = onsets.shape[1]
    matches = _autocorrelation(onsets - onsets.mean(axis=1, keepdims=True))
    scores = _scores(matches, beats, length)
    if scores.max(initial=0.0) <= 0:
        return unknown(
            "too short for a beat" if length < LEAST_BEATS * beats[-1] else "no regular beat"
        )
    prefer = np.exp(-0.5 * (np.log2(_GRID / PREFERRED_BPM) / _PREFERENCE_OCTAVES) ** 2)
    best = int((scores * prefer).argmax())
    confidence = float(scores[best])
    prominence = float((confidence - np.median(scores)) / scores.std().clip(1e-9))
    repeats = float(matches[int(beats[-1]) : length // 2 + 1].max(initial=0.0))
    faint = confidence < LEAST_CONFIDENCE
    if prominence < _LEAST_PROMINENCE or (
        faint and (confidence < _FAINT_CONFIDENCE or repeats < _LEAST_REPEAT)
    ):
        return unknown("no regular beat", confidence)
    rival = _rival(scores, best) / confidence
    if rival > (_FAINT_RIVAL if faint else _PROMINENT_RIVAL if prominence > _PROMINENT else _RIVAL):
        pulse = _pulse(scores, best)
        if pulse is None:
            return unknown("several tempi fit alike", confidence)
        return Measurement(pulse, confidence)
    return Measurement(float(_GRID[best]), confidence)


def _rival(scores: Float[np.ndarray, " tempo"], best: int) -> float:
    """Return the best score within an octave of a tempo, other than that of its double, its half and itself."""
    octaves = np.log2(_GRID / _GRID[best])
    others = (np.abs(octaves - np.round(octaves)) > _SAME_OCTAVES) & (np.abs(octaves) < 1)
    return float(scores[others].max(initial=0.0))


def _pulse(scores: Float[np.ndarray, " tempo"], best: int) -> float | None:
    """Return the tempo of even hits, twice or three times the best one, where that matches as well; its parts all do."""
    for times in (2, 3):
        near = np.abs(np.log2(_GRID / (times * _GRID[best]))) < 0.2 * _SAME_OCTAVES
        top = int(np.where(near, scores, -1.0).argmax())
        if near.any() and scores[top] > _RIVAL * scores[best]:
            return float(_GRID[top])
    return None


def _autocorrelation(curves: Float[np.ndarray, "group frame"]) -> Float[np.ndarray, " lag"]:
    """Return the correlation of curves with themselves at each lag, over what overlaps; each counts by its deviation."""
    length = curves.shape[1]
    spectra = np.fft.rfft(curves, 2 * length, axis=1)
    product = np.fft.irfft(np.abs(spectra) ** 2, 2 * length, axis=1)[:, :length]
    power = np.concatenate([np.zeros((len(curves), 1)), np.cumsum(curves**2, axis=1)], axis=1)
    heads, tails = power[:, length - np.arange(length)], power[:, -1:] - power[:, :length]
    matches = product / np.sqrt(heads * tails).clip(1e-12)
    weights = np.sqrt(power[:, -1])
    return weights @ matches / weights.sum().clip(1e-12)


def _scores(matches: np.ndarray, beats: np.ndarray, length: int) -> Float[np.ndarray, " tempo"]:
    """Return the mean match of the multiples of each beat that leave two beats to compare; 0 with too few of them."""
    counts = np.arange(1, _MOST_MULTIPLES + 1)
    lags = beats[:, None] * counts
    usable = lags <= length - 1.5 * beats[:, None]
    found = np.interp(lags.ravel(), np.arange(length), matches).reshape(lags.shape)
    total = np.where(usable, found, 0).sum(axis=1)
    enough = length >= LEAST_BEATS * beats
    return np.where(enough, total / usable.sum(axis=1).clip(1), 0.0)
