"""A sound file as one channel, the mean of all, in blocks: what every fingerprint here is made of."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from auralith.sound.stream import open_sound


@dataclass(frozen=True)
class Mono:
    """An open sound. `blocks` may be read once; it raises `AudioError` ("truncated", "nan_samples")."""

    sample_rate: int
    blocks: Iterator[Float[np.ndarray, " sample"]]


@contextmanager
def open_mono(path: Path) -> Iterator[Mono]:
    """The sound of a file, float32, full scale ±1. Raises `AudioError` as `open_sound` does."""
    with open_sound(path) as stream:
        yield Mono(
            stream.format.sample_rate, (block.mean(axis=1) for block in stream.finite_blocks())
        )


def read_seconds(path: Path) -> float:
    """Return how long a sound is, all of it decoded. Raises `AudioError` as `open_mono` and its blocks do."""
    with open_mono(path) as sound:
        return sum(len(block) for block in sound.blocks) / sound.sample_rate
