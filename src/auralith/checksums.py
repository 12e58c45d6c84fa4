"""A byte of our own files that is no longer what was written is noticed: SHA-256 beside large files, inside small ones.

A large file has its checksum beside it, as `sha256sum` writes it and checks it. A small one, which is replaced again and
again, has it inside, so that no kill can part the two. Files of versions without checksums are still read.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from auralith.files import file_hash, whole_file
from auralith.foreign import parse_json

FORMAT = 2
"""The format of records, and of the folders that they describe, which has checksums; format 1 has none."""
_BLANK = b"0" * 64
_STATED = re.compile(rb'\{\s*"checksum": "([0-9a-f]{64})"')


@contextmanager
def file_with_checksum(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write, as `whole_file` does, and keep its checksum beside it.

    The checksum comes first: after a kill in between, an older file is seen to be another.
    """
    with whole_file(path) as file:
        yield file
        file.flush()
        line = _line(path, file_hash(file.name))
        with whole_file(checksum_path(path)) as beside:
            beside.write(line)


def checksum_path(path: Path) -> Path:
    """Return where the checksum of a file is kept."""
    return path.with_name(f"{path.name}.sha256")


def has_its_checksum(path: Path) -> bool | None:
    """Return whether a file's bytes are those of the checksum beside it; None without a checksum.

    Raises:
        OSError: one of the two can't be read.
    """
    try:
        with checksum_path(path).open("rb") as file:
            stated = file.read(len(_line(path, "")) + len(_BLANK) + 1)
    except FileNotFoundError:
        return None
    return stated == _line(path, file_hash(path))


def _line(path: Path, digest: str) -> bytes:
    return f"{digest}  {path.name}\n".encode()


def write_record(path: Path, values: Mapping[str, Any]) -> None:
    """Write an object as JSON that begins with its checksum: the SHA-256 of the text with zeros in its place."""
    blank = {"checksum": _BLANK.decode(), "format": FORMAT, **values}
    text = json.dumps(blank, indent=1, ensure_ascii=False, allow_nan=False).encode()
    with whole_file(path) as file:
        file.write(text.replace(_BLANK, hashlib.sha256(text).hexdigest().encode(), 1))


def read_record(path: Path) -> dict[str, Any]:
    """Return what `write_record` wrote, with its `format`; it has 1 where a version without checksums wrote it.

    Raises:
        ValueError: it is something else, or a byte is not what was written.
        OSError: it can't be read.
    """
    text = path.read_bytes()
    values = parse_json(text)
    if not isinstance(values, dict):
        raise ValueError("it is not an object")
    stated = _STATED.match(text)
    if stated is not None:
        blank = text[: stated.start(1)] + _BLANK + text[stated.end(1) :]
        if hashlib.sha256(blank).hexdigest().encode() != stated[1]:
            raise ValueError("its checksum is another")
        del values["checksum"]
        if "format" not in values:
            raise ValueError("its format is missing")
    elif values.setdefault("format", 1) == FORMAT:
        raise ValueError("its checksum is missing")
    return values
