"""Rows of a source as recordings: the columns of `recordings`, paths that stay below the root, and the interface of sources.

A row that can't become a recording raises `BadRow` with its reason code: no id, a path that leaves the root, a value of
the wrong kind. A malformed number only becomes null. Text stays as it was written, since attribution repeats it.
"""

import math
import os
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from auralith.errors import InvalidRequest
from auralith.tables.cells import existing_name

FREESOUND, FMA = "freesound", "fma"
Record = dict[str, Any]
"""Columns of `recordings`; one that is left out is null. Lists are tuples, so that records can be compared."""
NUMERIC_IDS = (FREESOUND, FMA)
"""Sources whose ids are whole numbers."""
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")
CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
"""Characters that no name may have: controls, and bytes that weren't UTF-8."""
_LEAVES = re.compile(r"^[\\/]|^[A-Za-z]:|(?:^|[\\/])\.\.(?:[\\/]|$)")
"""Matches absolute paths, Windows drives, and `..` between the separators of either system."""
SLICE_ROWS = 20_000
"""Rows of one file in the store, which is the number held in memory at a time."""


class BadRow(ValueError):
    """A row that can't become a recording; it is kept among the rejected ones."""

    def __init__(self, reason_code: str) -> None:
        super().__init__(reason_code)
        self.reason_code = reason_code


def identity(source: str, written: object) -> Record:
    """Return rec_id, source and source_id. Raises `BadRow` if the id is missing or invalid for the source."""
    id = (text(written) or "").strip()
    if not id:
        raise BadRow("no_id")
    if source in NUMERIC_IDS:
        if not (id.isascii() and id.isdigit() and len(id) < 19):
            raise BadRow("bad_id")
        id = str(int(id))
    if CONTROL.search(id):
        raise BadRow("bad_id")
    return {"rec_id": f"{source}:{id}", "source": source, "source_id": id}


def text(value: object) -> str | None:
    """Return a value as text, unchanged, or None if it is blank. Raises `BadRow` for a list or an object."""
    if isinstance(value, str):
        return value if value and not value.isspace() else None
    if value is None:
        return None
    if isinstance(value, date | datetime):
        return value.isoformat()
    if isinstance(value, bool | int | float):
        return str(value)
    raise BadRow("bad_value")


def words(value: object, separator: str | None = None) -> tuple[str, ...] | None:
    """Return the parts of a list, or of a text split at the separator (default: white space), without blank ones."""
    if value is None or isinstance(value, str):
        parts = (value or "").split(separator)
    elif isinstance(value, list | tuple):
        parts = [text(part) or "" for part in value]
    else:
        raise BadRow("bad_value")
    return tuple(part.strip() for part in parts if part.strip()) or None


def seconds(value: object) -> float | None:
    """Return a duration in seconds from a number, `MM:SS` or `HH:MM:SS`; None for anything else and for negative ones."""
    total = 0.0
    try:
        for part in str(value).split(":"):
            total = total * 60 + float(part)
    except ValueError:
        return None
    return total if math.isfinite(total) and total >= 0 else None


def year(value: object) -> int | None:
    """Return a year of four digits, or that of a date that begins or ends with it; None otherwise."""
    written = str(value).split(" ")[0].split("T")[0]
    for part in (written[:4], written[-4:]):
        if part.isascii() and part.isdigit() and len(part) == 4 and part >= "1000":
            return int(part)
    return None


def flag(value: object) -> bool | None:
    """Return a truth value from itself or from text; None for anything else."""
    written = str(value).strip().casefold()
    return True if written in _TRUE else False if written in _FALSE else None


def named_path(value: object, root: Path | None) -> str | None:
    """Return a path that the row names, relative to the root. Raises `BadRow` if it leaves the root."""
    if (path := text(value)) is None:
        return None
    return _checked(path, root)


def fma_path(id: str, root: Path | None) -> str | None:
    """Return the path of a track in FMA's public dumps; None if the file isn't there, as the sounds may be elsewhere."""
    path = f"{int(id) // 1000:03d}/{int(id):06d}.mp3"
    return _checked(path, root) if root and (root / path).exists() else None


def _checked(path: str, root: Path | None) -> str:
    """Return a path below the root, with this system's separators if only that file exists."""
    if not stays_below(path):
        raise BadRow("path_outside_root")
    if root is not None:
        path = existing_name(root, path) or path
        try:
            safe_path(root, path)
        except InvalidRequest as error:
            raise BadRow("path_outside_root") from error
    return path


def text_of(cells: Mapping[str, Any], name: str) -> str | None:
    """Return the text of a cell; None if it is blank or missing."""
    return text(cells.get(name))


def stays_below(relative: str) -> bool:
    """Return whether a path, as written, stays below the folder it starts from; links aren't followed."""
    return bool(relative) and not CONTROL.search(relative) and not _LEAVES.search(relative)


def safe_path(root: Path, relative: str) -> Path:
    """Return `root / relative`; the file needn't exist.

    Raises:
        InvalidRequest: the path is absolute, has `..` in it, or leads out of `root` through a link.
    """
    top = os.path.realpath(root)
    path = root / relative
    if not stays_below(relative) or not _is_below(os.path.realpath(path), top):
        raise InvalidRequest(f"the path {relative!r} leaves {root}; only files below it are read")
    return path


def _is_below(resolved: str, top: str) -> bool:
    return resolved.startswith(top.rstrip(os.sep) + os.sep)


class SourceRow(NamedTuple):
    """One row of a source."""

    file: str
    line: int
    raw: Any
    """Content as it was read, for the table of rejected rows."""
    record: Record | None
    """The recording; None if and only if there is a reason code."""
    reason_code: str | None = None
    rec_id: str | None = None
    """Id of a rejected row, if it is known without a recording."""


@runtime_checkable
class Source(Protocol):
    """A source of recordings. The same input gives the same rows, in the same order, under the same batch."""

    batch: str
    """Name of this input in `ingest_batch` and in the files of the store."""
    name: str
    """Source of rejected rows whose source isn't known."""
    slice_rows: int
    start: int
    """Number of rows of this batch that earlier calls have finished and that `rows` leaves out."""

    def rows(self) -> Iterator[SourceRow]:
        """Yield all rows. Raises `AuralithError` if the source as a whole can't be read."""
        ...
