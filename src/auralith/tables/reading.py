"""The door to tables: rows by the suffix of a file, damaged ones with their reason or refused."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from auralith.errors import InvalidRequest
from auralith.tables.delimited import delimited_rows
from auralith.tables.json_rows import json_lines, json_members
from auralith.tables.parquet import parquet_rows
from auralith.tables.row import Row

DELIMITED = (".csv", ".tsv")
_OTHERS = {
    ".jsonl": json_lines,
    ".ndjson": json_lines,
    ".json": json_members,
    ".parquet": parquet_rows,
}
SUFFIXES = (*DELIMITED, *_OTHERS)


def read_rows(
    path: Path, required: Sequence[str] = (), *, header_lines: int = 1, pad: bool = False
) -> Iterator[Row]:
    """The rows of a table, by its suffix; `required` columns must be in its header or schema.

    `header_lines` and `pad` are for CSV: how many lines name the columns, and whether a row that is too short gets
    empty cells or is damaged.

    Raises:
        InvalidRequest: the table can't be read, has no header, or lacks a column.
        MissingExtra: Parquet without pyarrow.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidRequest(f"{path} is not a table; give one of {', '.join(SUFFIXES)}")
    reader = _OTHERS.get(suffix) or partial(delimited_rows, header_lines=header_lines, pad=pad)
    yield from reader(path, required)


def strict_rows(path: Path, required: Sequence[str] = ()) -> Iterator[Row]:
    """The rows of a table, whose short rows get empty cells.

    Raises:
        InvalidRequest: as `read_rows`, and at the first damaged row, which is named.
    """
    for row in read_rows(path, required, pad=True):
        if row.problem:
            raise InvalidRequest(f"{path}, {row.unit} {row.line} {row.reason}")
        yield row
