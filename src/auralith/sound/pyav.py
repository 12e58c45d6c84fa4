"""Sound by PyAV (the extra `av`): m4a, aac, wma, webm and all else that libsndfile doesn't know."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from auralith.errors import AudioError
from auralith.extras import LazyModule
from auralith.sound.sources import AV_OPTIONS, Pieces

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container.input import InputContainer

av = LazyModule("av", "av")
_PREROLL = 16 * 1_024
"""Samples decoded and dropped before a stretch: an AAC frame overlaps the one before it. Bands that AAC codes as noise
come out as other noise of the same energy; all else is the whole file's, sample for sample."""


class AvFile:
    """An open container, and the first stream of sound in it."""

    def __init__(self, container: "InputContainer", stream: "AudioStream", name: str) -> None:
        self._container, self._stream, self._name = container, stream, name
        self.sample_rate, self.channels = stream.rate, stream.channels
        context = stream.codec_context
        self.codec = context.name
        self.bits = context.format.bits if context.format else None
        self.decoder = f"PyAV {av.__version__}"

    @classmethod
    @contextmanager
    def opened(cls, raw: Pieces, name: str) -> Iterator["AvFile"]:
        """The sound of a file. Raises `AudioError` ("not_audio", "unknown_codec")."""
        not_audio = AudioError(
            f"{name} is not a readable sound file; leave it out or replace it", "not_audio"
        )
        raw.seek(0)
        try:
            # a title that is not UTF-8 makes no sound unreadable
            container = av.open(
                io.BufferedReader(raw), options=AV_OPTIONS, metadata_errors="replace"
            )
        except (av.FFmpegError, ValueError) as error:
            raise not_audio from error
        with container:
            if not container.streams.audio:
                raise not_audio
            stream = container.streams.audio[0]
            if stream.codec_context is None or not stream.rate or not stream.channels:
                raise AudioError(
                    f"{name} holds sound of a codec that isn't known; convert it", "unknown_codec"
                )
            yield cls(container, stream, name)

    @property
    def header_samples(self) -> int | None:
        """The length that the container states; without an index it would be a guess from the bit rate."""
        stream = self._stream
        if stream.duration and stream.time_base and self._container.format.name != "aac":
            return round(stream.duration * stream.time_base * stream.rate)
        if self._container.duration and self._container.format.name not in ("aac", "ac3", "eac3"):
            return round(self._container.duration / 1e6 * stream.rate)
        return None

    def blocks(self, start: int, stop: int, values: int) -> Iterator[np.ndarray]:
        """Samples [start, stop) as (sample, channel), in blocks of about so many values. Raises `AudioError`."""
        parts: list[np.ndarray] = []
        try:
            for part in self._stretch(start, stop):
                parts.append(part)
                if sum(part.size for part in parts) >= values:
                    yield np.concatenate(parts)
                    parts = []
        except (av.FFmpegError, ValueError) as error:
            if parts:
                yield np.concatenate(parts)
            raise AudioError(
                f"{self._name} is cut short or damaged; replace it or fetch it again", "truncated"
            ) from error
        if parts:
            yield np.concatenate(parts)

    def _stretch(self, start: int, stop: int) -> Iterator[np.ndarray]:
        position = self._seek(start)
        to_float = av.AudioResampler(format="flt")
        for frame in self._container.decode(self._stream):
            self._require_same(frame)
            position = (frame.pts or 0) if position is None else position
            for part in to_float.resample(frame):
                samples = part.to_ndarray().reshape(-1, self.channels)
                yield samples[max(0, start - position) : max(0, stop - position)]
                position += len(samples)
            if position >= stop:
                return

    def _require_same(self, frame: "AudioFrame") -> None:
        """Before anything is converted: a frame of eight planes crashes a converter that was made for two."""
        found = frame.sample_rate, frame.layout.nb_channels
        if found != (self.sample_rate, self.channels):
            raise AudioError(
                f"{self._name} changes from {self.channels} channels at {self.sample_rate} Hz to {found[1]} at"
                f" {found[0]} Hz on the way; cut it there",
                "format_changes",
            )

    def _seek(self, start: int) -> int | None:
        """Go near a start: None if that worked and the next frame says where it is, which takes an index and a clock
        that counts samples (m4a); else 0, the beginning."""
        stream = self._stream
        exact = stream.frames and stream.time_base == Fraction(1, stream.rate)
        if not exact or start <= _PREROLL:
            return 0
        self._container.seek(start - _PREROLL, stream=stream)
        return None
