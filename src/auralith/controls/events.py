"""Number of separate events in a sound, such as knocks: the onsets that stand out from all others."""

import numpy as np
from jaxtyping import Bool, Float, Int

from auralith.controls.measurement import SILENCE, Measurement, Mono, Waveform, mono, unknown
from auralith.controls.onsets import FRAMES_PER_SECOND, RATE, onset_strengths

LEAST_CONFIDENCE = 1 - 1 / 1.8
LEAST_GAP_SECONDS = 0.09
"""Onsets closer than this are one event: hands that clap, a heel and a toe."""
_FAINTEST = 0.12
"""An event's onset is at least this strong, relative to the strongest."""
LEAST_CONTRAST = 1.8
"""The weakest event must be this much stronger than the strongest onset that is not counted;"""
_WEAK, _WEAK_CONTRAST = 0.17, 4.0
"""this much where it makes bands less than so many nepers louder on average, as gusts and waves do."""
_RIVAL = 0.6
"""Another count must not have a contrast of this share of the best one's."""
_STEADY = 0.02
"""Without any onset as strong as this, a sound is a steady tone: one event."""
_CUT_OFF = 0.35
"""An onset after which less than this share of the level is left (−9 dB) is the click of a sound that is cut off."""
_AROUND_SECONDS = (0.01, 0.06)
MOST_EVENTS = 64


def events(waveform: Waveform, sample_rate: int) -> Measurement[int]:
    """Return the number of events, or that it can't be told where onsets stand out from nothing."""
    sound = mono(waveform, sample_rate, RATE)
    if np.abs(sound).max(initial=0.0) < SILENCE:
        return unknown("silence")
    strength = onset_strengths(sound).mean(axis=0)
    peaks = _peaks(strength)
    heights = np.sort(strength[peaks[~_are_cut_off(sound, peaks)]])[::-1]
    if not len(heights) or heights[0] < _STEADY:
        return Measurement(1, LEAST_CONFIDENCE)
    return _counted(heights, float(np.median(strength)))


def _peaks(strength: Float[np.ndarray, " frame"]) -> Int[np.ndarray, " peak"]:
    """Return the frames that are higher than all within the least gap."""
    reach = round(LEAST_GAP_SECONDS * FRAMES_PER_SECOND)
    padded = np.pad(strength, reach, constant_values=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    before, after = windows[:, :reach].max(axis=1), windows[:, reach + 1 :].max(axis=1)
    return np.flatnonzero((strength > before) & (strength >= after) & (strength > 0))


def _are_cut_off(sound: Mono, peaks: Int[np.ndarray, " peak"]) -> Bool[np.ndarray, " peak"]:
    """Return for each peak whether the sound is far softer after it than before."""
    near, far = (round(seconds * RATE) for seconds in _AROUND_SECONDS)
    sums = np.cumsum(np.pad(np.square(sound, dtype=np.float64), (far + 1, far)))
    at = np.round(peaks / FRAMES_PER_SECOND * RATE).astype(int).clip(0, len(sound) - 1) + far
    before, after = sums[at - near] - sums[at - far], sums[at + far] - sums[at + near]
    return after < _CUT_OFF**2 * before


def _counted(heights: Float[np.ndarray, " peak"], usual: float) -> Measurement[int]:
    """Return how many of the peaks, the highest first, lie above the widest gap between neighbors.

    Below them all lies the usual strength, that of noise.
    """
    floor = _FAINTEST * heights[0]
    loud = heights[heights >= floor]
    following = np.append(heights, usual)[1 : len(loud) + 1].clip(max(usual, floor / 4))
    contrasts = loud / following
    count = int(contrasts.argmax()) + 1
    contrast = float(contrasts[count - 1])
    rival = float(np.delete(contrasts, count - 1).max(initial=0.0))
    confidence = 1 - 1 / contrast
    least = LEAST_CONTRAST if loud[count - 1] >= _WEAK else _WEAK_CONTRAST
    if contrast < least or rival > _RIVAL * contrast:
        return unknown("onsets of all strengths", confidence)
    if count > MOST_EVENTS:
        return unknown(f"more than {MOST_EVENTS} onsets", confidence)
    return Measurement(count, confidence)
