"""Sound out of a file, or out of a member of a tar file: its header, or any stretch of its samples.

libsndfile comes first and seeks, so that a crop of a long file costs a crop. What it can't open goes to PyAV (the
extra `av`: m4a, aac, wma, webm, video files), which seeks where the container counts in samples and decodes from the
beginning elsewhere. Samples keep their own rate and channels. The file is named in every error, and one that holds NaN
is refused.
"""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import numpy as np
import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.errors import InvalidRequest, MissingExtra
from auralith.extras import require

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container.input import InputContainer

_Result = TypeVar("_Result")

AV_SUFFIXES = frozenset(
    ".m4a .m4b .mp4 .m4v .mov .aac .wma .asf .webm .mka .mkv .ac3 .eac3 .ape .wv .tta .mpc .avi".split()
)
"""Files that need PyAV; those that libsndfile reads are in `SOUND_SUFFIXES` too."""

SOUND_SUFFIXES = AV_SUFFIXES | frozenset(
    ".wav .wave .flac .ogg .oga .opus .mp3 .mp2 .aif .aiff .aifc .caf .au .snd .w64 .rf64".split()
)
"""What counts as a sound file where a folder or a shard holds other files too; a table may name any file."""

AV_OPTIONS = {
    "format_whitelist": ",".join(
        "aac ac3 aiff ape asf au avi caf eac3 flac matroska mov mp3 mp4 m4a mpc mpc8 ogg tta w64 wav webm wv".split()
    )
}
"""The demuxers that PyAV may use: a playlist would make it open other files."""

_MP3_PREROLL = 32 * 1_152
"""Samples decoded and dropped before a stretch: an MP3 frame may borrow bits from many frames before it, and
libsndfile's first ones after a seek are garbage (7,000 samples of it were measured)."""
_AV_PREROLL = 16 * 1_024
"""The same where PyAV seeks: an AAC frame overlaps the one before it. Bands that AAC codes as noise come out as other
noise of the same energy; all else is the whole file's, sample for sample."""


@dataclass(frozen=True, slots=True)
class Member:
    """Bytes inside a bigger file: a member of an uncompressed tar."""

    path: Path
    offset: int
    size: int


Source = Path | Member


@dataclass(frozen=True, slots=True)
class SoundInfo:
    """What a header says. The length of a compressed file may be off by less than a codec frame."""

    num_samples: int
    sample_rate: int
    channels: int

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate


def probe(source: Source, name: str) -> SoundInfo:
    """Length, rate and channels from the header; `name` stands in messages.

    Raises:
        InvalidRequest: the file doesn't exist, is not a sound file, or is empty.
        MissingExtra: PyAV would be needed.
    """
    info = _with_either(source, name, _probe_soundfile, _probe_av)
    if info.num_samples < 1:
        raise InvalidRequest(f"{name} holds no samples; leave it out or replace it")
    return info


def decode(
    source: Source, name: str, start: int = 0, stop: int | None = None
) -> tuple[Float[Tensor, "channel sample"], int]:
    """Samples [start, stop) of a file, or all of them, and the sample rate in Hz.

    A stretch beyond the end is cut at the end, and may be empty.

    Raises:
        InvalidRequest: the file doesn't exist, is not a sound file, is empty or damaged, or holds NaN or infinity.
        MissingExtra: PyAV would be needed.
    """
    samples, sample_rate = _with_either(
        source,
        name,
        lambda file: _decode_soundfile(file, start, stop),
        lambda file: _decode_av(file, start, stop),
    )
    if stop is None and start == 0 and not samples.shape[1]:
        raise InvalidRequest(f"{name} holds no samples; leave it out or replace it")
    if not np.isfinite(samples).all():
        first = start + int(np.argmin(np.isfinite(samples).all(axis=0)))
        raise InvalidRequest(f"{name} is not finite: NaN or infinity at sample {first}")
    return torch.from_numpy(samples), sample_rate


