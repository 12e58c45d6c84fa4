"""Where the bytes of a sound are: a file, or a member of a tar file; and which files are taken for sounds."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from auralith.errors import AudioError
from auralith.tables.cells import has_surrogates
from auralith.tables.parquet import SoundCell

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


@dataclass(frozen=True, slots=True)
class Member:
    """Bytes inside a bigger file: a member of an uncompressed tar."""

    path: Path
    offset: int
    size: int


Source = Path | Member | SoundCell


@contextmanager
def opened(source: Source | str, name: str) -> Iterator[str | BinaryIO]:
    """What both libraries open: a path, or a file: the bytes of a member or cell, or one whose name is not UTF-8."""
    if isinstance(source, SoundCell):
        yield _cell(source, name)
        return
    path = source.path if isinstance(source, Member) else Path(source)
    if not os.path.isfile(path):  # unlike Path.is_file, false for a name too long to exist
        raise AudioError(f"{name} doesn't exist; correct its path or leave it out")
    if not isinstance(source, Member):
        if not has_surrogates(str(source)):
            yield str(source)
            return
        with path.open("rb") as file:  # neither library takes the bytes of such a name
            yield file
        return
    with path.open("rb", buffering=0) as file, io.BufferedReader(_Window(file, source)) as window:
        yield window


def _cell(source: SoundCell, name: str) -> BinaryIO:
    content = source.read()
    if content is None:
        raise AudioError(f"{name} has no bytes in its table; leave it out")
    return io.BytesIO(content)


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
