"""`load` and `save` as torchaudio has them, on soundfile: from its release 2.9 on it needs torchcodec for both."""

from pathlib import Path

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from auralith.errors import InvalidRequest
from auralith.sound.reading import read
from auralith.sound.writing import write

FULL_SCALE = {torch.int16: 2**15, torch.int32: 2**31}
"""Of the integer formats; floating point is full scale at 1."""


def load(uri: str | Path) -> tuple[Float[Tensor, "channel sample"], int]:
    """The waveform of a sound file and its sample rate in Hz. Raises AudioError."""
    return read(uri)


def save(uri: str | Path, src: Shaped[Tensor, "channel sample"], sample_rate: int) -> None:
    """Write a WAV, FLAC, OGG or MP3 file; 16-bit integers are kept bit for bit.

    Raises:
        AudioError: the format can't hold the samples.
        InvalidRequest: the suffix or the tensor's dtype is none that can be written.
        ResourceError: the place is not writable or full.
    """
    if src.is_floating_point():
        waveform = src.float()
    elif src.dtype in FULL_SCALE:
        waveform = (src.double() / FULL_SCALE[src.dtype]).float()
    else:
        raise InvalidRequest(f"samples are {src.dtype}; convert them to int16, int32 or float32")
    write(uri, waveform, sample_rate)
