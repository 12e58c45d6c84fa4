"""The attribution of each recording (title, author, source and license: TASL), in the order of the page and as tables.

Texts are unchanged from the source; only links are checked, since pages may lead only to web addresses. Recordings are
sorted by author and title: Latin letters come first, then digits, then everything else; accents and case do not count.
Columns are held once, in Arrow; an order is a column of row numbers. Entries are made when they are written, a few
thousand at a time, so that half a million recordings need little more memory than their texts.

The tables are lists in the schema of Stability AI, an extended CSV, and JSON lines. `csv.writer` with its defaults
reproduces the published FMA list byte for byte from its parsed rows.
"""

import csv
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa

from auralith.curation.http import web_link
from auralith.curation.license_ids import SAMPLING_PLUS_DEED
from auralith.curation.licenses import CC0, SAMPLING_PLUS, UNVERSIONED, family_of, obligations
from auralith.curation.publish.manifest import read_manifest
from auralith.curation.sources.tables import ATTRIBUTION_COLUMNS
from auralith.curation.store import compute

USE = "Used to train the model; not redistributed. Cut, resampled and encoded for training."
"""Statement of use, for every recording."""
CHANGES = "cut, resampled and encoded for training"
_WORD = re.compile(r"[^\W_]+")
_PORT = re.compile(r"/licenses/by/\d\.\d/([a-z]+)/?", re.IGNORECASE)
COLUMNS = (
    *("rec_id", "source", "title", "author", "author_url", "url", "license_spdx"),
    *("license_version", "license_uri", "license_stated", "retrieved_at", "sha256", "duration_s"),
)
"""Columns of the manifest that entries are made from."""
_BATCH = 5_000
_NUMBER = re.compile(r"\d+")
_DIGITS = 20
"""Digits that numbers in ids are padded to for sorting; longer numbers are sorted as text."""
EXTENDED, LINES = "attribution_extended.csv", "attribution.jsonl"
LIST = "_attribution.csv"
"""Suffix of the file name of a source's list."""
_LABELS = {"cc0": "cc0", "cc-by": "ccby", "sampling+": "sampling+"}
_EXTENDED = (
    *("rec_id", "title", "author", "author_url", "url", "license_spdx", "license_version"),
    *("license_uri", "license_stated", "retrieved_at", "sha256", "changes"),
)
_ABOUT = {
    EXTENDED: "all that is known, not for spreadsheets, which take titles that begin with = + - or @ for formulas",
    LINES: "the same and the length in seconds, a JSON object in each line",
}


@dataclass(frozen=True, slots=True)
class Credit:
    """One recording. Links are https or http, or None; title and author are unchanged and may be empty."""

    rec_id: str
    source: str
    title: str
    author: str
    author_url: str | None
    url: str | None
    license_spdx: str
    license_version: str
    license_uri: str | None
    license_stated: str
    """Several licenses as an SPDX expression, if the source states them; else empty."""
    retrieved_at: str
    sha256: str
    seconds: float

    @property
    def source_id(self) -> str:
        """Return the id in its source."""
        return self.rec_id.partition(":")[2]

    @property
    def shown_title(self) -> str:
        """Return the title, or the source's id if it is blank."""
        return self.title if self.title.strip() else self.source_id

    @property
    def license_text(self) -> str:
        """Return the common name of the license, with the jurisdiction in its link if SPDX has no id for that port."""
        name = license_name(self.license_spdx)
        port = _PORT.search(self.license_uri or "")
        if port is None or name.endswith(port[1].upper()):
            return name
        return f"{name} {port[1].upper()}"

    @property
    def license_link(self) -> str | None:
        """Return the link to the license: its deed or, for CC BY without a version, the source's page, which states it."""
        if self.license_spdx == SAMPLING_PLUS:
            return SAMPLING_PLUS_DEED
        return self.url if self.license_spdx == UNVERSIONED else self.license_uri

    @property
    def note(self) -> str:
        """Return the restrictions on using the recording, and the licenses this one stands for; empty for most."""
        stated = self.license_stated and f"stated as {self.license_stated}"
        return "; ".join(filter(None, (_restriction(self.license_spdx), stated)))


