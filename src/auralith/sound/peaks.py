"""The outline of a sound, to be drawn: the lowest and the highest sample of each of some stretches."""

import numpy as np
from jaxtyping import Float

from auralith.sound.extent import SoundInfo, read_info
from auralith.sound.sources import Source
from auralith.sound.stream import open_sound


def outline(
    samples: Float[np.ndarray, "channel sample"], count: int
) -> tuple[list[float], list[float]]:
    """Return the lowest and the highest sample of `count` stretches, or of each sample where there are fewer."""
    num_samples = samples.shape[1]
    starts = np.linspace(0, num_samples, min(count, num_samples), endpoint=False).astype(int)
    low = np.minimum.reduceat(samples.min(axis=0), starts)
    high = np.maximum.reduceat(samples.max(axis=0), starts)
    return _rounded(low), _rounded(high)


def read_outline(
    source: Source | str, count: int, *, name: str = "", allow_cut: bool = False
) -> tuple[SoundInfo, list[float], list[float]]:
    """Return extent and outline of a file, which is read block by block, so that a long one takes no more memory.

    Raises:
        AudioError: as `auralith.sound.reading.read` does.
    """
    info = read_info(source, name=name)
    size = min(count, info.num_samples)
    places = np.linspace(0, info.num_samples, size, endpoint=False).astype(int)
    low, high = np.zeros(size, np.float32), np.zeros(size, np.float32)
    start = 0
    with open_sound(source, name) as stream:
        for found in stream.finite_blocks(allow_cut=allow_cut):
            block = found[: info.num_samples - start]
            if not len(block):
                continue
            stop = start + len(block)
            first, last = np.searchsorted(places, (start, stop - 1), side="right") - 1
            here = slice(first, last + 1)
            edges = np.maximum(places[here], start) - start
            lowest = np.minimum.reduceat(block.min(axis=1), edges)
            highest = np.maximum.reduceat(block.max(axis=1), edges)
            is_new = places[here] >= start
            low[here] = np.where(is_new, lowest, np.minimum(low[here], lowest))
            high[here] = np.where(is_new, highest, np.maximum(high[here], highest))
            start = stop
    return info, _rounded(low), _rounded(high)


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 5) for value in values]
