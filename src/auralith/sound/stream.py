"""A sound file from beginning to end in blocks, so that ten hours take no more memory than ten seconds.

libsndfile comes first; what it can't open goes to PyAV (the extra `av`: m4a, aac, wma, ...). A length in a header is a
hint: files are decoded to their end (`auralith.sound.mending`), and `disagreement` says where header and samples differ.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float

from auralith.errors import AudioError, MissingExtra
from auralith.extras import how_to_install, require
from auralith.sound.mending import Mended, mended
from auralith.sound.pyav import AvFile
from auralith.sound.sources import AV_SUFFIXES, Pieces, Source, opened

LOWEST_RATE_HZ, HIGHEST_RATE_HZ = 1_000, 768_000
"""Other rates are damaged headers; their filters would take gigabytes."""
LENGTH_TOLERANCE_SECONDS = 0.1
"""A codec's padding may make a file this much shorter or longer than its header says."""
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
_SEEKABLE = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW", "VORBIS", "OPUS", "MPEG_", "ALAC_")
"""libsndfile's encodings that go on after a seek as they would have without it."""
_SEEKABLE_CONTAINERS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3")
"""The same of its containers; PAF and SDS lose samples."""
_NO_LENGTH = 1 << 62
_MP3_PREROLL = 32 * 1_152
"""Samples decoded and dropped before a stretch: an MP3 frame may borrow bits from many frames before it, and
libsndfile's first ones after a seek are garbage (7,000 samples of it were measured)."""


class _Sequential(soundfile.SoundFile):
    """A file that `read` doesn't seek in after each block, which codecs with a state would not survive."""

    def seekable(self) -> bool:
        return False


@dataclass(frozen=True)
class SoundFormat:
    """Coding of a file, and the length that its header states."""

    sample_rate: int
    channels: int
    codec: str
    """"pcm_16", "flac", "mpeg_layer_iii", "vorbis", "aac", ..."""
    bits: int | None
    """Per sample; None where the codec is lossy."""
    header_samples: int | None
    """None where the header states no length."""
    decoder: str
    """Its name and version, since decoders of lossy files differ."""
    encoding: str = ""
    """libsndfile's name of the sample format; empty where PyAV decodes."""


@dataclass(frozen=True)
class SoundStream:
    """An open file. `blocks` may be read once."""

    name: str
    format: SoundFormat
    samples_there: int | None
    """Length as far as it can be told without decoding: never more than there is, but for FLAC and what PyAV reads."""
    _blocks: Callable[[int, int], Iterator[Float[np.ndarray, "sample channel"]]]
    is_cut: bool = False
    """True if the file breaks off, though its header does not state a length."""

    def blocks(
        self, start: int = 0, stop: int | None = None, *, allow_cut: bool = False
    ) -> Iterator[Float[np.ndarray, "sample channel"]]:
        """Samples [start, stop) in order, or all from `start` on, float32, full scale ±1.

        Raises:
            AudioError: "truncated", where decoding fails or the file ends before its header says; with `allow_cut` the
                samples end there. "format_changes", where the rate or the channels change on the way.
        """
        decoded = 0
        try:
            for block in self._blocks(start, _NO_LENGTH if stop is None else stop):
                decoded += len(block)
                yield block
        except AudioError as error:
            if error.reason_code != "truncated" or not (allow_cut and decoded):
                raise
        if not allow_cut and (stop is None or start + decoded < stop):
            self.require_whole(start + decoded)

    def finite_blocks(
        self, start: int = 0, stop: int | None = None, *, allow_cut: bool = False
    ) -> Iterator[Float[np.ndarray, "sample channel"]]:
        """Samples as `blocks` gives them; raises `AudioError` ("nan_samples") for NaN and infinity too."""
        decoded = start
        for block in self.blocks(start, stop, allow_cut=allow_cut):
            if not np.isfinite(block).all():
                first = decoded + int(np.argmin(np.isfinite(block).all(axis=1)))
                raise AudioError(
                    f"{self.name} is not finite: NaN or infinity at sample {first}", "nan_samples"
                )
            decoded += len(block)
            yield block

    def require_whole(self, num_samples: int | None) -> None:
        """Raise `AudioError` ("truncated") if the file breaks off, or a length is more than 0.1 s below its header's."""
        if self.is_cut:
            raise AudioError(f"{self.name} is cut short: it breaks off; replace it", "truncated")
        header, rate = self.format.header_samples, self.format.sample_rate
        if header is None or num_samples is None:
            return
        if header - num_samples > LENGTH_TOLERANCE_SECONDS * rate:
            raise AudioError(
                f"{self.name} is cut short: {(header - num_samples) / rate:.1f} of {header / rate:.1f} s"
                " are missing; replace it",
                "truncated",
            )

    def disagreement(self, num_samples: int) -> str | None:
        """One line if the header's length and the decoded one differ by more than 0.1 s."""
        header, rate = self.format.header_samples, self.format.sample_rate
        if header is None or abs(header - num_samples) <= LENGTH_TOLERANCE_SECONDS * rate:
            return None
        return f"its header says {header / rate:.2f} s, it holds {num_samples / rate:.2f} s"


