"""Tables of recordings: CSV, JSON lines, and the Parquet manifest that curation writes.

A row names a sound file, from the table's folder if the path is relative, and its prompt; every further column is
kept as metadata. Whether the files exist and the prompts say something is found by the scan (`auralith.data.report`),
which counts; what makes the table itself unreadable stops here.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from auralith.data.entries import Entry, Recording, split_prompt
from auralith.errors import InvalidRequest
from auralith.extras import require

Row = tuple[str, Mapping[str, Any]]
"""Where a row stands, for messages, and its cells."""


def read_table(table: Path, path_column: str, prompt_column: str | None) -> list[Entry]:
    """The recordings of a .csv, .jsonl or .parquet file, in its order.

    Raises:
        InvalidRequest: the table is damaged, lacks a column, or a row has no path.
        MissingExtra: Parquet without pyarrow.
    """
    try:
        rows = list(READERS[table.suffix.lower()](table))
    except (
        OSError,
        ValueError,
        csv.Error,
    ) as error:  # ValueError: not UTF-8, not JSON, not Parquet
        raise InvalidRequest(f"{table} can't be read ({error}); correct it") from error
    _require_columns(table, rows, [path_column, *([prompt_column] if prompt_column else [])])
    seen = Counter[str]()
    return [_entry(table.parent, row, path_column, prompt_column, seen) for row in rows]


def _entry(
    folder: Path, row: Row, path_column: str, prompt_column: str | None, seen: Counter[str]
) -> Entry:
    place, cells = row
    written = str(cells.get(path_column) or "").strip()
    if not written:
        raise InvalidRequest(f"{place} has no {path_column}; name a sound file there")
    seen[written] += 1
    id = written if seen[written] == 1 else f"{written}#{seen[written]}"
    prompt, metadata = split_prompt(
        {name: value for name, value in cells.items() if name != path_column}, prompt_column
    )
    path = folder / written
    return Entry(Recording(id, str(path), prompt, metadata), path)


def _require_columns(table: Path, rows: list[Row], wanted: list[str]) -> None:
    if not rows:
        raise InvalidRequest(f"{table} has no rows; write one for each recording")
    found = {name: None for _, cells in rows for name in cells}
    if missing := [name for name in wanted if name not in found]:
        raise InvalidRequest(
            f"{table} has no column {' and no column '.join(map(repr, missing))}"
            f" (it has {', '.join(found)}); add it or name another"
        )


def _csv_rows(table: Path) -> Iterator[Row]:
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restval="", restkey="")
        for cells in reader:
            if "" in cells:
                raise InvalidRequest(
                    f"{table}, line {reader.line_num} has more cells than the header;"
                    " put text with commas in quotes"
                )
            yield f"{table}, line {reader.line_num}", cells


def _json_rows(table: Path) -> Iterator[Row]:
    with table.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            place = f"{table}, line {number}"
            try:
                cells = json.loads(line)
            except ValueError as error:
                raise InvalidRequest(f"{place} is not JSON ({error}); correct it") from error
            if not isinstance(cells, dict):
                raise InvalidRequest(f"{place} is not one JSON object; write one with its fields")
            yield place, cells


def _parquet_rows(table: Path) -> Iterator[Row]:
    parquet = require("pyarrow.parquet", "train")
    for number, cells in enumerate(parquet.read_table(table).to_pylist(), 1):
        yield f"{table}, row {number}", cells


READERS: Mapping[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _csv_rows,
    ".jsonl": _json_rows,
    ".parquet": _parquet_rows,
}
