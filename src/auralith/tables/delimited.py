"""CSV, whatever program saved it.

The delimiter (comma, semicolon, tab or bar) is seen from the header alone, whose names are known, so that no text or
decimal comma below can mislead; Excel's own line `sep=;` names it too. Columns without a name are left out: pandas
writes its index so, and spreadsheets their empty last columns. Cells stay as they are written.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from io import StringIO, TextIOBase
from pathlib import Path
from typing import Any, NamedTuple

from auralith.errors import InvalidRequest, shown
from auralith.tables.names import KNOWN, plain
from auralith.tables.row import Row, require_columns, require_distinct
from auralith.tables.text import opened_text

DELIMITERS = (",", ";", "\t", "|")
LONGEST_LINE = 1 << 24
"""Characters; a cell may have as many as the csv module allows, 131,072 by default."""
_LONGEST_HEADER_LINES = 20
_UNNAMED = re.compile(r"Unnamed: \d+(_level_\d+)?")
"""Name that pandas gives to a column without one when it reads and saves it."""
_NAMED_DELIMITER = re.compile(r"\"?sep=(?P<delimiter>[,;:|\t])\"?[,;\t ]*", re.IGNORECASE)


class Dialect(NamedTuple):
    """The way in which a table separates its cells."""

    delimiter: str
    skips_spaces: bool
    """Every name in the header follows a space, so that cells do as well."""


def delimited_rows(
    path: Path, required: Sequence[str], *, header_lines: int = 1, pad: bool = False
) -> Iterator[Row]:
    """The rows of a CSV file; several header lines are joined by dots, level by level.

    A row that has fewer cells than the header gets empty ones with `pad`, and is damaged without.

    Raises:
        InvalidRequest: the file can't be read, has no header, or lacks a column.
    """
    with opened_text(path) as file:
        yield from text_rows(path, file, required, header_lines=header_lines, pad=pad)


def text_rows(
    path: Path,
    file: TextIOBase,
    required: Sequence[str] = (),
    *,
    header_lines: int = 1,
    pad: bool = False,
) -> Iterator[Row]:
    """Yield the rows of an open text with its line ends as they are, as `delimited_rows` does; `path` stands in messages."""
    lines = _Lines(path, file)
    dialect = lines.recognize()
    reader = csv.reader(lines, delimiter=dialect.delimiter, skipinitialspace=dialect.skips_spaces)
    header = _header(path, lines, reader, header_lines, required)
    require_distinct(path, [name for name in header if name])
    require_columns(path, header, required)
    yield from _body(path.name, lines, reader, header, pad)


def header_names(text: str) -> list[str]:
    """The names in the first line of a table, as they are written; none if it is empty."""
    lines = _Lines(Path("the table"), StringIO(text, newline=""))
    dialect = lines.recognize()
    names = next(csv.reader(lines, delimiter=dialect.delimiter), [])
    return [name.strip() for name in names]


class _Lines:
    """The lines of a file, of which the first can be looked at before they are read."""

    def __init__(self, path: Path, file: TextIOBase) -> None:
        self._path, self._file, self._waiting = path, file, deque[str]()
        self.skipped = 0
        """Lines before the header."""
        self.ended = False
        """True if more was asked for than the file holds."""

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._waiting.popleft() if self._waiting else self._read()
        if not line:
            self.ended = True
            raise StopIteration
        return line

    def recognize(self) -> Dialect:
        """The dialect of the header. Blank lines before it, and Excel's that names the delimiter, are read."""
        line = self._read()
        while line and not line.strip(" \r\n\ufeff"):
            self.skipped, line = self.skipped + 1, self._read()
        if named := _NAMED_DELIMITER.fullmatch(line.rstrip("\r\n")):
            self.skipped += 1
            self._waiting.append(self._read())
            return Dialect(named["delimiter"], False)
        self._waiting.append(line)
        while line and sum(text.count('"') for text in self._waiting) % 2:
            line = self._read()
            self._waiting.append(line)
            if len(self._waiting) > _LONGEST_HEADER_LINES:
                break
        return recognize("".join(self._waiting), self._path.suffix.lower() == ".tsv")

    def _read(self) -> str:
        line = self._file.readline(LONGEST_LINE)
        if len(line) == LONGEST_LINE:
            raise InvalidRequest(
                f"{self._path} can't be read: a line has more than {LONGEST_LINE:,} characters;"
                " is it a table?"
            )
        return line


def recognize(header: str, prefers_tabs: bool = False) -> Dialect:
    """The delimiter that gives the most names that are known, then the most names."""
    order = ("\t", *DELIMITERS) if prefers_tabs else DELIMITERS
    found = max(order, key=lambda delimiter: _score(header, delimiter))  # the first of equal ones
    names = _split(header, found)[1:]
    skips = bool(names) and found != "\t" and all(name.startswith(" ") for name in names)
    return Dialect(found, skips)


def _score(header: str, delimiter: str) -> tuple[int, int]:
    names = _split(header, delimiter)
    return sum(plain(name.strip(' "')) in KNOWN for name in names), len(names)


def _split(header: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader(header.splitlines(keepends=True), delimiter=delimiter), [])
    except csv.Error:
        return []


def _header(
    path: Path, lines: _Lines, reader: Any, header_lines: int, required: Sequence[str]
) -> list[str]:
    """The names of the columns, "" for those that are left out."""
    try:
        levels = [next(reader, []) for _ in range(header_lines)]
    except csv.Error as error:
        raise InvalidRequest(f"{path} can't be read ({error}, in its header)") from error
    names = [".".join(filter(None, map(str.strip, parts))) for parts in zip(*levels, strict=False)]
    if lines.ended and any(levels) and any("\n" in part for part in levels[-1]):
        raise InvalidRequest(f"{path} can't be read: a quote in its header is never closed")
    if not any(names):
        lacking = f" and no column {shown(required[0])}" if required else ""
        raise InvalidRequest(
            f"{path} has no rows, no header{lacking}; its first line names the columns"
        )
    return ["" if _UNNAMED.fullmatch(name) else name for name in names]


def _body(name: str, lines: _Lines, reader: Any, header: list[str], pad: bool) -> Iterator[Row]:
    while True:
        try:
            for cells in reader:
                if any(cell and not cell.isspace() for cell in cells):
                    line = reader.line_num + lines.skipped
                    yield _row(name, line, cells, header, pad, lines.ended)
            return
        except csv.Error as error:  # such as a cell that is too long; the reader goes on after it
            line = reader.line_num + lines.skipped
            reason = f"can't be read ({error}); correct it"
            yield Row(name, line, {"error": str(error)}, "row_unreadable", reason)


def _row(name: str, line: int, cells: list[str], header: list[str], pad: bool, ended: bool) -> Row:
    if ended:  # inside of a cell: a complete row ends before the reader asks for another line
        reason = "ends inside of a quote that is never closed; close it"
        return Row(name, line, cells, "row_unreadable", reason)
    if any(cell and not cell.isspace() for cell in cells[len(header) :]):
        reason = "has more cells than the header; put text with commas in quotes"
        return Row(name, line, cells, "row_shape", reason)
    padded = [*cells, *[""] * (len(header) - len(cells))]
    found = {column: cell for column, cell in zip(header, padded, strict=False) if column}
    needed = max(number for number, column in enumerate(header, 1) if column)
    if len(cells) < needed and not pad:
        return Row(name, line, cells, "row_shape", "has fewer cells than the header; add them")
    return Row(name, line, found)
