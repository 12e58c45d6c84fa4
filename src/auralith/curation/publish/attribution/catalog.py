"""The manifest's recordings in the order of the page: by author and title.

Latin letters come first, then digits, then everything else; accents and case don't count. Columns are held once, in Arrow;
an order is a column of row numbers. Entries are made when they are written, a few thousand at a time, so that half a
million recordings need little more memory than their texts.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auralith.curation.links import web_link
from auralith.curation.publish.attribution.entries import Entry, words
from auralith.curation.publish.manifest import read_manifest
from auralith.extras import require

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = require("pyarrow", "curate")
compute = require("pyarrow.compute", "curate")

COLUMNS = (
    *("rec_id", "source", "title", "author", "author_url", "url", "license_spdx"),
    *("license_version", "license_uri", "retrieved_at", "sha256", "duration_s"),
)
"""Columns of the manifest that entries are made from."""
_BATCH = 5_000
_NUMBER = re.compile(r"\d+")
_DIGITS = 20
"""Digits that numbers in ids are padded to for sorting; longer numbers are sorted as text."""


@dataclass(frozen=True)
class Catalog:
    """Recordings in some order."""

    table: "pa.Table"
    """Table of `COLUMNS`; a part of a catalog shares that of the whole."""
    rows: "pa.Array"
    """Row numbers of the table, in order."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Entry]:
        for start in range(0, len(self), _BATCH):
            yield from self.entries(start, start + _BATCH)

    def entries(self, start: int, stop: int) -> list[Entry]:
        """Return the entries from `start` up to `stop` or the end."""
        return self._entries(self.rows.slice(start, stop - start))

    def at(self, places: list[int]) -> list[Entry]:
        """Return the entries at these places."""
        return self._entries(self.rows.take(pa.array(places, pa.int64())))

    def column(self, name: str) -> "pa.ChunkedArray":
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

    def _entries(self, rows: "pa.Array") -> list[Entry]:
        return [_entry(row) for row in self.table.take(rows).to_pylist()]


def read_catalog(folder: Path) -> Catalog:
    """Return the recordings of a curation's manifest, in the order of the page.

    Raises:
        InvalidRequest: there is no manifest yet.
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


def _order(keys: Mapping[str, "pa.Array | pa.ChunkedArray"]) -> "pa.Array":
    """Return the row numbers sorted by these columns, of which the first counts most."""
    return compute.sort_indices(pa.table(dict(keys)), [(name, "ascending") for name in keys])


def _values(column: "pa.ChunkedArray") -> Iterator[str | None]:
    """Yield the texts of a column, with one batch in memory."""
    for start in range(0, len(column), _BATCH):
        yield from column.slice(start, _BATCH).to_pylist()


def _mapped(column: "pa.ChunkedArray", change: Callable[[str], str]) -> "pa.Array":
    """Return the changed texts of a column; null counts as empty."""
    return pa.array((change(text or "") for text in _values(column)), pa.string(), size=len(column))


def _ranks(authors: "pa.ChunkedArray") -> "pa.Array":
    """Return the rank of each author among all, equal for authors that differ only in accents or case."""
    names = compute.fill_null(authors, "")
    distinct = names.unique()
    keys = [_key(name) for name in distinct.to_pylist()]
    ordered = sorted(set(keys), key=lambda key: (_class(key), key))
    rank_of = {key: rank for rank, key in enumerate(ordered)}
    ranks = pa.array([rank_of[key] for key in keys], pa.int32())
    return ranks.take(compute.index_in(names, value_set=distinct).combine_chunks())


def _entry(row: Mapping[str, Any]) -> Entry:
    return Entry(
        row["rec_id"],
        row["source"],
        row["title"] or "",
        row["author"] or "",
        web_link(row["author_url"]),
        web_link(row["url"]),
        row["license_spdx"],
        row["license_version"] or "",
        web_link(row["license_uri"]),
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
