"""Change of sample rate by soxr, of a whole waveform."""

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
