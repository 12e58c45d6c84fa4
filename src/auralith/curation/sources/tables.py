"""Sources that are tables: any table with a map of its columns, and Stability AI's attribution lists.

An unmapped column is recognized by the names in `auralith.tables.names`; of several for one field, the first one that a
row fills is taken. Two licenses in one row that differ make it a rejected row, since neither may be ignored.

The attribution lists have the columns `id,title,author,license,url`, with licenses without version. The source of a row
follows from its URL, so that one rule reads both lists. Title and author stay exactly as written: new lists repeat them.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

from auralith.curation.sources.records import (
    FMA,
    FREESOUND,
    SLICE_ROWS,
    BadRow,
    Record,
    SourceRow,
    flag,
    fma_path,
    identity,
    named_path,
    seconds,
    text,
    text_of,
    words,
    year,
)
from auralith.errors import InvalidRequest
from auralith.tables import Row, read_rows
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
_ATTRIBUTION_COLUMNS = ("id", "title", "author", "license", "url")
_PAGE = re.compile(
    r"(?P<author>https?://(?:www\.)?(?P<site>freemusicarchive|freesound)\.org/(?:music|people)/[^/]+/).*"
)
_SOURCES = {"freemusicarchive": FMA, "freesound": FREESOUND}
Convert = Callable[[Mapping[str, Any]], Record]
"""Cells to a recording; raises `BadRow`."""


@dataclass
class TableSource:
    """One or more tables whose rows become recordings by one rule."""

    batch: str
    name: str
    files: Sequence[Path]
    convert: Convert
    required: Sequence[str] = ()
    header_lines: int = 1
    slice_rows: int = SLICE_ROWS
    start: int = 0
    columns: dict[str, None] = field(default_factory=dict)
    """The columns that the rows so far had, in their order."""

    def rows(self) -> Iterator[SourceRow]:
        """The rows of all files, in their order."""
        for file in self.files:
            for row in read_rows(file, self.required, header_lines=self.header_lines):
                yield self._converted(row)

    def _converted(self, row: Row) -> SourceRow:
        if row.problem:
            return SourceRow(row.file, row.line, row.cells, None, row.problem)
        if row.cells.keys() - self.columns.keys():
            self.columns |= dict.fromkeys(row.cells)
        try:
            return SourceRow(row.file, row.line, row.cells, self.convert(row.cells))
        except BadRow as bad:
            return SourceRow(row.file, row.line, row.cells, None, bad.reason_code)


def batch_of(kind: str, files: Sequence[Path], *settings: str) -> str:
    """A name for these files, from their content and what is done with it.

    Raises:
        InvalidRequest: one can't be read.
    """
    digest = hashlib.sha256("\0".join(settings).encode())
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InvalidRequest(
                f"{path} can't be read ({error.strerror or error}); give a table of recordings"
            ) from error
    return f"{kind}-{digest.hexdigest()[:12]}"


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


def stability_list(path: Path, root: Path | None = None) -> TableSource:
    """One of the two published lists, or any of the same columns whose URLs lead to the two sites."""

    def convert(cells: Mapping[str, Any]) -> Record:
        return attribution_record(cells, root)

    return TableSource(
        batch_of("attribution", [path]), "attribution", [path], convert, _ATTRIBUTION_COLUMNS
    )


def attribution_record(cells: Mapping[str, Any], root: Path | None) -> Record:
    """A recording of a row; raises `BadRow` if its URL is of neither site."""
    url = text_of(cells, "url")
    page = _PAGE.fullmatch(url or "")
    if not page:
        raise BadRow("source_unknown" if text_of(cells, "id") else "no_id")
    record = identity(_SOURCES[page["site"]], cells.get("id"))
    is_fma = record["source"] == FMA
    return record | {
        "path": fma_path(record["source_id"], root) if is_fma else None,
        "url": url,
        "title": text_of(cells, "title"),
        "author": text_of(cells, "author"),
        "author_url": page["author"],
        "license_raw": text_of(cells, "license"),
    }
