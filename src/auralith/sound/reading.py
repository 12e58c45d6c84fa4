"""Sound out of a file, or out of a member of a tar file: its header, or any stretch of its samples.

libsndfile comes first and seeks, so that a crop of a long file costs a crop. What it can't open goes to PyAV (the
extra `av`: m4a, aac, wma, webm, video files), which seeks where the container counts in samples and decodes from the
beginning elsewhere. Samples keep their own rate and channels. The file is named in every error, and one that holds NaN
is refused.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.errors import AudioError, MissingExtra
from auralith.extras import require
from auralith.sound.sources import AV_OPTIONS, AV_SUFFIXES, Source, opened

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container.input import InputContainer

_Result = TypeVar("_Result")

_EXACT = {"PCM_S8": "pcm16", "PCM_U8": "pcm16", "PCM_16": "pcm16", "PCM_24": "pcm24"}
"""libsndfile's encodings to the subtypes that hold all their values; the others need floats."""
_MP3_PREROLL = 32 * 1_152
"""Samples decoded and dropped before a stretch: an MP3 frame may borrow bits from many frames before it, and
libsndfile's first ones after a seek are garbage (7,000 samples of it were measured)."""
_AV_PREROLL = 16 * 1_024
"""The same where PyAV seeks: an AAC frame overlaps the one before it. Bands that AAC codes as noise come out as other
noise of the same energy; all else is the whole file's, sample for sample."""


@dataclass(frozen=True, slots=True)
class SoundInfo:
    """What a header says. The length of a compressed file may be off by less than a codec frame."""

    num_samples: int
    sample_rate: int
    channels: int

    @property
    def seconds(self) -> float:
        return self.num_samples / self.sample_rate


def read_info(source: Source | str, *, name: str = "") -> SoundInfo:
    """Length, rate and channels from the header; `name` stands in messages for the source.

    Raises:
        AudioError: the file doesn't exist, is not a sound file, or is empty.
        MissingExtra: PyAV would be needed.
    """
    name = name or str(source)
    info = _with_either(source, name, _probe_soundfile, _probe_av)
    if info.num_samples < 1:
        raise AudioError(f"{name} holds no samples; leave it out or replace it")
    return info


def read(
    source: Source | str, start: int = 0, stop: int | None = None, *, name: str = ""
) -> tuple[Float[Tensor, "channel sample"], int]:
    """Samples [start, stop) of a file, or all of them, and the sample rate in Hz.

    A stretch beyond the end is cut at the end, and may be empty. `name` stands in messages for the source.

    Raises:
        AudioError: the file doesn't exist, is not a sound file, is empty or damaged, or holds NaN or infinity.
        MissingExtra: PyAV would be needed.
    """
    name = name or str(source)
    samples, sample_rate = _with_either(
        source,
        name,
        lambda file: _decode_soundfile(file, start, stop),
        lambda file: _decode_av(file, start, stop),
    )
    if stop is None and start == 0 and not samples.shape[1]:
        raise AudioError(f"{name} holds no samples; leave it out or replace it")
    if not np.isfinite(samples).all():
        first = start + int(np.argmin(np.isfinite(samples).all(axis=0)))
        raise AudioError(f"{name} is not finite: NaN or infinity at sample {first}")
    return torch.from_numpy(samples), sample_rate


def exact_subtype(path: str | Path) -> str:
    """The sample format that holds a file's samples as `read` gives them: floats where it is coded otherwise.

    Raises:
        AudioError: the file doesn't exist.
    """
    try:
        with opened(path, str(path)) as place, soundfile.SoundFile(place) as file:
            return _EXACT.get(file.subtype, "float")
    except (soundfile.LibsndfileError, TypeError):
        return "float"


def _with_either(
    source: Source | str,
    name: str,
    by_soundfile: Callable[[soundfile.SoundFile], _Result],
    by_av: Callable[["InputContainer"], _Result],
) -> _Result:
    try:
        with opened(source, name) as place, soundfile.SoundFile(place) as file:
            return by_soundfile(file)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: .raw, which has no header
        unreadable = error
    try:
        av = require("av", "av")
    except MissingExtra as missing:
        if Path(name).suffix.lower() in AV_SUFFIXES:
            raise MissingExtra(f"{name} can't be read: {missing}") from missing
        raise AudioError(_unreadable(name)) from unreadable
    try:
        with opened(source, name) as place, av.open(place, options=AV_OPTIONS) as container:
            return by_av(container)
    except (av.FFmpegError, IndexError) as error:  # IndexError: no stream with sound
        raise AudioError(_unreadable(name)) from error


def _unreadable(name: str) -> str:
    return f"{name} is not a readable sound file; leave it out or replace it"


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
