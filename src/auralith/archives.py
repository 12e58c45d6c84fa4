"""Archives unpacked into a new folder: Debian packages, tar in its compressions, zip and its kin (wheels, pk3).

Nothing of an archive is trusted. A member that would leave the folder refuses the whole archive; links and devices are
left out; what is unpacked must fit on the disk. An archive inside the archive becomes a folder of its name.
"""

import io
import lzma
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from auralith.errors import InvalidRequest, ResourceError
from auralith.files import whole_folder

SUFFIXES = (
    *(".deb", ".zip", ".whl", ".jar", ".pk3", ".pk4", ".h2drumkit"),
    *(".tar", ".tgz", ".tar.gz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2"),
)
"""Endings of the names of archives, in lower case."""
DEEPEST = 2
"""Number of archives around an inner one that is still unpacked."""
SPARE_BYTES = 256 << 20
"""Space that is left free on the disk."""
_AR = b"!<arch>\n"
_AR_HEADER = 60
_UNSAFE = re.compile(r"^[\\/]|^[A-Za-z]:|(?:^|[\\/])\.\.(?:[\\/]|$)|[\x00-\x1f\x7f\ud800-\udfff]")
_BROKEN = (
    *(tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, ValueError, NotImplementedError, RuntimeError, UnicodeError),
)
"""Errors that the readers raise for damaged, encrypted or unknown contents."""


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    open: Callable[[], IO[bytes] | None]


def is_archive(path: str | PurePosixPath) -> bool:
    """Return whether a name is that of an archive."""
    return str(path).lower().endswith(SUFFIXES)


def unpack(archive: Path, folder: Path) -> int:
    """Unpack an archive, and the archives in it, into a new folder; return the number of files.

    Raises:
        InvalidRequest: it can't be read, or has a member that would lie outside of the folder.
        ResourceError: it doesn't fit on the disk, or the folder can't be written.
        CheckpointError: the folder exists already.
    """
    with whole_folder(folder) as part:
        return _unpack(archive, part, 0, archive.name)


def _unpack(archive: Path, folder: Path, depth: int, shown: str) -> int:
    """Unpack into an existing folder. `shown` is the name that messages give the archive."""
    count = 0
    try:
        with _members(archive) as members:
            files = [_checked(member, shown) for member in members]
            _require_space(sum(member.size for member in files), folder, shown)
            for member in files:
                count += _write(member, folder, shown)
    except _BROKEN as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InvalidRequest(f"{shown} can't be unpacked ({reason}); get it again") from error
    if depth < DEEPEST:
        for inner in sorted(path for path in folder.rglob("*") if is_archive(path.name)):
            if inner.is_file() and not inner.is_symlink():
                count += _in_place(inner, depth + 1, shown) - 1
    return count


def _in_place(archive: Path, depth: int, outer: str) -> int:
    """Make an archive inside another one a folder of the same name."""
    packed = archive.with_name(f".{archive.name}.packed")
    archive.rename(packed)
    archive.mkdir()
    count = _unpack(packed, archive, depth, f"{outer}: {archive.name}")
    packed.unlink()
    return count


def _checked(member: _Member, shown: str) -> _Member:
    if not member.name or _UNSAFE.search(member.name):
        raise InvalidRequest(
            f"{shown} has a member {member.name[:200]!r} that would lie outside of its folder; it is not unpacked"
        )
    return member


def _require_space(size: int, folder: Path, shown: str) -> None:
    free = shutil.disk_usage(folder).free
    if size + SPARE_BYTES > free:
        raise ResourceError(
            f"{shown} unpacks to {size / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free on the disk; make room"
        )


def _write(member: _Member, folder: Path, shown: str) -> int:
    """Write a member and return 1. Raise `InvalidRequest` if two members lie in one place."""
    target = folder.joinpath(*PurePosixPath(member.name).parts)
    source = member.open()
    if source is None:
        return 0
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with source, target.open("xb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
    except (FileExistsError, NotADirectoryError) as error:
        raise InvalidRequest(f"{shown} has two members {member.name[:200]!r}") from error
    return 1


@contextmanager
def _members(archive: Path) -> Iterator[list[_Member]]:
    """Give the regular files of an archive. Raise `InvalidRequest` if it can't be opened or is of no known form."""
    try:
        file = archive.open("rb")
    except OSError as error:
        raise InvalidRequest(f"{archive} can't be read ({error.strerror})") from error
    with file:
        start = file.read(len(_AR))
        file.seek(0)
        if start[:2] == b"PK":
            with zipfile.ZipFile(file) as packed:
                yield _of_zip(packed)
            return
        data = _data_of_package(file) if start == _AR else file
        with tarfile.open(fileobj=data, mode="r:*") as tar:
            yield _of_tar(tar)


def _of_tar(tar: tarfile.TarFile) -> list[_Member]:
    """Return the files of a tar archive; a hard link is the file that it names, symbolic links are left out."""
    return [
        _Member(one.name.removeprefix("./"), one.size, lambda one=one: tar.extractfile(one))
        for one in tar.getmembers()
        if one.isfile() or one.islnk()
    ]


def _of_zip(packed: zipfile.ZipFile) -> list[_Member]:
    return [
        _Member(one.filename, one.file_size, lambda one=one: packed.open(one))
        for one in packed.infolist()
        if not one.is_dir() and (one.external_attr >> 28) != 0xA  # a symbolic link
    ]


def _data_of_package(file: io.BufferedReader) -> io.BufferedReader:
    """Return the files of a Debian package, an `ar` archive whose member data.tar.* holds them (deb(5))."""
    file.seek(len(_AR))
    while len(header := file.read(_AR_HEADER)) == _AR_HEADER:
        name, size = header[:16].decode("ascii").rstrip(" /"), int(header[48:58])
        if name.startswith("data.tar"):
            return io.BufferedReader(_Section(file, file.tell(), size))
        file.seek(size + size % 2, 1)
    raise ValueError("no data.tar in it")


class _Section(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, file: io.BufferedReader, start: int, size: int) -> None:
        self._file, self._start, self._size, self._at = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        length = max(0, min(len(buffer), self._size - self._at))
        read = self._file.readinto(memoryview(buffer)[:length])
        self._at += read
        return read
