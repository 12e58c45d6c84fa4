"""Behavior of a sound at its ends, at the wrap of a loop and at full scale: clicks, fades, silence, clipping."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float

from auralith.controls.measurement import SILENCE, Measurement, Waveform, unknown
from auralith.sound.levels import SILENCE_DB

END_DB = -40.0
"""A moment sounds if its level is at most this far below the loudest moment."""
_MOMENT_SECONDS = 0.02
_FADE_SHARE = 0.1
"""Share of a sound at each end whose level says whether it fades."""
_LEAST_MOMENTS = 20
_CLIPPED_RUN = 3
"""So many samples in a row at the same level near full scale are cut off."""
_FULL_SCALE = 0.999
_CUT_SECONDS = 0.00025
_SEAM_SECONDS = 0.002
_BESIDE_SECONDS = (0.006, 0.03)
"""Distances from the wrap at which the waveform beside it is measured, nearest and farthest."""
_LEAST_LOOP_SECONDS = 0.1
_USUAL_QUANTILE = 0.999


def start_level(waveform: Waveform) -> Measurement[float]:
    """Return the magnitude of the first sample as a share of the peak; a click if it is far from 0.

    No more than that one, since a hit is loud at once.
    """
    return _level_of(waveform, slice(0, 1))


def end_level(waveform: Waveform, sample_rate: int) -> Measurement[float]:
    """Return the largest magnitude of the last 0.25 ms as a share of the peak: a cut may hit a zero of the waveform."""
    return _level_of(waveform, slice(-max(1, round(_CUT_SECONDS * sample_rate)), None))


def sounding_seconds(waveform: Waveform, sample_rate: int) -> Measurement[float]:
    """Return the time of the last moment (20 ms) within 40 dB of the loudest."""
    levels = _levels(waveform, sample_rate)
    if levels.max(initial=0.0) < SILENCE:
        return unknown("silence")
    last = int(np.flatnonzero(levels >= levels.max() * 10 ** (END_DB / 20))[-1])
    stop = (last + 1) * round(_MOMENT_SECONDS * sample_rate)
    return Measurement(min(stop, waveform.shape[1]) / sample_rate, 1.0)


def silence_share(waveform: Waveform, sample_rate: int) -> Measurement[float]:
    """Return the share of moments (20 ms) whose level is below −60 dBFS."""
    levels = _levels(waveform, sample_rate)
    if not len(levels):
        return unknown("no samples")
    return Measurement(float((levels < 10 ** (SILENCE_DB / 20)).mean()), 1.0)


def clipping(waveform: Waveform) -> Measurement[int]:
    """Return how often three or more samples in a row stay at one level at full scale or beyond."""
    count = 0
    for channel in waveform:
        flat = (np.abs(channel[1:]) >= _FULL_SCALE) & (np.diff(channel) == 0)
        edges = np.diff(np.concatenate([[0], flat.astype(np.int8), [0]]))
        runs = np.flatnonzero(edges < 0) - np.flatnonzero(edges > 0)
        count += int((runs >= _CLIPPED_RUN - 1).sum())
    return Measurement(count, 1.0)


def fade(waveform: Waveform, sample_rate: int, *, at_end: bool) -> Measurement[float]:
    """Return how far the level lies below the loudest in the outermost tenth, in dB, if it changes steadily there.

    0 where the level does not fall steadily towards that end over the outermost third.
    """
    levels = _levels(waveform, sample_rate)
    if levels.max(initial=0.0) < SILENCE:
        return unknown("silence")
    if len(levels) < _LEAST_MOMENTS:
        return unknown("too short to fade")
    outward = 20 * np.log10((levels if at_end else levels[::-1]) + 1e-9)
    parts = [part.mean() for part in np.array_split(outward[-len(outward) // 3 :], 5)]
    tenth = max(1, round(_FADE_SHARE * len(levels)))
    drop = float(np.quantile(outward, 0.9) - outward[-tenth:].mean())
    steady = all(later <= sooner + 1.0 for sooner, later in pairwise(parts))
    return Measurement(drop if steady else 0.0, 1.0)


def seam(waveform: Waveform, sample_rate: int) -> Measurement[float]:
    """Return how far a loop jumps where it wraps: the bend of the waveform there over its usual largest bend.

    The bend is the second difference, 0 for any straight line; the usual largest is its 0.999 quantile.
    """
    if waveform.shape[1] < _LEAST_LOOP_SECONDS * sample_rate:
        return unknown("too short for a loop")
    bends = np.abs(np.diff(waveform, 2, axis=1))
    usual = np.quantile(bends, _USUAL_QUANTILE, axis=1)
    wrapped = np.concatenate([waveform[:, -2:], waveform[:, :2]], axis=1)
    across = np.abs(np.diff(wrapped, 2, axis=1)).max(axis=1)
    if not usual.max() > 0:
        return unknown("silence")
    return Measurement(float((across / usual.clip(1e-9 + 1e-3 * usual.max())).max()), 1.0)


def seam_dip(waveform: Waveform, sample_rate: int) -> Measurement[float]:
    """Return the level within 2 ms of the wrap of a loop, in dB over the softest moment (4 ms) 6 to 30 ms away from it.

    Low where both ends are faded, which is a gap in what should sound on; not where a loop ends in silence anyway.
    """
    if waveform.shape[1] < _LEAST_LOOP_SECONDS * sample_rate:
        return unknown("too short for a loop")
    size, near, far = (
        max(1, round(t * sample_rate)) for t in (2 * _SEAM_SECONDS, *_BESIDE_SECONDS)
    )
    wrapped = np.concatenate([waveform[:, -far:], waveform[:, :far]], axis=1)
    power = np.square(wrapped, dtype=np.float64).mean(axis=0)
    sums = np.concatenate([[0.0], np.cumsum(power)])
    levels = np.sqrt((sums[size:] - sums[:-size]).clip(0) / size)
    if levels.max() < SILENCE:
        return unknown("silence at the wrap")
    beside = np.concatenate([levels[: far - near - size + 1], levels[far + near :]])
    softest = beside.min().clip(1e-4 * levels.max())
    level = max(float(levels[far - size // 2]), 1e-9)
    return Measurement(float(20 * np.log10(level / softest)), 1.0)


def _level_of(waveform: Waveform, samples: slice) -> Measurement[float]:
    peak = float(np.abs(waveform).max(initial=0.0))
    if peak < SILENCE:
        return unknown("silence")
    return Measurement(float(np.abs(waveform[:, samples]).max()) / peak, 1.0)


def _levels(waveform: Waveform, sample_rate: int) -> Float[np.ndarray, " moment"]:
    """Return the root mean square over all channels of each moment, the last one maybe shorter."""
    size = max(1, round(_MOMENT_SECONDS * sample_rate))
    power = np.square(waveform, dtype=np.float64).mean(axis=0)
    starts = np.arange(0, len(power), size)
    sums = np.add.reduceat(power, starts) if len(power) else np.zeros(0)
    return np.sqrt(sums / np.minimum(size, len(power) - starts))
