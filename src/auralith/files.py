"""Files and folders written whole or not at all: under a temporary name in the same folder first, then renamed.

Whatever stops the writing (a full disk, Ctrl-C, an error while encoding), the old file is untouched and no part of the
new one is left.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from auralith.errors import CheckpointError, ResourceError

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
def whole_folder(path: str | Path) -> Iterator[Path]:
    """A folder that appears only if the block succeeds; write into the one it gives.

    Raises `CheckpointError` if there is something under that name already, `ResourceError` if it can't be written.
    """
    target = Path(path)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CheckpointError(f"{path} exists already; name a new folder")
    temporary = target.with_name(f".auralith-{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        if target.exists():
            target.rmdir()
        temporary.rename(target)
    except OSError as error:
        raise ResourceError(_reason(target, error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


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
