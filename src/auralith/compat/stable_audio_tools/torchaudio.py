"""`load` and `save` as torchaudio has them, on soundfile: from its release 2.9 on it needs torchcodec for both."""

from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from auralith.sound.arrays import AnyWaveform
from auralith.sound.reading import read
from auralith.sound.writing import write


def load(uri: str | Path) -> tuple[Float[Tensor, "channel sample"], int]:
    """The waveform of a sound file and its sample rate in Hz. Raises AudioError."""
    return read(uri)


def save(uri: str | Path, src: AnyWaveform, sample_rate: int) -> None:
    """Write a WAV, FLAC, OGG or MP3 file; 16-bit integers are kept bit for bit.

    Raises:
        AudioError: the format can't hold the samples.
        InvalidRequest: the suffix or the tensor's dtype can't be written.
        ResourceError: the place is not writable or full.
    """
    write(uri, src, sample_rate)
