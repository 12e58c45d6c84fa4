"""A file as a tagger's windows: mixed or in voices, at the tagger's rate, one window after the other, never the whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from auralith.errors import AudioError
from auralith.sound.resampling import resampled
from auralith.sound.stream import SoundStream

Stereo = Literal["mean", "max"]
"""mean: of all channels. max: each channel by itself, the higher probability counts; music in antiphase vanishes in
the mean."""


@dataclass(frozen=True)
class Window:
    """Sound of a tagger's length; `num_samples` of it are from the file, the rest is zeros."""

    voices: Float[np.ndarray, "voice sample"]
    num_samples: int


def windows(
    stream: SoundStream, sample_rate: int, window_samples: int, stereo: Stereo
) -> Iterator[Window]:
    """All windows of a stream, without overlap.

    Raises:
        AudioError: "nan_samples", "no_samples", or what `stream.blocks` raises.
    """
    rest = None
    for voices in _resampled(stream, sample_rate, stereo):
        rest = voices if rest is None else np.concatenate([rest, voices])
        while len(rest) >= window_samples:
            yield Window(np.ascontiguousarray(rest[:window_samples].T), window_samples)
            rest = rest[window_samples:]
    if rest is None:
        raise AudioError("the file holds no samples; leave it out", "no_samples")
    if len(rest):
        padding = np.zeros((window_samples - len(rest), rest.shape[1]), np.float32)
        yield Window(np.ascontiguousarray(np.concatenate([rest, padding]).T), len(rest))


def _resampled(stream: SoundStream, sample_rate: int, stereo: Stereo) -> Iterator[np.ndarray]:
    """Blocks (sample, voice) at the tagger's rate."""
    num_voices = 1 if stereo == "mean" else stream.format.channels
    blocks = stream.finite_blocks()
    voices = (block.mean(axis=1, keepdims=True) if stereo == "mean" else block for block in blocks)
    return resampled(voices, stream.format.sample_rate, sample_rate, num_voices)
