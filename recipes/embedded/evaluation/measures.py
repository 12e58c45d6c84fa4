"""Plain measures of one sound; each takes (channel, sample) at 44.1 kHz."""

import math

import numpy as np
from jaxtyping import Float

from recipes.tiny.synth.signals import SAMPLE_RATE, Stereo

Mono = Float[np.ndarray, " sample"]
EDGE_SECONDS = 0.001
"""Length of the start and the end whose peak is compared with the sound's."""
HARMONICS = 3
LEANING_DB, WIDE_DB, MONO_DB = 3.0, -13.0, -30.0
"""Levels from which a sound lies on one side, is wide, and below which it is mono."""
LEAST_CLARITY = 0.15
"""Autocorrelation of what has a pitch at a period: noise has 0.03, the roughest notes of the corpus 0.2."""
_SKIPPED, _LONGEST = 0.12, 1.2
"""Seconds of a note that are skipped for its attack, and where the part ends that is measured."""
_NEAR = 0.06
"""Share of a period around the one that is asked for, in which a note's own is looked for."""


def cents_off(waveform: Stereo, hz: float) -> float | None:
    """Return how far a note lies above `hz` in cents, within a semitone; None where nothing is periodic there.

    The peak of the autocorrelation near one, two and four periods in turn, by a parabola: later ones are finer.
    """
    part = _steady(waveform)
    size = 1 << (2 * len(part) - 1).bit_length()
    correlation = np.fft.irfft(np.abs(np.fft.rfft(part * np.hanning(len(part)), size)) ** 2)
    period = SAMPLE_RATE / hz
    found = _peak(correlation, period, _NEAR * period)
    if found is None or correlation[round(found)] < LEAST_CLARITY * correlation[0]:
        return None
    for turns in (2, 4, 8):
        if turns * found > 0.25 * len(part):
            break
        finer = _peak(correlation, turns * found, max(2.0, 0.08 * found))
        if finer is None:
            break
        found = finer / turns
    return 1200 * math.log2(period / found)


def _peak(correlation: Mono, lag: float, reach: float) -> float | None:
    """Return the highest local maximum within `reach` of a lag."""
    first, last = max(1, int(lag - reach)), min(len(correlation) // 2, int(lag + reach) + 2)
    if last - first < 3:
        return None
    best = first + int(correlation[first:last].argmax())
    left, top, right = correlation[best - 1 : best + 2]
    bend = left - 2 * top + right
    if top <= 0 or bend >= 0 or best in (first, last - 1):
        return None
    return best + 0.5 * float((left - right) / bend)


def harmonic_levels(waveform: Stereo, hz: float) -> Float[np.ndarray, " harmonic"]:
    """Return the levels of the first harmonics in dB, relative to the strongest of them."""
    part = _steady(waveform)
    size = 1 << max(16, (len(part) - 1).bit_length())
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), size))
    width = max(2, round(hz * 2 ** (1 / 24) * size / SAMPLE_RATE - hz * size / SAMPLE_RATE))
    centers = [round((h + 1) * hz * size / SAMPLE_RATE) for h in range(HARMONICS)]
    peaks = [spectrum[max(0, c - width) : c + width + 1].max(initial=0.0) for c in centers]
    levels = 20 * np.log10(np.maximum(peaks, 1e-9))
    return levels - levels.max()


def edge_levels(waveform: Stereo) -> tuple[float, float]:
    """Return the peak of the first and of the last millisecond in dB below the sound's peak."""
    size = round(EDGE_SECONDS * SAMPLE_RATE)
    peak = max(float(np.abs(waveform).max()), 1e-9)

    def level(part: Stereo) -> float:
        return 20 * math.log10(max(float(np.abs(part).max()), 1e-6) / peak)

    return level(waveform[:, :size]), level(waveform[:, -size:])


def side_level(waveform: Stereo) -> float:
    """Return the level of the side signal in dB relative to the mid signal, at least -60."""
    mid, side = waveform.sum(0) / 2, (waveform[0] - waveform[1]) / 2
    return 10 * math.log10((np.square(side).mean() + 1e-12) / (np.square(mid).mean() + 1e-12))


def balance(waveform: Stereo) -> float:
    """Return the level of the right channel in dB relative to the left one."""
    left, right = np.square(waveform, dtype=np.float64).mean(axis=1) + 1e-12
    return 10 * math.log10(right / left)


def place_heard(waveform: Stereo) -> str:
    """Return "left", "right", "wide" or "mono", as channels and side signal tell; "" between wide and mono."""
    leaning = balance(waveform)
    if abs(leaning) > LEANING_DB:
        return "left" if leaning < 0 else "right"
    side = side_level(waveform)
    if side > WIDE_DB:
        return "wide"
    return "mono" if side < MONO_DB else ""


def silent_share(waveform: Stereo) -> float:
    """Return the share of the sound, in windows of 20 ms, that lies more than 50 dB below its loudest window."""
    hop = SAMPLE_RATE // 50
    kept = waveform[:, : waveform.shape[1] // hop * hop]
    if not kept.size:
        return 0.0
    power = np.square(kept.astype(np.float64)).mean(0).reshape(-1, hop).mean(1)
    return float((power < power.max() * 1e-5).mean())


def _steady(waveform: Stereo) -> Mono:
    """Return one channel of the part after the attack; of a sound too short for that, all but its first 30 ms."""
    mono = np.asarray(waveform, np.float64).mean(axis=0)
    if np.square(mono).sum() < 0.05 * np.square(waveform).mean(axis=0).sum():
        mono = np.asarray(waveform[0], np.float64)
    part = mono[int(_SKIPPED * SAMPLE_RATE) : int(_LONGEST * SAMPLE_RATE)]
    return part if len(part) >= 4_000 else mono[int(0.03 * SAMPLE_RATE) :]
