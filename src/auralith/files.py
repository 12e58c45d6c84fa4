"""Files and folders written whole or not at all: under a temporary name in the same folder first, then renamed.

Whatever stops the writing (a full disk, Ctrl-C, an error while encoding), the old file is untouched and no part of the
new one is left. Where a folder is written to over a long time, one process at a time has the right to.
"""

import errno
import hashlib
import io
import json
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from auralith.errors import CheckpointError, InvalidRequest, ResourceError

try:
    import fcntl
except ImportError:  # Windows, where nothing that is left is ever cleared
    fcntl = None

_SLUG_LENGTH = 40
_LOCKING_SECONDS = 1.0
"""Between a file's making and its lock lie a few system calls."""


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file that appears under `path`, replacing an older one, only if the block succeeds.

    Raises `ResourceError` where it can't be written: no folder, no permission, no space. So it does where a library that
    writes to the file makes another error of that.
    """
    target = Path(path)
    _clear_once(target.parent.absolute())
    raw = None
    try:
        with _part(target, lambda name: _Watched(name, "xb")) as (temporary, raw):
            with io.BufferedWriter(raw) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
    except OSError as error:
        raise ResourceError(_reason(target, error)) from error
    finally:
        if raw is not None and raw.failure is not None:
            raise ResourceError(_reason(target, raw.failure)) from raw.failure


class _Watched(io.FileIO):
    """A file that remembers why it could not be written, whatever the writer makes of the error."""

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.failure = error
            raise


@contextmanager
def whole_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder that appears only if the block succeeds; write into the one it gives.

    Raises `CheckpointError` if there is something under that name already and it may not be replaced, `ResourceError` if
    it can't be written; what was there then stays.
    """
    target = Path(path)
    if not replace and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"{path} exists already; name a new folder")
    _clear_once(target.parent.absolute())
    try:
        with _part(target, _Folder) as (temporary, _):
            yield temporary
            if replace:
                _put_in_place(temporary, target)
            else:
                if target.exists():
                    target.rmdir()
                temporary.rename(target)
    except OSError as error:
        raise ResourceError(_reason(target, error)) from error


class _Folder:
    """A folder as something that is open and can be locked."""

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True)
        self._number = None if fcntl is None else os.open(path, os.O_RDONLY)

    def fileno(self) -> int:
        return -1 if self._number is None else self._number

    def close(self) -> None:
        if self._number is not None:
            os.close(self._number)


Made = TypeVar("Made", _Watched, _Folder)


@contextmanager
def _part(target: Path, make: Callable[[Path], Made]) -> Iterator[tuple[Path, Made]]:
    """Give the name of something half-written beside `target`, locked while this process lives, and then remove it."""
    temporary = target.with_name(f".auralith-{secrets.token_hex(4)}.part")
    try:
        made = make(temporary)
        # its own descriptor, as the writer closes the file before it is renamed
        lock = os.dup(made.fileno()) if fcntl is not None else None
        try:
            if lock is not None:
                _lock(lock)
            yield temporary, made
        finally:
            made.close()
            if lock is not None:
                os.close(lock)
    finally:
        _remove(temporary)


def _lock(number: int) -> bool:
    """Lock an open file or folder for this process; false where another one has it or the file system has no locks."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _put_in_place(fresh: Path, target: Path) -> None:
    """Rename a folder to `target`; what was there is removed, or comes back if that fails."""
    old = fresh.with_name(f"{fresh.name}.old")
    if target.exists():
        target.rename(old)
    try:
        fresh.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
    _remove(old)


@contextmanager
def exclusive(folder: str | Path) -> Iterator[None]:
    """The right to write in `folder`, which is made if need be, until the block ends or the process dies.

    A file system that has no locks gives it to everybody.

    Raises:
        InvalidRequest: another process has it.
        ResourceError: the folder can't be made or written.
    """
    folder = Path(folder)
    make_folder(folder)
    check_writable(folder / ".lock")
    # SQLite's lock of a file is on every platform, and goes with the process, however that ends
    lock = sqlite3.connect(
        folder / ".lock", timeout=0, isolation_level=None, check_same_thread=False
    )
    try:
        _take(lock, folder)
        yield
    finally:
        lock.close()


def _take(lock: sqlite3.Connection, folder: Path) -> None:
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.DatabaseError as error:
        if not isinstance(error, sqlite3.OperationalError):
            raise InvalidRequest(
                f"{folder / '.lock'} is damaged, or of another program; remove it if nothing works on {folder}"
            ) from error
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise InvalidRequest(
                f"another process works on {folder}; wait for it, or use another folder"
            ) from error


def make_folder(folder: Path) -> None:
    """Make a folder that may be there already; raises `ResourceError` where that can't be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ResourceError(
            f"{folder} can't be made ({error.strerror}); choose a place you can write to"
        ) from error


def clear_leftovers(folder: Path) -> None:
    """Remove what writers that were killed left half-written in `folder`; what a living process writes is locked."""
    for path in folder.glob(".auralith-*.part"):
        if _is_left(path):
            _remove(path)
    for path in folder.glob(".auralith-*.part.old"):  # what was being replaced
        if not path.with_suffix("").exists():
            _remove(path)


def _is_left(path: Path) -> bool:
    """Return whether nobody holds something half-written any more; old enough that its writer has had time to lock it."""
    if fcntl is None:
        return False
    try:
        if time.time() - path.lstat().st_mtime < _LOCKING_SECONDS:
            return False
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return _lock(number)
    finally:
        os.close(number)


# once for each folder that a process writes to: a look at it before each file would cost more with each file
_clear_once = cache(clear_leftovers)


def file_hash(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_file_hash(path: Path) -> str:
    """Return `file_hash`, computed once in a process for each path, size and time of modification."""
    facts = path.stat()
    return _hash_of(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=1 << 16)
def _hash_of(path: Path, _size: int, _modified_ns: int) -> str:
    return file_hash(path)


def canonical_json(value: object) -> str:
    """Return JSON with sorted keys and without spaces, for hashes; values that JSON lacks are written as text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)


def utc_now() -> str:
    """Return the time as files keep it: UTC, ISO 8601 with seconds, such as 2026-01-31T12:00:00Z."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def size_text(num_bytes: int) -> str:
    """Return a size in the unit that says something: "5.2 GiB", "310 MiB", "12 KiB"."""
    units = {"GiB": 2**30, "MiB": 2**20}
    unit = next((name for name, size in units.items() if num_bytes >= size), "KiB")
    amount = num_bytes / units.get(unit, 2**10)
    return f"{amount:.1f} {unit}" if amount < 100 else f"{amount:.0f} {unit}"


def slug(text: str) -> str:
    """A short file name from a text: its letters and digits, joined by hyphens."""
    words = "".join(c if c.isalnum() else " " for c in text.lower()).split()
    return "-".join(words)[:_SLUG_LENGTH].rstrip("-") or "sound"


def check_writable(path: str | Path) -> None:
    """Raise what `whole_file` would raise for this path, before any work is done; nothing is left behind."""
    if Path(path).is_dir():
        raise ResourceError(f"{path} is a folder; name a file in it")
    probe = Path(path).with_name(f".auralith-{secrets.token_hex(4)}.part")
    try:
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise ResourceError(_reason(Path(path), error)) from error


def _reason(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no disk space left for {path}; free some or write elsewhere"
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{path} can't be written ({reason}); choose a place you can write to"
