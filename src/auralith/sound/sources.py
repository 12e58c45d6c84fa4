"""Sources of a sound's bytes: a file, a member of a tar file, or memory; and which files are taken for sounds.

Decoders get open files, never names: a name could be taken for a URL, or hold bytes that are not text.
"""

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from auralith.errors import AudioError
from auralith.tables.parquet import SoundCell

AV_SUFFIXES = frozenset(
    ".m4a .m4b .mp4 .m4v .mov .aac .wma .asf .webm .mka .mkv .ac3 .eac3 .ape .wv .tta .mpc .avi".split()
)
"""Files that need PyAV; those that libsndfile reads are in `SOUND_SUFFIXES` too."""

SOUND_SUFFIXES = AV_SUFFIXES | frozenset(
    ".wav .wave .flac .ogg .oga .opus .mp3 .mp2 .aif .aiff .aifc .caf .au .snd .w64 .rf64".split()
)
"""Suffixes of sound files in a folder or a shard that holds other files too; a table may name any file."""

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


Source = Path | Member | SoundCell | bytes
Piece = bytes | tuple[int, int]
"""Bytes, or the offset and the size of a stretch of a file."""


@contextmanager
def opened(source: Source | str, name: str) -> Iterator["Pieces"]:
    """The bytes of a source as a file of their own; `name` stands in messages.

    Raises:
        AudioError: "missing_file", "empty_file", "unreadable_file".
    """
    if isinstance(source, SoundCell):
        source = source.read() or _beside(source, name)
    if isinstance(source, bytes):
        if not source:
            raise _empty(name)
        yield Pieces(io.BytesIO(source), [source])
        return
    path = source.path if isinstance(source, Member) else Path(source)
    if not os.path.isfile(path):  # unlike Path.is_file, false for a name too long to exist
        raise AudioError(
            f"{name} doesn't exist as a file; correct its path or leave it out", "missing_file"
        )
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise AudioError(
            f"{name} can't be read ({error.strerror}); look at its permissions and its disk",
            "unreadable_file",
        ) from error
    with file:
        size = os.fstat(file.fileno()).st_size
        place = (source.offset, source.size) if isinstance(source, Member) else (0, size)
        if not place[1]:
            raise _empty(name)
        yield Pieces(file, [place])


def _beside(cell: SoundCell, name: str) -> Path:
    """The file that a cell names, for a sound that is not inside of its table."""
    if cell.file is None:
        raise AudioError(f"{name} has no bytes in its table; leave it out", "empty_file")
    return cell.file


def _empty(name: str) -> AudioError:
    return AudioError(f"{name} is empty; leave it out or fetch it again", "empty_file")


class Pieces(io.RawIOBase):
    """Stretches of a file and bytes between them, seen as one file that begins and ends with them."""

    def __init__(self, file: BinaryIO | io.IOBase, pieces: Sequence[Piece]) -> None:
        self._file, self._pieces, self._position = file, pieces, 0
        sizes = [len(piece) if isinstance(piece, bytes) else piece[1] for piece in pieces]
        self._starts = [sum(sizes[:i]) for i in range(len(sizes))]
        self.size = sum(sizes)

    def cut(self, start: int, stop: int) -> list[Piece]:
        """The pieces of the stretch [start, stop)."""
        found: list[Piece] = []
        for begins, piece in zip(self._starts, self._pieces, strict=True):
            size = len(piece) if isinstance(piece, bytes) else piece[1]
            low, high = max(start - begins, 0), min(stop - begins, size)
            if low < high:
                is_bytes = isinstance(piece, bytes)
                found.append(piece[low:high] if is_bytes else (piece[0] + low, high - low))
        return found

    def replaced(self, start: int, new: bytes) -> "Pieces":
        """The same file with other bytes at an offset."""
        before, after = self.cut(0, start), self.cut(start + len(new), self.size)
        return Pieces(self._file, [*before, new, *after])

    def of(self, pieces: Sequence[Piece]) -> "Pieces":
        """Other pieces of the same file."""
        return Pieces(self._file, pieces)

    def bytes_at(self, start: int, size: int) -> bytes:
        """Up to `size` bytes from an offset; the position stays."""
        before = self._position
        self.seek(start)
        found = b""
        while len(found) < size and (part := self.read(size - len(found))):
            found += part
        self._position = before
        return found

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}
        self._position = max(0, origin[whence] + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        for begins, piece in zip(self._starts, self._pieces, strict=True):
            size = len(piece) if isinstance(piece, bytes) else piece[1]
            inside = self._position - begins
            if 0 <= inside < size:
                view = memoryview(buffer)[: size - inside]
                count = self._fill(view, piece, inside)
                self._position += count
                return count
        return 0

    def _fill(self, view: memoryview, piece: Piece, inside: int) -> int:
        if isinstance(piece, bytes):
            view[:] = piece[inside : inside + len(view)]
            return len(view)
        self._file.seek(piece[0] + inside)
        return self._file.readinto(view) or 0  # type: ignore[union-attr]
