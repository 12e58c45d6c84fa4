"""Key of a sound: the profile that correlates best with how strong each pitch class is (Krumhansl 1990, chapter 4)."""

import numpy as np
from jaxtyping import Float

from auralith.controls.measurement import Measurement, Mono, Waveform, mono, spectra, unknown
from auralith.controls.notes import Key, Mode

_RATE = 22_050
_SIZE, _HOP = 8_192, 2_048
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 2_000.0
PROFILES: dict[str, dict[Mode, tuple[float, ...]]] = {
    "krumhansl": {
        "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
        "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
    },
    "albrecht": {
        "major": (
            0.238,
            0.006,
            0.111,
            0.006,
            0.137,
            0.094,
            0.016,
            0.214,
            0.009,
            0.080,
            0.008,
            0.081,
        ),
        "minor": (
            0.220,
            0.006,
            0.104,
            0.123,
            0.019,
            0.103,
            0.012,
            0.214,
            0.062,
            0.022,
            0.061,
            0.052,
        ),
    },
}
"""Krumhansl and Kessler (1982), by listeners; Albrecht and Shanahan (2013), by counting in 490 pieces."""
PROFILE = "albrecht"
_TILT = -1.0
"""A partial counts as frequency to this power: low ones are rather roots than overtones."""
_END_SHARE = 1 / 8
"""Beginning and end, where music is on its tonic, count twice."""
LEAST_TUNED = 0.25
"""Sharpness of the tuning (0 for noise, 1 where every partial is in tune) that tones have."""
_LEAST_SHARE = 0.1
"""A pitch class is there from this share of the strongest one on."""
LEAST_CORRELATION = 0.8
LEAST_MARGIN = 0.1
"""Least lead of the best key's correlation over the next one's; relative keys are closer than that in many loops."""


def key(waveform: Waveform, sample_rate: int, profile: str = PROFILE) -> Measurement[Key]:
    """Return tonic and mode, or that no key stands out. `profile` is one of `PROFILES`."""
    strengths, tuned = chroma(mono(waveform, sample_rate, _RATE))
    if tuned < LEAST_TUNED:
        return unknown("no tones in tune")
    if np.count_nonzero(strengths > _LEAST_SHARE * strengths.max()) < 3:
        return unknown("fewer than three pitch classes")
    keys, scores = _correlations(strengths, profile)
    order = np.argsort(scores)[::-1]
    best, margin = float(scores[order[0]]), float(scores[order[0]] - scores[order[1]])
    confidence = max(0.0, min(1.0, best)) * min(1.0, margin / (2 * LEAST_MARGIN))
    if best < LEAST_CORRELATION:
        return unknown("no key stands out", confidence)
    if margin < LEAST_MARGIN:
        return unknown("two keys fit alike", confidence)
    return Measurement(keys[order[0]], confidence)


def chroma(sound: Mono) -> tuple[Float[np.ndarray, "12"], float]:
    """Return how strong each pitch class is in the sound's own tuning, and how sharp that tuning is (0 to 1)."""
    frames, hz, weights = _partials(spectra(sound, _SIZE, _HOP))
    if not len(hz):
        return np.zeros(12), 0.0
    end = max(1, round(_END_SHARE * (1 + frames.max())))
    weights = weights * np.where((frames < end) | (frames > frames.max() - end), 2.0, 1.0)
    semitones = 69 + 12 * np.log2(hz / 440)
    tuning = (weights * np.exp(2j * np.pi * semitones)).sum() / weights.sum()
    off = semitones - np.angle(tuning) / (2 * np.pi)
    nearest = np.round(off)
    weights = weights * np.cos(np.pi * (off - nearest))
    return np.bincount(nearest.astype(int) % 12, weights, 12), float(np.abs(tuning))


def _partials(
    magnitudes: Float[np.ndarray, "frame bin"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return frame, frequency (Hz) and weight of the peaks that stand out, between bins by a parabola."""
    first, last = (int(hz * _SIZE / _RATE) for hz in (_LOWEST_HZ, _HIGHEST_HZ))
    low, mid, high = (magnitudes[:, first + i : last + i] for i in (-1, 0, 1))
    loudest = mid.max(axis=1, keepdims=True)
    is_peak = (mid > low) & (mid >= high) & (mid > 0.02 * loudest) & (mid > 3e-3 * mid.max())
    frames, bins = np.nonzero(is_peak)
    left, top, right = (np.log(part[frames, bins] + 1e-12) for part in (low, mid, high))
    shift = 0.5 * (left - right) / (left - 2 * top + right).clip(None, -1e-9)
    hz = (bins + first + shift) * _RATE / _SIZE
    return frames, hz, np.sqrt(mid[frames, bins]) * (hz / 440) ** _TILT


def _correlations(strengths: np.ndarray, profile: str) -> tuple[list[Key], np.ndarray]:
    keys, scores = [], []
    for mode, values in PROFILES[profile].items():
        for tonic in range(12):
            keys.append(Key(tonic, mode))
            scores.append(np.corrcoef(strengths, np.roll(values, tonic))[0, 1])
    return keys, np.nan_to_num(np.array(scores))
