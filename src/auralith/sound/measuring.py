"""Measurements of a sound file, in memory that doesn't grow with its length."""

import math
from dataclasses import dataclass

import numpy as np

from auralith.errors import AudioError
from auralith.sound.levels import HIGHEST_DB, decibels, impossible_level
from auralith.sound.sources import Source
from auralith.sound.stream import SoundStream, open_sound


@dataclass(frozen=True)
class Measured:
    """Length and levels of all that is in a file."""

    num_samples: int
    sample_rate: int
    channels: int
    peak_db: float
    """dBFS; -inf for digital silence."""
    rms_db: float
    """dBFS, over all channels; -inf for digital silence."""
    notes: tuple[str, ...]
    """Disagreements of the header, and faults of the level."""


class PeakMeter:
    """The largest magnitude of a stream of blocks, where it is, and the root mean square."""

    def __init__(self) -> None:
        self.num_samples = self.sample = self._values = 0
        self.peak = 0.0
        self._squares = 0.0

    def add(self, block: np.ndarray) -> None:
        """Count a block (sample, channel) of any length."""
        if block.size:
            levels = np.abs(block).max(axis=1)
            first = int(levels.argmax())
            if levels[first] > self.peak:
                self.peak, self.sample = float(levels[first]), self.num_samples + first
            flat = block.reshape(-1).astype(np.float64)
            self._squares += float(flat @ flat)
        self.num_samples += len(block)
        self._values += block.size

    @property
    def rms(self) -> float:
        """Over all channels; 0 where there are no samples."""
        return math.sqrt(self._squares / max(1, self._values))

    @property
    def complaint(self) -> str | None:
        """Return what to say of a level that no sound has."""
        if decibels(self.peak) <= HIGHEST_DB:
            return None
        return impossible_level(self.peak, self.sample, self.rms)


def measure(source: Source | str) -> Measured:
    """Decode a file to its end. Raises `AudioError` if it can't be read, is empty, or holds NaN or infinity."""
    with open_sound(source) as stream:
        meter = PeakMeter()
        for block in stream.finite_blocks(allow_cut=True):
            meter.add(block)
        if not meter.num_samples:
            raise AudioError(
                f"{stream.name} holds no samples; leave it out or replace it", "no_samples"
            )
        return _measured(stream, meter)


def _measured(stream: SoundStream, meter: PeakMeter) -> Measured:
    notes = (stream.disagreement(meter.num_samples), meter.complaint)
    return Measured(
        meter.num_samples,
        stream.format.sample_rate,
        stream.format.channels,
        decibels(meter.peak),
        decibels(meter.rms),
        tuple(note for note in notes if note),
    )
