"""Tables as rows, one at a time: CSV, JSON lines, one JSON array or object, Parquet.

A row that is damaged (too few or too many cells, not JSON, not an object) is a row with a reason; what makes the whole
table unreadable (no header, a missing column) raises before the first row. Bytes that aren't UTF-8 are kept as
surrogates until the row is written, where they are found.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from auralith.errors import InvalidRequest
from auralith.extras import require

_CHUNK = 1 << 20
"""Characters of JSON read at a time."""
_BATCH = 8_192
"""Rows of Parquet read at a time."""


class RawRow(NamedTuple):
    """One row, where it stands, and what is wrong with it if something is."""

    file: str
    line: int
    """Of the row's end, from 1; of JSON and Parquet the number of the row."""
    cells: Any
    """Mapping of column to value; of a damaged row whatever was read."""
    problem: str | None = None


Reader = Callable[[Path, Sequence[str]], Iterator[RawRow]]


def read_rows(path: Path, required: Sequence[str]) -> Iterator[RawRow]:
    """The rows of a table, by its suffix; `required` columns must be in its header.

    Raises:
        InvalidRequest: the table can't be read, has no header, or lacks a column.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise InvalidRequest(f"{path} is not a table; give one of {known}")
    try:
        yield from reader(path, required)
    except OSError as error:
        raise InvalidRequest(f"{path} can't be read ({error.strerror or error})") from error


def csv_rows(path: Path, required: Sequence[str], header_lines: int = 1) -> Iterator[RawRow]:
    """The rows of a CSV file; several header lines are joined by dots, level by level, blank ones left out."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.reader(file)
        header = _header(path, [next(reader, []) for _ in range(header_lines)], required)
        yield from _body(path.name, reader, header)


def _body(name: str, reader: Any, header: list[str]) -> Iterator[RawRow]:
    width = len(header)
    while True:
        try:
            for cells in reader:
                if len(cells) == width:
                    yield RawRow(name, reader.line_num, dict(zip(header, cells, strict=True)))
                elif cells:
                    yield RawRow(name, reader.line_num, cells, "row_shape")
            return
        except csv.Error as error:  # such as a field without end; the reader goes on after it
            yield RawRow(name, reader.line_num, {"error": str(error)}, "row_unreadable")


def _header(path: Path, lines: list[list[str]], required: Sequence[str]) -> list[str]:
    columns = [".".join(filter(None, parts)) for parts in zip(*lines, strict=False)]
    if not columns:
        raise InvalidRequest(f"{path} has no header; its first line names the columns")
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise InvalidRequest(f"{path} has two columns '{twice}'; rename one")
    _require(path, columns, required)
    return columns


def _require(path: Path, columns: Iterable[str], required: Sequence[str]) -> None:
    if missing := [name for name in required if name not in columns]:
        raise InvalidRequest(
            f"{path} has no column '{missing[0]}' (it has {', '.join(list(columns)[:12])});"
            " is it another kind of table?"
        )


def _json_lines(path: Path, _required: Sequence[str]) -> Iterator[RawRow]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                yield _object(path, number, json.loads(line))
            except (ValueError, RecursionError):
                yield RawRow(path.name, number, line.rstrip("\n"), "row_unreadable")


def _json_rows(path: Path, _required: Sequence[str]) -> Iterator[RawRow]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, (key, value) in enumerate(_json_items(path, file), 1):
            if key is not None and isinstance(value, dict):
                value = {"id": key, **value}
            yield _object(path, number, value)


def _object(path: Path, number: int, value: object) -> RawRow:
    """A row of JSON; objects may leave out what is empty, so only their kind is looked at."""
    problem = None if isinstance(value, dict) else "row_unreadable"
    return RawRow(path.name, number, value, problem)


def _json_items(path: Path, file: TextIO) -> Iterator[tuple[str | None, Any]]:
    """The members of one JSON array or object, without holding more than one of them."""
    decoder, window = json.JSONDecoder(), _Window(file)
    opening = window.next_sign("")
    if opening not in ("[", "{"):
        raise InvalidRequest(f"{path} is neither a JSON array nor an object; give rows of objects")
    closing = "]" if opening == "[" else "}"
    window.position += 1
    while (sign := window.next_sign(",")) != closing:
        try:
            key = window.decode(decoder) if opening == "{" and sign else None
            window.next_sign(":")
            yield key, window.decode(decoder)
        except (ValueError, RecursionError) as error:
            raise InvalidRequest(f"{path} is damaged JSON or cut short ({error})") from error


class _Window:
    """A growing and moving part of a JSON file."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.position = file, "", 0

    def next_sign(self, skipped: str) -> str:
        """The next character that is neither space nor one of `skipped`; "" at the end."""
        while True:
            while self.position < len(self.text):
                sign = self.text[self.position]
                if not sign.isspace() and sign not in skipped:
                    return sign
                self.position += 1
            if not self._grow():
                return ""

    def decode(self, decoder: json.JSONDecoder) -> Any:
        """The value here; raises ValueError if there is none even with the rest of the file."""
        self.next_sign("")
        while True:
            try:
                value, self.position = decoder.raw_decode(self.text, self.position)
                return value
            except ValueError:
                if not self._grow():
                    raise

    def _grow(self) -> bool:
        """Drop what was read and read as much again as is left, so that a long value costs linear time."""
        rest = self.text[self.position :]
        more = self.file.read(max(_CHUNK, len(rest)))
        self.text, self.position = rest + more, 0
        return bool(more)


def _parquet_rows(path: Path, required: Sequence[str]) -> Iterator[RawRow]:
    parquet, arrow = require("pyarrow.parquet", "curate"), require("pyarrow", "curate")
    try:
        file = parquet.ParquetFile(path)
        _require(path, file.schema_arrow.names, required)
        batches = (batch.to_pylist() for batch in file.iter_batches(batch_size=_BATCH))
        for number, cells in enumerate(chain.from_iterable(batches), 1):
            yield RawRow(path.name, number, cells)
    except arrow.ArrowException as error:
        raise InvalidRequest(f"{path} is not a whole Parquet file ({error})") from error


_READERS: Mapping[str, Reader] = {
    ".csv": csv_rows,
    ".jsonl": _json_lines,
    ".json": _json_rows,
    ".parquet": _parquet_rows,
}
