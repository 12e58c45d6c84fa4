"""The attribution's CSV files and JSON lines beside the manifest: every missing, extra and altered row is found."""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from auralith.curation.attribution.catalog import Catalog
from auralith.curation.attribution.tables import LIST, Table, tables
from auralith.errors import ResourceError
from auralith.foreign import parse_json


def table_differences(catalog: Catalog, folder: Path) -> Iterator[str]:
    """Yield a line for each difference between the tables in `folder` and those of the catalog.

    Raises:
        ResourceError: a table can't be read.
    """
    due = {table.name: table for table in tables(catalog)}
    for name, table in due.items():
        path = folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif not _is_same(path, table):
            yield from _differences(path, table)
    for path in sorted(folder.glob(f"*{LIST}")):
        if path.name not in due:
            yield f"{path.name} is of a source that the manifest doesn't have"


def _is_same(path: Path, table: Table) -> bool:
    """Return whether the bytes are those that the manifest gives, read a row at a time."""
    try:
        with path.open("rb") as file:
            texts = (text.encode("utf-8") for text in table.texts())
            return all(file.read(len(text)) == text for text in texts) and not file.read(1)
    except OSError as error:
        raise ResourceError(f"{path} can't be read ({error}); build it again") from error


def _differences(path: Path, table: Table) -> Iterator[str]:
    """Return what differs, by id; where no row does, that the bytes do."""
    id_name = table.columns[0] if table.columns else "rec_id"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            shown = list(_rows(file, table))
    except (OSError, UnicodeDecodeError, csv.Error, ValueError, RecursionError) as error:
        yield f"{path.name}: it can't be read as a table ({error}); build it again"
        return
    times = Counter(str(row.get(id_name)) for row in shown)
    shown_of = {str(row.get(id_name)): row for row in shown}
    found = False
    for entry in table.catalog:
        cells = table.cells(entry)
        id = str(cells[id_name])
        for difference in _of_row(cells, shown_of.pop(id, None), times[id], table):
            found = True
            yield f"{path.name}: {id} {difference}"
    for id in shown_of:
        found = True
        yield f"{path.name}: {id} is not in the manifest"
    if not found:
        yield f"{path.name}: the bytes are not those that the manifest gives (header, order, quotes or line ends)"


def _rows(file: TextIO, table: Table) -> Iterator[Mapping[str, Any]]:
    if table.columns:
        yield from csv.DictReader(file, strict=True)
        return
    for line in file:
        row = parse_json(line)
        if not isinstance(row, dict):
            raise ValueError("a line is not a JSON object")
        yield row


def _of_row(
    due: Mapping[str, Any], shown: Mapping[str, Any] | None, times: int, table: Table
) -> Iterator[str]:
    if shown is None:
        yield "is missing"
        return
    if times > 1:
        yield f"is listed {times} times"
    for name in table.columns or due:
        told, wanted = shown.get(name), due[name]
        if table.columns:
            told, wanted = told or "", str(wanted or "")
        if told != wanted:
            yield f"has the {name} '{told}', the manifest has '{wanted}'"
    if extra := [str(name) for name in shown if name not in (table.columns or due)]:
        yield f"has more cells than the manifest: {', '.join(extra)}"
