"""One row of a source as a recording: the columns of `recordings`, each from what was written.

What can't be a recording raises `BadRow` with its reason code: no id, a path that leaves the root, a value of the
wrong kind. A number that isn't one is only missing. Text stays as it was written, since attribution repeats it.
"""

import math
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from auralith.curation.sources.paths import CONTROL, safe_path, stays_below
from auralith.errors import InvalidRequest
from auralith.tables.cells import existing_name

Record = dict[str, Any]
"""Columns of `recordings`; one that is left out is null. Lists are tuples, so that records can be compared."""
NUMERIC_IDS = ("freesound", "fma")
"""Sources whose ids are whole numbers."""
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")


class BadRow(ValueError):
    """A row that can't become a recording; it is kept among the rejected ones."""

    def __init__(self, reason_code: str) -> None:
        super().__init__(reason_code)
        self.reason_code = reason_code


def identity(source: str, written: object) -> Record:
    """rec_id, source and source_id; raises `BadRow` where there is no id or none that this source could have."""
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
    """A text as written, None if it is blank; raises `BadRow` for a list or an object."""
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
    """A list, or a text split at the separator (at white space without one), without blanks."""
    if value is None or isinstance(value, str):
        parts = (value or "").split(separator)
    elif isinstance(value, list | tuple):
        parts = [text(part) or "" for part in value]
    else:
        raise BadRow("bad_value")
    return tuple(part.strip() for part in parts if part.strip()) or None


def seconds(value: object) -> float | None:
    """A duration in seconds: a number, `MM:SS` or `HH:MM:SS`; None if it is none of these or negative."""
    total = 0.0
    try:
        for part in str(value).split(":"):
            total = total * 60 + float(part)
    except ValueError:
        return None
    return total if math.isfinite(total) and total >= 0 else None


def year(value: object) -> int | None:
    """A year of four digits, or that of a date which begins or ends with it; None otherwise."""
    written = str(value).split(" ")[0].split("T")[0]
    for part in (written[:4], written[-4:]):
        if part.isascii() and part.isdigit() and len(part) == 4 and part >= "1000":
            return int(part)
    return None


def flag(value: object) -> bool | None:
    """A truth value, also as a text; None if it is neither."""
    written = str(value).strip().casefold()
    return True if written in _TRUE else False if written in _FALSE else None


def named_path(value: object, root: Path | None) -> str | None:
    """A path that the row names, relative to the root; raises `BadRow` if it would leave it."""
    if (path := text(value)) is None:
        return None
    return _checked(path, root)


def usual_path(path: str, root: Path | None) -> str | None:
    """A path that follows from the id: only if the file is there, since not everybody has the sound."""
    return _checked(path, root) if root and (root / path).exists() else None


def _checked(path: str, root: Path | None) -> str:
    """The path; with the separators of this system where only that file is there."""
    if not stays_below(path):
        raise BadRow("path_outside_root")
    if root is not None:
        path = existing_name(root, path) or path
        try:
            safe_path(root, path)
        except InvalidRequest as error:
            raise BadRow("path_outside_root") from error
    return path


def field(cells: Mapping[str, Any], name: str) -> str | None:
    """The text of a cell, None if there is none."""
    return text(cells.get(name))
