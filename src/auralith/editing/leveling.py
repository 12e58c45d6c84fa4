"""The level of a continuation: silence cut from a file's end before it, and its windows brought to the file's loudness.

A model continues a sound at the level that it knows best, and every window goes on from the one before, so the level
drifts. Each window gets the gain that brings its loudness (ITU-R BS.1770-4, gated) to the file's; between the middles of
two windows the gain glides. Sounds that die away are left to do so.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.editing.clip import Clip
from auralith.editing.timeline import Span
from auralith.edits import Direction
from auralith.sound.levels import peak_db
from auralith.sound.loudness import LoudnessMeter

SILENT_DB = -40.0
"""Relative to a sound's root mean square, the level of 10 ms below which a sound has ended."""
EDGE_SECONDS = 0.045
"""Length cut off besides silence, if any: the short fade in front of it."""
SUSTAINED_LU = 10.0
"""A sound whose last second is softer than the whole by more than this is dying away."""
MAX_GAIN_DB = 12.0
GLIDE_SECONDS = 0.05
"""Time that the gain takes from the file to the first window."""


def without_silence(clip: Clip, direction: Direction) -> Clip:
    """Return the clip without the silence at the end that is continued; itself where it sounds up to there."""
    waveform = clip.waveform if direction == "after" else clip.waveform.flip(-1)
    size = max(1, clip.sample_rate // 100)
    blocks = waveform[:, : waveform.shape[-1] // size * size].unflatten(-1, (-1, size))
    power = blocks.double().square().mean((0, 2))
    sounding = (power > power.mean() * 10 ** (SILENT_DB / 10)).nonzero()
    if not len(sounding) or int(sounding[-1]) + 1 == len(power):
        return clip
    end = (int(sounding[-1]) + 1) * size - round(EDGE_SECONDS * clip.sample_rate)
    kept = waveform[:, : max(end, 1)]
    return replace(clip, waveform=kept if direction == "after" else kept.flip(-1))


def gains_db(
    clip: Clip, made: Float[Tensor, "channel sample"], windows: Sequence[Span], direction: Direction
) -> list[float]:
    """Return the gain in dB that brings each window of `made` (in samples) to the loudness of the clip.

    It is 0 where either can't be measured, and everywhere for a clip that dies away; ±12 dB at most.
    """
    wanted = loudness(clip.waveform, clip.sample_rate)
    last = (
        clip.waveform[:, -clip.sample_rate :]
        if direction == "after"
        else clip.waveform[:, : clip.sample_rate]
    )
    ending = loudness(last, clip.sample_rate)
    if wanted is None or ending is None or ending < wanted - SUSTAINED_LU:
        return [0.0] * len(windows)
    return [_gain_db(clip, made[:, start:stop], wanted) for start, stop in windows]


def _gain_db(clip: Clip, window: Float[Tensor, "channel sample"], wanted: float) -> float:
    """Return the gain of one window; it brings no peak beyond the clip's own, or beyond full scale."""
    level = loudness(window, clip.sample_rate)
    if level is None:
        return 0.0
    room = max(0.0, peak_db(clip.waveform)) - peak_db(window)
    return min(MAX_GAIN_DB, max(-MAX_GAIN_DB, wanted - level), max(0.0, room))


def leveled(
    made: Float[Tensor, "channel sample"],
    windows: Sequence[Span],
    gains: Sequence[float],
    sample_rate: int,
    seam: int,
) -> Float[Tensor, "channel sample"]:
    """Return `made` with the gains at the middles of its windows, gliding between them; none beyond the seam."""
    if not any(gains):
        return made
    middles = [(start + stop) / 2 for start, stop in windows]
    order = np.argsort(middles)
    samples = np.arange(made.shape[-1])
    curve = np.interp(samples, np.take(middles, order), np.take(gains, order))
    side = 1.0 if middles[0] > seam else -1.0
    inside = np.clip(0.5 + side * (samples - seam) / (GLIDE_SECONDS * sample_rate), 0.0, 1.0)
    return made * torch.from_numpy(10 ** (curve * inside / 20)).to(made.dtype)


def loudness(waveform: Float[Tensor, "channel sample"], sample_rate: int) -> float | None:
    """Return the integrated loudness in LUFS; None for what is too short or too soft to have one."""
    meter = LoudnessMeter(sample_rate, waveform.shape[0])
    meter.add(waveform.T.numpy())
    found = meter.integrated
    return found if found is not None and math.isfinite(found) else None
