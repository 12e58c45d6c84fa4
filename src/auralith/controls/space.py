"""Place of a sound between left and right, and its width."""

import math

import numpy as np

from auralith.controls.measurement import SILENCE, Measurement, Waveform, unknown

LOWEST_DB = -100.0
"""Stands for no side signal at all; its negative for one channel alone."""


def balance(waveform: Waveform) -> Measurement[float]:
    """Return how much louder the right channel is than the left, in dB: negative on the left, −100 to 100."""
    powers = _powers(waveform)
    if isinstance(powers, str):
        return unknown(powers)
    return Measurement(_ratio_db(powers[1], powers[0]), 1.0)


def width(waveform: Waveform) -> Measurement[float]:
    """Return side over mid in dB, with both channels made equally loud: −100 for mono, 0 for independent channels.

    So a mono source that is panned has no width.
    """
    powers = _powers(waveform)
    if isinstance(powers, str):
        return unknown(powers)
    if not min(powers) > 0:
        return Measurement(LOWEST_DB, 1.0)
    scaled = waveform.astype(np.float64) / np.sqrt(powers)[:, None]
    side, mid = (np.square(scaled[0] + sign * scaled[1]).mean() for sign in (-1, 1))
    return Measurement(_ratio_db(float(side), float(mid)), 1.0)


def _powers(waveform: Waveform) -> tuple[float, float] | str:
    if waveform.shape[0] != 2:
        return f"{waveform.shape[0]} channel" + "s" * (waveform.shape[0] > 1)
    if np.abs(waveform).max(initial=0.0) < SILENCE:
        return "silence"
    left, right = np.square(waveform, dtype=np.float64).mean(axis=1).tolist()
    return left, right


def _ratio_db(above: float, below: float) -> float:
    if above <= 0 or below <= 0:
        return LOWEST_DB if above <= 0 else -LOWEST_DB
    return min(max(10 * math.log10(above / below), LOWEST_DB), -LOWEST_DB)