@cache
def license_name(spdx: str) -> str:
    """Return the common name of a license."""
    if spdx == CC0:
        return "CC0 1.0"
    if spdx == SAMPLING_PLUS:
        return "CC Sampling+ 1.0"
    if spdx == UNVERSIONED:
        return "CC BY, version as stated on the source page"
    found = re.fullmatch(r"(?:LicenseRef-)?CC-BY-(\d\.\d)(?:-([A-Z]+))?", spdx)
    if found is None:
        return spdx
    return " ".join(filter(None, ("CC BY", found[1], found[2])))


def words(text: str) -> Iterator[str]:
    """Yield the words of a text without accents, in lower case. The page's script does the same."""
    return (found[0] for found in _WORD.finditer(_folded(text)))


@cache
def _restriction(spdx: str) -> str:
    terms = obligations(spdx)
    if terms is None or terms.whole_commercial:
        return ""
    return (
        "whole copies for non-commercial use only; no advertising except for the derivative itself"
    )


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in parts if not unicodedata.category(c).startswith("M"))
    return plain.lower().replace("ς", "σ")  # the same letter, in its form at the end of a word


@dataclass(frozen=True)
class Catalog:
    """Recordings in some order."""

    table: pa.Table
    """Table of `COLUMNS`; a part of a catalog shares that of the whole."""
    rows: pa.Array
    """Row numbers of the table, in order."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Credit]:
        for start in range(0, len(self), _BATCH):
            yield from self.entries(start, start + _BATCH)

    def entries(self, start: int, stop: int) -> list[Credit]:
        """Return the entries from `start` up to `stop` or the end."""
        return self._entries(self.rows.slice(start, stop - start))

    def at(self, places: list[int]) -> list[Credit]:
        """Return the entries at these places."""
        return self._entries(self.rows.take(pa.array(places, pa.int64())))

    def column(self, name: str) -> pa.ChunkedArray:
        """Return a column in this order."""
        return self.table[name].take(self.rows)

    @property
    def seconds(self) -> float:
        """Return the sum of the known durations."""
        return math.fsum(self.column("duration_s").drop_null().to_pylist())

    def of(self, value: str, column: str = "source") -> "Catalog":
        """Return the recordings with this value, in the same order."""
        mask = compute.equal(self.column(column), value)
        return Catalog(self.table, self.rows.filter(mask.combine_chunks()))

    def by_source_and_license(self) -> Mapping[tuple[str, str], "Catalog"]:
        """Return the recordings of each source and license in the same order, the largest group first."""
        keys = ["source", "license_spdx"]
        held = pa.table({name: self.column(name) for name in keys})
        counts = held.group_by(keys).aggregate([([], "count_all")])
        rows = sorted(counts.to_pylist(), key=lambda row: (-row["count_all"], *map(row.get, keys)))
        return {
            (row["source"], row["license_spdx"]): self.of(row["source"]).of(
                row["license_spdx"], "license_spdx"
            )
            for row in rows
        }

    def by_id(self) -> "Catalog":
        """Return the recordings ordered by source and id; numbers in ids count as numbers."""
        keys = {
            "source": self.column("source"),
            "id": _mapped(self.column("rec_id"), _numbered),
        }
        return Catalog(self.table, self.rows.take(_order(keys)))

    def initials(self) -> Mapping[str, int]:
        """Return the place of the first entry of each author's initial: A … Z, "0–9", or "…"."""
        places: dict[str, int] = {}
        last = None
        for place, author in enumerate(_values(self.column("author"))):
            if author != last or not places:
                places.setdefault(_initial(_key(author or "")), place)
                last = author
        return places

    def _entries(self, rows: pa.Array) -> list[Credit]:
        return [_entry(row) for row in self.table.take(rows).to_pylist()]


