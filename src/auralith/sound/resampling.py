"""Change of sample rate by soxr, of a whole waveform or of blocks."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr
import torch
from jaxtyping import Float
from torch import Tensor


def resample(
    waveform: Float[Tensor, "channel sample"], from_hz: int, to_hz: int
) -> Float[Tensor, "channel resampled"]:
    """The waveform at another sample rate (soxr, high quality); itself when the rates are equal."""
    if from_hz == to_hz:
        return waveform
    resampled = soxr.resample(waveform.cpu().numpy().T, from_hz, to_hz, quality="HQ")
    return torch.from_numpy(np.ascontiguousarray(resampled.T))


def resampled(
    blocks: Iterable[Float[np.ndarray, "sample channel"]], from_hz: int, to_hz: int, channels: int
) -> Iterator[Float[np.ndarray, "resampled channel"]]:
    """Blocks at another sample rate; what soxr holds back comes at the end. None come of none."""
    if from_hz == to_hz:
        yield from blocks
        return
    resampler = soxr.ResampleStream(from_hz, to_hz, channels, dtype="float32")
    heard = False
    for block in blocks:
        heard = True
        yield resampler.resample_chunk(np.ascontiguousarray(block))
    if heard:
        yield resampler.resample_chunk(np.zeros((0, channels), np.float32), last=True)
