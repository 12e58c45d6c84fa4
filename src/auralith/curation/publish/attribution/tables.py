"""The attribution as tables: Stability AI's schema, an extended CSV, and JSON lines.

`csv.writer` with its defaults reproduces the published FMA list byte for byte from its parsed rows.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from io import StringIO
from pathlib import Path

from auralith.curation.licenses import family_of
from auralith.curation.publish.attribution.catalog import Catalog
from auralith.curation.publish.attribution.entries import CHANGES, Entry
from auralith.curation.sources.tables import ATTRIBUTION_COLUMNS

EXTENDED, LINES = "attribution_extended.csv", "attribution.jsonl"
LIST = "_attribution.csv"
"""Suffix of the file name of a source's list."""
_LABELS = {"cc0": "cc0", "cc-by": "ccby", "sampling+": "sampling+"}
_FIELDS = tuple(field.name for field in fields(Entry))
_EXTENDED = (
    *("rec_id", "title", "author", "author_url", "url", "license_spdx", "license_version"),
    *("license_uri", "retrieved_at", "sha256", "changes"),
)
_ABOUT = {
    EXTENDED: "all that is known, not for spreadsheets, which take titles that begin with = + - or @ for formulas",
    LINES: "the same and the length in seconds, a JSON object in each line",
}


@dataclass(frozen=True)
class Table:
    """A file with a row for each recording of a catalog, in its order."""

    name: str
    about: str
    """Description of the content, in a line."""
    catalog: Catalog
    columns: tuple[str, ...]
    """Columns of a CSV file, of which the first is the id; empty for JSON lines."""
    cells: Callable[[Entry], Mapping[str, object]]

    def texts(self) -> Iterator[str]:
        """Yield the text of the file: the header, if it has one, and each row with its line end."""
        if self.columns:
            yield csv_line(self.columns)
        for entry in self.catalog:
            yield self.text(self.cells(entry))

    def text(self, cells: Mapping[str, object]) -> str:
        """Return a row in the form of the file."""
        if self.columns:
            return csv_line([cells[name] or "" for name in self.columns])
        return json.dumps(cells, ensure_ascii=False) + "\n"


def tables(catalog: Catalog) -> list[Table]:
    """Return all tables of a catalog: a list for each source, and the two with everything."""
    found = [
        Table(
            f"{source}{LIST}",
            f"the recordings from {source}, in the columns of Stability AI's lists",
            part,
            ATTRIBUTION_COLUMNS,
            _published,
        )
        for source, part in _by_source(catalog)
    ]
    everything = [(EXTENDED, _EXTENDED), (LINES, ())]
    return [
        *found,
        *(Table(name, _ABOUT[name], catalog, names, _known) for name, names in everything),
    ]


def write_tables(catalog: Catalog, folder: Path) -> dict[str, str]:
    """Write all tables into `folder`, and return their names with descriptions.

    Rows are in the catalog's order, which must keep the recordings of each source together.
    """
    found = tables(catalog)
    for table in found:
        with (folder / table.name).open("w", encoding="utf-8", newline="") as file:
            file.writelines(table.texts())
    return {table.name: table.about for table in found}


def csv_line(cells: Sequence[object]) -> str:
    """Return a row of a CSV file, line end included."""
    line = StringIO()
    csv.writer(line).writerow(cells)
    return line.getvalue()


def _published(entry: Entry) -> dict[str, object]:
    cells = (entry.source_id, entry.title, entry.author, _label(entry), entry.url)
    return dict(zip(ATTRIBUTION_COLUMNS, cells, strict=True))


def _known(entry: Entry) -> Mapping[str, object]:
    return {name: getattr(entry, name) for name in _FIELDS} | {"changes": CHANGES}


def _by_source(catalog: Catalog) -> Iterator[tuple[str, Catalog]]:
    for source in catalog.column("source").unique().to_pylist():
        yield source, catalog.of(source)


def _label(entry: Entry) -> str:
    """Return the label of a license in the published lists, or its SPDX id if they have none."""
    family = family_of(entry.license_spdx)
    return _LABELS[family] if family else entry.license_spdx
