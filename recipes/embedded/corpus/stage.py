"""The recording of a source: width, room, place and level, as the descriptors say; then a short fade at the very end."""

import numpy as np

from recipes.tiny.synth.signals import Stereo, num_samples, ramp
from recipes.tiny.synth.stage import PEAK, convolved

FADE_SECONDS = 0.025
ROOM_SHARE = 0.25
"""Share of sounds that nothing is said about and that have a small room."""
WIDE_RATIO = 0.7
"""Side to mid of what is wide: -3 dB."""
FAR_SIDE = 0.2
"""Gain of the other channel for what is on the left or right: -14 dB."""


def staged(source: Stereo, says: frozenset[str], rng: np.random.Generator) -> Stereo:
    """Return a source as it is recorded, at most at `PEAK`."""
    mid, side = (source[0] + source[1]) / 2, (source[0] - source[1]) / 2
    if "reverberant" in says:
        mid, side = convolved(np.stack([mid, side]), 0.24, 0.5, rng)
    elif rng.random() < ROOM_SHARE:
        mid, side = convolved(np.stack([mid, side]), 0.05, 0.2, rng)
    if "mono" in says:
        side = np.zeros_like(side)
    elif "wide" in says:
        side = _widened(mid, side)
    stereo = np.stack([mid + side, mid - side])
    gains = (FAR_SIDE if "right" in says else 1.0, FAR_SIDE if "left" in says else 1.0)
    stereo = stereo * np.array(gains, np.float32)[:, None]
    return ramp(leveled(stereo, says, rng), 0.0, FADE_SECONDS)


def leveled(stereo: Stereo, says: frozenset[str], rng: np.random.Generator) -> Stereo:
    """Return a sound with the peak of what is soft, loud, or neither."""
    low, high = (0.1, 0.16) if "soft" in says else (0.88, PEAK) if "loud" in says else (0.35, 0.7)
    return stereo * np.float32(rng.uniform(low, high) / max(float(np.abs(stereo).max()), 1e-9))


def _widened(mid: Stereo, side: Stereo) -> Stereo:
    """Return a side signal of `WIDE_RATIO` times the mid's energy: its own, with a delayed copy where that is too little."""
    delay = num_samples(0.011)
    copy = np.zeros_like(mid)
    copy[delay:] = mid[:-delay]
    wanted = WIDE_RATIO * float(np.sqrt(np.mean(np.square(mid))))
    own = float(np.sqrt(np.mean(np.square(side))))
    if own < 0.5 * wanted:
        side = side + copy
        own = float(np.sqrt(np.mean(np.square(side))))
    return side * np.float32(wanted / max(own, 1e-9))
