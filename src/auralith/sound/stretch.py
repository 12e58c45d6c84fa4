"""A stretch of a sound, as it is heard: mono or stereo, at the file's own rate."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from auralith.sound.sources import Source
from auralith.sound.stream import open_sound


@dataclass(frozen=True)
class Stretch:
    """Samples of a sound from a place on; none where it lies beyond the ends."""

    samples: Float[np.ndarray, "sample channel"]
    first: int
    """Place of the first within the sound."""
    sample_rate: int


def read_stretch(
    source: Source | str, start_s: float, seconds: float, *, name: str = ""
) -> Stretch:
    """Return a stretch. `start_s` may be negative; more than two channels become their mean.

    Raises `AudioError` as `open_sound` and `SoundStream.blocks` do, also for NaN and infinity.
    """
    with open_sound(source, name) as stream:
        rate = stream.format.sample_rate
        first, stop = max(0, round(start_s * rate)), round((start_s + seconds) * rate)
        heard = 2 if stream.format.channels == 2 else 1
        blocks = [np.zeros((0, heard), np.float32)]
        if first < stop:
            for block in stream.finite_blocks(first, stop, allow_cut=True):
                is_heard = block.shape[1] == heard
                blocks.append(block if is_heard else block.mean(axis=1, keepdims=True))
    return Stretch(np.concatenate(blocks), first, rate)
