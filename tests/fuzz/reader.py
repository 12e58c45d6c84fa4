"""What a reader of foreign files is to the fuzzer, and what makes good files."""

import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from auralith.checksums import checksum_path

GOLDEN = Path(__file__).parents[1] / "golden"
_STATED = re.compile(rb'(?<="checksum": ")[0-9a-f]{64}')


@dataclass(frozen=True)
class Reader:
    """`make` writes a good `file` into a folder, with what it needs beside it; `read` reads it as a command would."""

    file: str
    make: Callable[[Path], object]
    read: Callable[[Path], object]
    seal: Callable[[Path], object] = lambda path: None
    """Makes the checksum that of the damaged file: what follows its comparison is to be tried."""


def copied(source: Path) -> Callable[[Path], object]:
    """Return what copies a file to where it is wanted."""
    return lambda path: shutil.copy(source, path)


def written(content: str) -> Callable[[Path], object]:
    """Return what writes a text to where it is wanted."""
    return lambda path: path.write_text(content)


def seal_beside(path: Path) -> None:
    """Write the checksum of a file beside it."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    checksum_path(path).write_text(f"{digest}  {path.name}\n")


def seal_inside(path: Path) -> None:
    """Write the checksum of a record into it, if its place is still there."""
    blank = _STATED.sub(b"0" * 64, path.read_bytes(), count=1)
    digest = hashlib.sha256(blank).hexdigest().encode()
    path.write_bytes(_STATED.sub(digest, blank, count=1))
