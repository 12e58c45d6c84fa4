"""A sound to edit, and its way to a model's sample rate and channels and back."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.config import AudioFormat
from auralith.edits import SourceFile
from auralith.errors import AudioError, InvalidRequest
from auralith.files import file_hash
from auralith.numbers import check_integer
from auralith.sound.arrays import AnyWaveform, waveform_of
from auralith.sound.extent import read_info
from auralith.sound.levels import require_usable
from auralith.sound.reading import exact_subtype, read
from auralith.sound.resampling import resample

HIGHEST_RATE = 1_000_000
"""Limits the sample rate of a clip, in Hz."""


@dataclass(frozen=True, init=False)
class Clip:
    """A sound that is there already; any sample rate, any number of channels."""

    waveform: Float[Tensor, "channel sample"]
    sample_rate: int
    source: SourceFile | None
    """The file it was read from."""
    subtype: str
    """The sample format that holds its samples."""

    def __init__(
        self,
        waveform: AnyWaveform,
        sample_rate: int,
        source: SourceFile | None = None,
        subtype: str = "float",
    ) -> None:
        """Take a tensor or an array, (channel, sample) or (sample,), in floats or PCM; it is kept on the CPU.

        Raises `InvalidRequest` for other axes or numbers, and `AudioError` for samples that are not finite or on the
        scale of integers.
        """
        if sample_rate is None:
            raise InvalidRequest("sample_rate is missing; give the clip's samples per second")
        samples = waveform_of(waveform, "the clip").cpu()
        require_usable(samples, "the clip")
        fields = {
            "waveform": samples,
            "sample_rate": sample_rate,
            "source": source,
            "subtype": subtype,
        }
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        check_integer(self, "sample_rate", 1, HIGHEST_RATE)

    @property
    def num_samples(self) -> int:
        return self.waveform.shape[-1]

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate

    def at(self, audio_format: AudioFormat) -> Float[Tensor, "channel resampled"]:
        """The waveform at a model's sample rate and channels: mono goes to each, more than the model's are averaged."""
        wanted = audio_format.channels
        waveform = self.waveform
        if waveform.shape[0] != wanted:
            waveform = waveform.mean(0, keepdim=True).expand(wanted, -1)
        return resample(waveform, self.sample_rate, audio_format.sample_rate)

    def like(
        self, waveform: Float[Tensor, "channel resampled"], audio_format: AudioFormat, first: int
    ) -> tuple[Float[Tensor, "clip_channel sample"], int]:
        """A model's waveform, which begins at sample `first` of the clip at the model's rate, at the clip's rate.

        Also the sample of the clip that it then begins at: silence is put before it until that is a whole one.
        """
        if self.waveform.shape[0] < waveform.shape[0]:
            waveform = waveform.mean(0, keepdim=True)
        early = first % (
            audio_format.sample_rate // math.gcd(self.sample_rate, audio_format.sample_rate)
        )
        padded = torch.nn.functional.pad(waveform, (early, 0))
        found = resample(padded, audio_format.sample_rate, self.sample_rate)
        return found, (first - early) * self.sample_rate // audio_format.sample_rate


def read_clip(
    path: str | Path, longest_seconds: float | None = None, name: str | None = None
) -> Clip:
    """Return the sound of a file with the file's hash. No more is decoded than `longest_seconds` and one sample.

    `name` stands for the file in messages and in the provenance of what is made of it.

    Raises `AudioError` if the file can't be read or is longer.
    """
    stop = None
    if longest_seconds is not None:
        stop = math.floor(longest_seconds * read_info(path, name=name or "").sample_rate) + 1
    waveform, sample_rate = read(path, stop=stop, name=name or "", allow_cut=True)
    if waveform.shape[-1] == stop:
        raise AudioError(
            f"{name or path} is longer than {longest_seconds:.2f} s, the most that this edit takes: cut it"
        )
    source = SourceFile(name or Path(path).name, file_hash(path))
    return Clip(waveform, sample_rate, source, exact_subtype(path))


def require_channels(clip: Clip, audio_format: AudioFormat) -> None:
    """Raise `AudioError` if an edit that keeps the clip's samples can't, because the model has too few channels."""
    if clip.waveform.shape[0] not in (1, audio_format.channels):
        raise AudioError(
            f"the sound has {clip.waveform.shape[0]} channels; this edit takes 1 or {audio_format.channels}, "
            "as the model has: mix it down first"
        )