def _with_either(
    source: Source,
    name: str,
    by_soundfile: Callable[[soundfile.SoundFile], _Result],
    by_av: Callable[["InputContainer"], _Result],
) -> _Result:
    try:
        with _opened(source, name) as place, soundfile.SoundFile(place) as file:
            return by_soundfile(file)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: .raw, which has no header
        unreadable = error
    try:
        av = require("av", "av")
    except MissingExtra as missing:
        if Path(name).suffix.lower() in AV_SUFFIXES:
            raise MissingExtra(f"{name} can't be read: {missing}") from missing
        raise InvalidRequest(_unreadable(name)) from unreadable
    try:
        with _opened(source, name) as place, av.open(place, options=AV_OPTIONS) as container:
            return by_av(container)
    except (av.FFmpegError, IndexError) as error:  # IndexError: no stream with sound
        raise InvalidRequest(_unreadable(name)) from error


def _unreadable(name: str) -> str:
    return f"{name} is not a readable sound file; leave it out or replace it"


@contextmanager
def _opened(source: Source, name: str) -> Iterator[str | BinaryIO]:
    """What both libraries open: a path, or the bytes of a member as a file of their own."""
    path = source if isinstance(source, Path) else source.path
    if not os.path.isfile(path):  # unlike Path.is_file, false for a name too long to exist
        raise InvalidRequest(f"{name} doesn't exist; correct its path or leave it out")
    if isinstance(source, Path):
        yield str(source)
        return
    with path.open("rb", buffering=0) as file, io.BufferedReader(_Window(file, source)) as window:
        yield window


class _Window(io.RawIOBase):
    """A member seen as a file that begins and ends with it, so that a header costs a header."""

    def __init__(self, file: io.RawIOBase, member: Member) -> None:
        self._file, self._member, self._position = file, member, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._member.size}
        self._position = max(0, origin[whence] + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._member.offset + self._position)
        size = max(0, min(len(buffer), self._member.size - self._position))
        count = self._file.readinto(memoryview(buffer)[:size]) or 0
        self._position += count
        return count


def _probe_soundfile(file: soundfile.SoundFile) -> SoundInfo:
    return SoundInfo(file.frames, file.samplerate, file.channels)


def _decode_soundfile(
    file: soundfile.SoundFile, start: int, stop: int | None
) -> tuple[np.ndarray, int]:
    end = file.frames if stop is None else min(stop, file.frames)
    start = min(start, end)
    first = max(0, start - _MP3_PREROLL) if file.format == "MP3" else start
    file.seek(first)
    samples = file.read(end - first, dtype="float32", always_2d=True)[start - first :]
    return np.ascontiguousarray(samples.T), file.samplerate


def _probe_av(container: "InputContainer") -> SoundInfo:
    stream = container.streams.audio[0]
    return SoundInfo(_length(container, stream), stream.rate, stream.channels)


def _length(container: "InputContainer", stream: "AudioStream") -> int:
    """Samples of a stream. Without an index, a header's duration is a guess from the bit rate: packets are counted."""
    if stream.frames and stream.duration and stream.time_base:
        return round(stream.duration * stream.time_base * stream.rate)
    ticks = sum(packet.duration or 0 for packet in container.demux(stream))
    return round(ticks * (stream.time_base or 0) * stream.rate)


def _decode_av(container: "InputContainer", start: int, stop: int | None) -> tuple[np.ndarray, int]:
    stream = container.streams.audio[0]
    parts = [np.zeros((stream.channels, 0), np.float32)]
    position = _seek_av(container, stream, start)
    last = sys.maxsize if stop is None else stop
    to_float = require("av", "av").AudioResampler(format="fltp")
    for frame in container.decode(stream):
        position = (frame.pts or 0) if position is None else position
        for block in to_float.resample(frame):
            samples = block.to_ndarray()
            parts.append(samples[:, max(0, start - position) : max(0, last - position)])
            position += samples.shape[1]
        if position >= last:
            break
    return np.ascontiguousarray(np.concatenate(parts, axis=1)), stream.rate


def _seek_av(container: "InputContainer", stream: "AudioStream", start: int) -> int | None:
    """Go near a start: None if that worked and the next frame says where it is, which takes an index and a clock
    that counts samples (m4a); else 0, the beginning."""
    exact = stream.frames and stream.time_base == Fraction(1, stream.rate)
    if not exact or start <= _AV_PREROLL:
        return 0
    container.seek(start - _AV_PREROLL, stream=stream)
    return None