def read_catalog(folder: Path) -> Catalog:
    """Return the recordings of a curation's manifest, in the order of the page.

    Raises:
        InvalidRequest: the manifest has not been written yet.
        ResourceError: the manifest can't be read.
    """
    table = read_manifest(folder, COLUMNS).combine_chunks()
    for name in ("source", "license_spdx"):
        place = table.column_names.index(name)
        table = table.set_column(place, name, compute.fill_null(table[name], ""))
    keys = {
        "author": _ranks(table["author"]),
        "title": _mapped(table["title"], _key),
        "source": table["source"],
        "id": _mapped(table["rec_id"], _numbered),
    }
    return Catalog(table, _order(keys))


def _order(keys: Mapping[str, pa.Array | pa.ChunkedArray]) -> pa.Array:
    """Return the row numbers sorted by these columns, of which the first counts most."""
    return compute.sort_indices(pa.table(dict(keys)), [(name, "ascending") for name in keys])


def _values(column: pa.ChunkedArray) -> Iterator[str | None]:
    """Yield the texts of a column, with one batch in memory."""
    for start in range(0, len(column), _BATCH):
        yield from column.slice(start, _BATCH).to_pylist()


def _mapped(column: pa.ChunkedArray, change: Callable[[str], str]) -> pa.Array:
    """Return the changed texts of a column; null counts as empty."""
    return pa.array((change(text or "") for text in _values(column)), pa.string(), size=len(column))


def _ranks(authors: pa.ChunkedArray) -> pa.Array:
    """Return the rank of each author among all, equal for authors that differ only in accents or case."""
    names = compute.fill_null(authors, "")
    distinct = names.unique()
    keys = [_key(name) for name in distinct.to_pylist()]
    ordered = sorted(set(keys), key=lambda key: (_class(key), key))
    rank_of = {key: rank for rank, key in enumerate(ordered)}
    ranks = pa.array([rank_of[key] for key in keys], pa.int32())
    return ranks.take(compute.index_in(names, value_set=distinct).combine_chunks())


def _entry(row: Mapping[str, Any]) -> Credit:
    return Credit(
        row["rec_id"],
        row["source"],
        row["title"] or "",
        row["author"] or "",
        web_link(row["author_url"]),
        web_link(row["url"]),
        row["license_spdx"],
        row["license_version"] or "",
        web_link(row["license_uri"]),
        row["license_stated"] or "",
        row["retrieved_at"] or "",
        row["sha256"] or "",
        row["duration_s"] or 0.0,
    )


def _key(text: str) -> str:
    return " ".join(words(text))


def _numbered(rec_id: str) -> str:
    """Return an id whose order as text is that of its numbers."""
    return _NUMBER.sub(lambda number: number[0].zfill(_DIGITS), rec_id)


def _initial(key: str) -> str:
    first = key[:1]
    if "a" <= first <= "z":
        return first.upper()
    return "0–9" if first.isdecimal() else "…"


def _class(key: str) -> int:
    return {"0–9": 1, "…": 2}.get(_initial(key), 0)


_FIELDS = tuple(field.name for field in fields(Credit))


@dataclass(frozen=True)
class Table:
    """A file with a row for each recording of a catalog, in its order."""

    name: str
    about: str
    """Description of the content, in a line."""
    catalog: Catalog
    columns: tuple[str, ...]
    """Columns of a CSV file, of which the first is the id; empty for JSON lines."""
    cells: Callable[[Credit], Mapping[str, object]]

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


def _published(entry: Credit) -> dict[str, object]:
    cells = (entry.source_id, entry.title, entry.author, _label(entry), entry.url)
    return dict(zip(ATTRIBUTION_COLUMNS, cells, strict=True))


def _known(entry: Credit) -> Mapping[str, object]:
    return {name: getattr(entry, name) for name in _FIELDS} | {"changes": CHANGES}


def _by_source(catalog: Catalog) -> Iterator[tuple[str, Catalog]]:
    for source in catalog.column("source").unique().to_pylist():
        yield source, catalog.of(source)


def _label(entry: Credit) -> str:
    """Return the label of a license in the published lists, or its SPDX id if they have none."""
    family = family_of(entry.license_spdx)
    return _LABELS[family] if family else entry.license_spdx
