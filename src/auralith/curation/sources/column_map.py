"""Any table of recordings: which of its columns are which of ours.

A column that isn't mapped is used if it has the name of one of ours; `source_id` falls back on `id`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from auralith.curation.sources.records import (
    Record,
    flag,
    identity,
    named_path,
    seconds,
    text,
    words,
    year,
)
from auralith.curation.sources.source import TableSource, batch_of
from auralith.errors import InvalidRequest

_LISTS = ("tags", "genres", "parents")
_TEXTS = (
    *("url", "title", "author", "author_url", "description", "album", "created", "license_raw"),
    *("license_url_raw", "gen_ai_preference", "category_code"),
)
COLUMNS = ("source_id", "path", *_TEXTS, *_LISTS, "year", "is_remix", "duration_s")
"""What a column may be mapped to."""
_OTHERS: dict[str, Callable[[Any], Any]] = {"year": year, "is_remix": flag, "duration_s": seconds}


def mapped_table(
    path: Path,
    source: str,
    columns: Mapping[str, str],
    *,
    separator: str | None = None,
    root: Path | None = None,
) -> TableSource:
    """The rows of a table as recordings of `source`; `columns` maps our columns to the table's.

    Lists are split at `separator`, at white space without one.

    Raises:
        InvalidRequest: a column of ours is unknown, or the source's name can't be part of an id.
    """
    check_source_name(source)
    if unknown := [name for name in columns if name not in COLUMNS]:
        raise InvalidRequest(f"'{unknown[0]}' is no column of recordings: {', '.join(COLUMNS)}")

    def convert(cells: Mapping[str, Any]) -> Record:
        return mapped_record(cells, source, columns, separator, root)

    written = [f"{ours}={theirs}" for ours, theirs in sorted(columns.items())]
    batch = batch_of("table", [path], source, separator or "", *written)
    return TableSource(batch, source, [path], convert, tuple(columns.values()))


def mapped_record(
    cells: Mapping[str, Any],
    source: str,
    columns: Mapping[str, str],
    separator: str | None,
    root: Path | None,
) -> Record:
    """A recording of cells whose names are ours or are mapped; raises `BadRow`."""

    def cell(name: str) -> Any:
        return cells.get(columns.get(name, name))

    id = cells.get("id") if cell("source_id") is None else cell("source_id")
    record = identity(source, id)
    record["path"] = named_path(cell("path"), root)
    splits = partial(words, separator=separator)
    record |= {name: text(cell(name)) for name in _TEXTS}
    record |= {name: splits(cell(name)) for name in _LISTS}
    return record | {name: convert(cell(name)) for name, convert in _OTHERS.items()}


def check_source_name(source: str) -> None:
    """Raise `InvalidRequest` for a name that can't stand before the colon of an id."""
    if not source or not source.replace("-", "").replace("_", "").isalnum():
        raise InvalidRequest(f"'{source}' can't name a source; use letters, digits, - and _")
