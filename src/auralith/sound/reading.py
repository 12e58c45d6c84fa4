"""Sound out of a file, a member of a tar file or memory: its length, all of it, or a stretch of its samples.

libsndfile comes first and seeks, so that a crop of a long file costs a crop; codecs that can't seek are decoded from
the beginning. What it can't open goes to PyAV (the extra `av`). Samples keep their own rate and channels. The file is
named in every error; NaN, infinity and impossible levels are refused.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.errors import AudioError
from auralith.sound.levels import require_usable
from auralith.sound.sources import Source
from auralith.sound.stream import SoundStream, open_sound

_EXACT = {"PCM_S8": "pcm16", "PCM_U8": "pcm16", "PCM_16": "pcm16", "PCM_24": "pcm24"}
"""libsndfile's encodings to the subtypes that hold all their values; the others need floats."""
MOST_VALUES = 2 * 48_000 * 3_600
"""Samples times channels that are read at once: an hour of stereo at 48 kHz, 1.4 GB. A file of silence unpacks to
thousands of times its size, and headers may claim anything."""


@dataclass(frozen=True, slots=True)
class SoundInfo:
    """Extent of a sound. The length of a FLAC file, or of one that PyAV reads, is its header's."""

    num_samples: int
    sample_rate: int
    channels: int
    note: str | None = field(default=None, compare=False)
    """Statement of the header that differs, if by more than 0.1 s."""

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate


def read_info(source: Source | str, *, name: str = "") -> SoundInfo:
    """Length, rate and channels without decoding where the file states them; `name` stands in messages for the source.

    Raises:
        AudioError: the file doesn't exist, is not a sound file, or is empty; `reason_code` says which.
    """
    with open_sound(source, name) as stream:
        form, length = stream.format, stream.samples_there
        if length is None:
            length = sum(len(block) for block in stream.blocks(allow_cut=True))
        if length < 1:
            raise _no_samples(stream.name)
        return SoundInfo(length, form.sample_rate, form.channels, stream.disagreement(length))


def read(
    source: Source | str,
    start: int = 0,
    stop: int | None = None,
    *,
    name: str = "",
    allow_cut: bool = False,
) -> tuple[Float[Tensor, "channel sample"], int]:
    """Samples [start, stop) of a file, or all of them, and the sample rate in Hz.

    A stretch beyond the end is cut at the end, and may be empty. `name` stands in messages for the source.

    Raises:
        AudioError: the file doesn't exist, is not a sound file, is empty or damaged, ends before its header says
            (unless `allow_cut`), holds more than `MOST_VALUES`, or NaN, infinity or an impossible level; `reason_code`
            says which.
    """
    with open_sound(source, name) as stream:
        samples = _collected(stream, start, stop, allow_cut=allow_cut)
        name, sample_rate = stream.name, stream.format.sample_rate
    if start == 0 and stop != 0 and not len(samples):
        raise _no_samples(name)
    waveform = torch.from_numpy(np.ascontiguousarray(samples.T))
    require_usable(waveform, name, start)
    return waveform, sample_rate


def exact_subtype(path: Source | str) -> str:
    """The sample format that holds a file's samples as `read` gives them: floats where it is coded otherwise."""
    with open_sound(path) as stream:
        return _EXACT.get(stream.format.encoding, "float")


def _collected(
    stream: SoundStream, start: int, stop: int | None, *, allow_cut: bool
) -> Float[np.ndarray, "sample channel"]:
    """All of a stretch, from as many blocks as it takes. Raises `AudioError` ("too_long") beyond `MOST_VALUES`."""
    blocks = [np.zeros((0, stream.format.channels), np.float32)]
    room = MOST_VALUES
    for block in stream.blocks(start, stop, allow_cut=allow_cut):
        room -= block.size
        if room < 0:
            seconds = MOST_VALUES // stream.format.channels / stream.format.sample_rate
            raise AudioError(
                f"{stream.name} is longer than {seconds:.0f} s, the most that is read of its format at once; cut it",
                "too_long",
            )
        blocks.append(block)
    return np.concatenate(blocks)


def _no_samples(name: str) -> AudioError:
    return AudioError(f"{name} holds no samples; leave it out or replace it", "no_samples")
