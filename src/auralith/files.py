"""Files and folders written whole or not at all: under a temporary name in the same folder first, then renamed.

Whatever stops the writing (a full disk, Ctrl-C, an error while encoding), the old file is untouched and no part of the
new one is left. Where a folder is written to over a long time, one process at a time has the right to.
"""

import errno
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from auralith.errors import CheckpointError, InvalidRequest, ResourceError

_SLUG_LENGTH = 40


@contextmanager
def whole_file(path: str | Path) -> Iterator[BinaryIO]:
    """A file that appears under `path`, replacing an older one, only if the block succeeds.

    Raises `ResourceError` where it can't be written: no folder, no permission, no space.
    """
    target = Path(path)
    temporary = target.with_name(f".auralith-{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise ResourceError(_reason(target, error)) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def whole_folder(path: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder that appears only if the block succeeds; write into the one it gives.

    Raises `CheckpointError` if there is something under that name already and it may not be replaced, `ResourceError` if
    it can't be written; what was there then stays.
    """
    target = Path(path)
    if not replace and target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"{path} exists already; name a new folder")
    temporary = target.with_name(f".auralith-{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if replace:
            _put_in_place(temporary, target)
        else:
            if target.exists():
                target.rmdir()
            temporary.rename(target)
    except OSError as error:
        raise ResourceError(_reason(target, error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
    if old.is_dir() and not old.is_symlink():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.unlink(missing_ok=True)


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
    """Remove what writers that were killed left half-written in `folder`; for who alone writes there."""
    for path in folder.glob(".auralith-*.part"):
        with suppress(OSError):
            path.unlink()


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
        probe.unlink()
    except OSError as error:
        raise ResourceError(_reason(Path(path), error)) from error


def _reason(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no disk space left for {path}; free some or write elsewhere"
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"{path} can't be written ({reason}); choose a place you can write to"
