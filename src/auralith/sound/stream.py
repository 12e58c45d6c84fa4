"""A sound file from beginning to end in blocks, so that ten hours take no more memory than ten seconds.

libsndfile comes first; what it can't open goes to PyAV (the extra `av`: m4a, aac, wma, ...), which may use only the
demuxers named here, since a playlist would make it open other files. What is wrong with a file is `AudioError`,
whose reason code goes into the recording's row.
"""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from jaxtyping import Float

from auralith.errors import AudioError, MissingExtra
from auralith.extras import require
from auralith.sound.sources import AV_OPTIONS

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container.input import InputContainer

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000
"""Other rates are damaged headers; their filters would take gigabytes."""
_BLOCK_VALUES = 131_072
"""Samples times channels of a block."""
_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32} | {
    "DOUBLE": 64,
    "ALAC_16": 16,
    "ALAC_20": 20,
    "ALAC_24": 24,
    "ALAC_32": 32,
}
_LOSSLESS = ("pcm_", "float", "double", "alac", "flac", "ape", "tta", "wavpack")
_STREAMED_BYTES = 0x7FFF_0000
"""A chunk that claims more was written to a pipe, whose length nobody knew."""
_CUT_CHUNK = re.compile(r"^ *(?:data|SSND) *: (\d+) \(should be (\d+)\)", re.MULTILINE)


@dataclass(frozen=True)
class SoundFormat:
    """How a file is coded, and what its header says of its length."""

    sample_rate: int
    channels: int
    codec: str
    """"pcm_16", "flac", "mpeg_layer_iii", "vorbis", "aac", ..."""
    bits: int | None
    """Per sample; None where the codec is lossy."""
    header_samples: int | None
    decoder: str
    """Its name and version, since decoders of lossy files differ."""


@dataclass(frozen=True)
class SoundStream:
    """An open file. `blocks` may be read once."""

    format: SoundFormat
    blocks: Callable[[], Iterator[Float[np.ndarray, "sample channel"]]]
    """All samples in order, float32, full scale ±1. Raises `AudioError` ("truncated") where decoding fails."""


@contextmanager
def open_sound(path: Path) -> Iterator[SoundStream]:
    """The stream of a file.

    Raises:
        AudioError: "missing_file", "empty_file", "not_audio", "missing_decoder", "unusual_rate", "truncated".
    """
    if not os.path.isfile(path):  # unlike Path.is_file, false for a name too long to exist
        raise AudioError(f"{path} doesn't exist; correct its path or leave it out", "missing_file")
    if not path.stat().st_size:
        raise AudioError(f"{path} is empty; fetch it again", "empty_file")
    try:
        file = soundfile.SoundFile(str(path))
    except (soundfile.LibsndfileError, TypeError):  # TypeError: .raw, which has no header
        with _opened_by_av(path) as stream:
            yield _checked(stream, path)
        return
    with file:
        stream = SoundStream(_soundfile_format(file), lambda: _soundfile_blocks(file, path))
        yield _checked(stream, path)


def is_lossless(codec: str) -> bool:
    """Whether a codec, as `SoundFormat` names it, keeps every bit."""
    return codec.startswith(_LOSSLESS)


def _checked(stream: SoundStream, path: Path) -> SoundStream:
    rate = stream.format.sample_rate
    if not LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ:
        limits = f"{LOWEST_RATE_HZ} … {HIGHEST_RATE_HZ} Hz are read"
        raise AudioError(f"{path} has a sample rate of {rate} Hz; {limits}", "unusual_rate")
    return stream


def _truncated(path: Path) -> AudioError:
    return AudioError(f"{path} is cut short or damaged; fetch it again", "truncated")


def _soundfile_format(file: soundfile.SoundFile) -> SoundFormat:
    codec = "flac" if file.format == "FLAC" else file.subtype.lower()
    version = f"libsndfile {soundfile.__libsndfile_version__}"
    bits = _BITS.get(file.subtype)
    return SoundFormat(file.samplerate, file.channels, codec, bits, file.frames, version)


def _soundfile_blocks(file: soundfile.SoundFile, path: Path) -> Iterator[np.ndarray]:
    size = max(1, _BLOCK_VALUES // file.channels)
    decoded = 0
    while True:
        try:
            # into a given array, since a read without one stops where the header says that the file ends
            block = file.read(out=np.empty((size, file.channels), np.float32))
        except soundfile.LibsndfileError as error:
            raise _truncated(path) from error
        decoded += len(block)
        if len(block):
            yield block
        if len(block) < size:
            break
    if _is_cut(file, decoded, path):
        raise _truncated(path)


def _is_cut(file: soundfile.SoundFile, decoded: int, path: Path) -> bool:
    """Whether a file lacks its end. MP3 can't be told: its header may be a guess."""
    if file.format == "OGG":
        return not _has_last_page(path)
    if cut := _CUT_CHUNK.search(
        file.extra_info
    ):  # libsndfile corrects the length and tells only its log
        claimed, there = (int(number) for number in cut.groups())
        return there < claimed < _STREAMED_BYTES
    return file.format == "FLAC" and decoded < file.frames


def _has_last_page(path: Path) -> bool:
    """Whether the last Ogg page is marked as the end of its stream (RFC 3533, section 6: flag 4 of byte 5)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 131_072))  # two pages at least
        tail = file.read()
    page = tail.rfind(b"OggS")
    return page >= 0 and len(tail) > page + 5 and bool(tail[page + 5] & 4)


@contextmanager
def _opened_by_av(path: Path) -> Iterator[SoundStream]:
    not_audio = AudioError(f"{path} is not a sound file; leave it out", "not_audio")
    try:
        av = require("av", "av")
    except MissingExtra as missing:
        raise AudioError(f"{path} can't be read: {missing}", "missing_decoder") from missing
    try:
        container = av.open(str(path), options=AV_OPTIONS)
    except av.FFmpegError as error:
        raise not_audio from error
    with container:
        if not container.streams.audio:
            raise not_audio
        stream = container.streams.audio[0]
        yield SoundStream(_av_format(container, stream), lambda: _av_blocks(container, path))


def _av_format(container: "InputContainer", stream: "AudioStream") -> SoundFormat:
    context = stream.codec_context
    samples = None
    if stream.duration and stream.time_base:
        samples = round(stream.duration * stream.time_base * stream.rate)
    elif container.duration:
        samples = round(container.duration / 1e6 * stream.rate)
    bits = context.format.bits if is_lossless(context.name) and context.format else None
    version = f"PyAV {require('av', 'av').__version__}"
    return SoundFormat(stream.rate, stream.channels, context.name, bits, samples, version)


def _av_blocks(container: "InputContainer", path: Path) -> Iterator[np.ndarray]:
    """Blocks of a few codec frames each, since one frame at a time costs more in calls than in work."""
    av = require("av", "av")
    stream = container.streams.audio[0]
    to_float = av.AudioResampler(format="flt")
    parts: list[np.ndarray] = []
    try:
        for frame in container.decode(stream):
            parts += [
                part.to_ndarray().reshape(-1, stream.channels) for part in to_float.resample(frame)
            ]
            if sum(part.size for part in parts) >= _BLOCK_VALUES:
                yield np.concatenate(parts)
                parts = []
    except (av.FFmpegError, ValueError) as error:  # ValueError: rate or channels change on the way
        raise _truncated(path) from error
    if parts:
        yield np.concatenate(parts)