@contextmanager
def open_sound(source: Source | str, name: str = "") -> Iterator[SoundStream]:
    """The stream of a file; `name` stands in messages for the source.

    Raises:
        AudioError: "missing_file", "empty_file", "unreadable_file", "not_audio", "missing_decoder", "unusual_rate",
            "format_changes".
    """
    name = name or ("the sound" if isinstance(source, bytes) else str(source))
    with opened(source, name) as raw:
        fixed = mended(raw, name)
        try:
            file = _Sequential(io.BufferedReader(fixed.file))
        except soundfile.LibsndfileError:
            with _opened_by_av(raw, name) as stream:
                yield _checked(stream)
            return
        with file:
            yield _checked(_soundfile_stream(file, fixed, name))


def is_lossless(codec: str) -> bool:
    """Return whether a codec, as `SoundFormat` names it, keeps every bit."""
    return codec.startswith(_LOSSLESS)


def _checked(stream: SoundStream) -> SoundStream:
    rate = stream.format.sample_rate
    if not LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ:
        limits = f"{LOWEST_RATE_HZ} … {HIGHEST_RATE_HZ} Hz are read"
        raise AudioError(f"{stream.name} has a sample rate of {rate} Hz; {limits}", "unusual_rate")
    return stream


def _soundfile_stream(file: soundfile.SoundFile, fixed: Mended, name: str) -> SoundStream:
    there = None if file.frames >= _NO_LENGTH else file.frames
    if there is not None and fixed.counted is not None:
        there = min(there, fixed.counted)
    if fixed.samples is not None:
        header = fixed.samples or None
    elif fixed.ratio is None or there is None:
        header = None
    else:
        header = round(there * fixed.ratio)
    codec = "flac" if file.format == "FLAC" else file.subtype.lower()
    form = SoundFormat(
        file.samplerate,
        file.channels,
        codec,
        _BITS.get(file.subtype),
        header,
        f"libsndfile {soundfile.__libsndfile_version__}",
        file.subtype,
    )
    known = there if fixed.samples is None else header
    return SoundStream(name, form, known, _SoundfileBlocks(file, fixed, name), fixed.is_cut)


class _SoundfileBlocks:
    """The samples of a file that libsndfile reads."""

    def __init__(self, file: soundfile.SoundFile, fixed: Mended, name: str) -> None:
        self._file, self._fixed, self._name = file, fixed, name

    def __call__(self, start: int, stop: int) -> Iterator[np.ndarray]:
        size = max(1, _BLOCK_VALUES // self._file.channels)
        stop = min(stop, self._fixed.counted or _NO_LENGTH)
        position = self._near(start)
        try:
            while position < stop:
                count = min(size, stop - position)
                # into a given array, since a read without one stops where the header says that the file ends
                block = self._file.read(out=np.empty((count, self._file.channels), np.float32))
                position += len(block)
                if position > start:
                    yield block[max(0, len(block) - (position - start)) :]
                if len(block) < count:
                    return
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{self._name} is cut short or damaged; replace it or fetch it again", "truncated"
            ) from error

    def _near(self, start: int) -> int:
        """Go to a sample at or before the start from which on decoding is exact, and say which it is."""
        preroll = _MP3_PREROLL if self._file.format == "MP3" else 0
        first = max(0, min(start - preroll, self._file.frames))
        exact = self._file.subtype.startswith(_SEEKABLE)
        if not first or not exact or self._file.format not in _SEEKABLE_CONTAINERS:
            return 0
        try:
            return self._file.seek(first)
        except (
            soundfile.LibsndfileError
        ):  # FLAC, beyond its end: what follows a failed seek is not reliable
            self._fixed.file.seek(0)
            self._file = _Sequential(io.BufferedReader(self._fixed.file))
            return 0


@contextmanager
def _opened_by_av(raw: Pieces, name: str) -> Iterator[SoundStream]:
    try:
        require("av", "av")
    except MissingExtra as missing:
        if Path(name).suffix.lower() in AV_SUFFIXES:
            raise AudioError(f"{name} can't be read: {missing}", "missing_decoder") from missing
        raise AudioError(
            f"{name} is not a readable sound file, or one that needs PyAV ({how_to_install('av')}); "
            "leave it out or replace it",
            "missing_decoder",
        ) from missing
    with AvFile.opened(raw, name) as file:
        form = SoundFormat(
            file.sample_rate,
            file.channels,
            file.codec,
            file.bits if is_lossless(file.codec) else None,
            file.header_samples,
            file.decoder,
        )
        yield SoundStream(
            name,
            form,
            file.header_samples,
            lambda start, stop: file.blocks(start, stop, _BLOCK_VALUES),
        )


@dataclass(frozen=True)
class Mono:
    """An open sound. `blocks` may be read once; it raises `AudioError` ("truncated", "nan_samples")."""

    sample_rate: int
    blocks: Iterator[Float[np.ndarray, " sample"]]


@contextmanager
def open_mono(path: Path) -> Iterator[Mono]:
    """The sound of a file, float32, full scale ±1. Raises `AudioError` as `open_sound` does."""
    with open_sound(path) as stream:
        yield Mono(
            stream.format.sample_rate, (block.mean(axis=1) for block in stream.finite_blocks())
        )


def read_seconds(path: Path) -> float:
    """Return how long a sound is, all of it decoded. Raises `AudioError` as `open_mono` and its blocks do."""
    with open_mono(path) as sound:
        return sum(len(block) for block in sound.blocks) / sound.sample_rate
