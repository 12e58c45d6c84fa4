"""Tables of recordings: a row names a sound file and its prompt, and every further column is kept as metadata.

A path starts from the table's folder if it is relative; in Parquet a cell may hold the sound itself. Whether the files
exist and the prompts say something is found by the scan (`auralith.data.report`), which counts; what makes the table
itself unreadable stops here.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from auralith.data.entries import Entry, recording
from auralith.errors import InvalidRequest, shown
from auralith.tables import Row, strict_rows
from auralith.tables.cells import has_surrogates, named_file, scalar_text
from auralith.tables.names import choose_column
from auralith.tables.parquet import SoundCell
from auralith.tables.row import require_columns


def read_table(table: Path, path_column: str, prompt_column: str | None) -> list[Entry]:
    """The recordings of a table, in its order.

    Raises:
        InvalidRequest: the table is damaged, lacks a column, or a row has no path.
        MissingExtra: Parquet without pyarrow.
    """
    rows = list(strict_rows(table))
    if not rows:
        raise InvalidRequest(f"{table} has no rows; write one for each recording")
    columns = list(dict.fromkeys(name for row in rows for name in row.cells))
    wanted = {"path": path_column} | ({"prompt": prompt_column} if prompt_column else {})
    chosen = {meaning: choose_column(columns, name, meaning) for meaning, name in wanted.items()}
    require_columns(table, columns, [wanted[m] for m, found in chosen.items() if found is None])
    seen = Counter[str]()
    return [_entry(table, row, chosen, seen) for row in rows]


def _entry(table: Path, row: Row, columns: Mapping[str, str | None], seen: Counter[str]) -> Entry:
    path_column = columns["path"] or ""
    place = f"{table}, {row.unit} {row.line}"
    cell = row.cells.get(path_column)
    source = cell if isinstance(cell, SoundCell) else _file(table.parent, cell, path_column, place)
    written = _name(row, source) if isinstance(source, SoundCell) else str(cell).strip()
    seen[written] += 1
    id = written if seen[written] == 1 else f"{written}#{seen[written]}"
    path = f"{table}/{written}" if isinstance(source, SoundCell) else str(source)
    others = {
        name: value
        for name, value in row.cells.items()
        if name != path_column and not isinstance(value, SoundCell)
    }
    return Entry(recording(id, path, others, columns.get("prompt"), place), source)


def _file(folder: Path, cell: object, column: str, place: str) -> Path:
    if isinstance(cell, dict) and cell.get("bytes") is None and isinstance(cell.get("path"), str):
        cell = cell["path"]  # the Hub's form of a sound that lies beside the table
    if isinstance(cell, dict | list):
        raise InvalidRequest(f"{place}: the {column} is {shown(cell)}; write the path of a file")
    written = "" if cell is None else scalar_text(cell)
    if not written.strip():
        raise InvalidRequest(f"{place} has no {column}; name a sound file there")
    path = named_file(folder, written)
    if has_surrogates(written) and not path.is_file():
        raise InvalidRequest(
            f"{place} can't be read: {shown(written)} is not UTF-8; save it as text in UTF-8"
        )
    return path


def _name(row: Row, cell: SoundCell) -> str:
    """Return what a sound inside of a table is called: by the table, else by its row."""
    return cell.path or f"{row.unit} {row.line}"
