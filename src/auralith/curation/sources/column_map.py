"""Any table of recordings: which of its columns are which of ours.

A column that isn't mapped is found by the names that `auralith.tables.names` knows; of several the first one there
that a row fills is taken. Two licenses of one row that differ make it a rejected row: neither may be left out.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

from auralith.curation.sources.records import (
    BadRow,
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
from auralith.tables.names import find_columns

_LISTS = ("tags", "genres", "parents")
_LICENSES = ("license_raw", "license_url_raw")
_TEXTS = (
    *("url", "title", "author", "author_url", "description", "album", "created"),
    *("gen_ai_preference", "category_code"),
)
COLUMNS = ("source_id", "path", *_TEXTS, *_LICENSES, *_LISTS, "year", "is_remix", "duration_s")
"""What a column may be mapped to."""
_OTHERS: dict[str, Callable[[Any], Any]] = {"year": year, "is_remix": flag, "duration_s": seconds}


@dataclass
class MappedTable(TableSource):
    """A table whose columns are found by their names or by a map."""

    mapped: Mapping[str, str] = field(default_factory=dict)

    def unused(self) -> list[str]:
        """The columns, of the rows so far, that nothing is taken from."""
        used = set(chain.from_iterable(_sources(self.columns, self.mapped).values()))
        return [name for name in self.columns if name not in used]


def mapped_table(
    path: Path,
    source: str,
    columns: Mapping[str, str],
    *,
    separator: str | None = None,
    root: Path | None = None,
) -> MappedTable:
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
    return MappedTable(batch, source, [path], convert, tuple(columns.values()), mapped=columns)


def mapped_record(
    cells: Mapping[str, Any],
    source: str,
    columns: Mapping[str, str],
    separator: str | None,
    root: Path | None,
) -> Record:
    """A recording of cells whose names are known or are mapped; raises `BadRow`."""
    sources = _sources(cells, columns)

    def cell(name: str) -> Any:
        values = [cells[column] for column in sources[name] if cells.get(column) not in (None, "")]
        return values[0] if values else None

    record = identity(source, cell("source_id"))
    record["path"] = named_path(cell("path"), root)
    splits = partial(words, separator=separator)
    record |= {name: text(cell(name)) for name in _TEXTS}
    record |= {name: _only_license(cells, sources[name]) for name in _LICENSES}
    record |= {name: splits(cell(name)) for name in _LISTS}
    return record | {name: convert(cell(name)) for name, convert in _OTHERS.items()}


def _sources(columns: Iterable[str], mapped: Mapping[str, str]) -> dict[str, list[str]]:
    """For each column of ours those of the table that may fill it, the one to take first at the beginning."""
    return _found_sources(tuple(columns), tuple(mapped.items()))


@lru_cache(maxsize=64)
def _found_sources(
    columns: tuple[str, ...], mapped: tuple[tuple[str, str], ...]
) -> dict[str, list[str]]:
    """A mapped column fills nothing else."""
    given = dict(mapped)
    free = [name for name in columns if name not in given.values()]
    return {ours: [given[ours]] if ours in given else find_columns(free, ours) for ours in COLUMNS}


def _only_license(cells: Mapping[str, Any], columns: Iterable[str]) -> str | None:
    """Return what a row says of its license; raises `BadRow` if two columns say different things."""
    said = {found for column in columns if (found := text(cells.get(column)))}
    if len(said) > 1:
        raise BadRow("conflicting_license")
    return next(iter(said), None)


def check_source_name(source: str) -> None:
    """Raise `InvalidRequest` for a name that can't stand before the colon of an id."""
    if not source or not source.replace("-", "").replace("_", "").isalnum():
        raise InvalidRequest(f"'{source}' can't name a source; use letters, digits, - and _")
