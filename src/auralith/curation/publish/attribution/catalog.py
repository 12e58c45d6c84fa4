"""The manifest's recordings in the order of the page: by author and title, as a reader looks for them.

Latin letters come first, then digits, then all else; accents and case don't count. Only columns are held, once, as
Arrow has them; an order is a column of row numbers. Entries are made where they are written, some thousand at a time,
so that half a million recordings need little more memory than their texts.
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
"""Of the manifest, what an entry is made of."""
_BATCH = 5_000
_NUMBER = re.compile(r"\d+")
_DIGITS = 20
"""Numbers in ids have fewer; longer ones are sorted as text."""


@dataclass(frozen=True)
class Catalog:
    """Recordings in an order."""

    table: "pa.Table"
    """Of `COLUMNS`; a part's is that of the whole."""
    rows: "pa.Array"
    """Of the table, in the order meant."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Entry]:
        for start in range(0, len(self), _BATCH):
            yield from self.entries(start, start + _BATCH)

    def entries(self, start: int, stop: int) -> list[Entry]:
        """The entries from `start` up to `stop`, or to the end."""
        return self._made(self.rows.slice(start, stop - start))

    def at(self, places: list[int]) -> list[Entry]:
        """The entries at these places."""
        return self._made(self.rows.take(pa.array(places, pa.int64())))

    def column(self, name: str) -> "pa.ChunkedArray":
        """A column, in this order."""
        return self.table[name].take(self.rows)

    @property
    def seconds(self) -> float:
        """Of all recordings whose length is known."""
        return math.fsum(self.column("duration_s").drop_null().to_pylist())

    def of(self, value: str, column: str = "source") -> "Catalog":
        """Those with this value, in the same order."""
        mask = compute.equal(self.column(column), value)
        return Catalog(self.table, self.rows.filter(mask.combine_chunks()))

    def by_source_and_license(self) -> Mapping[tuple[str, str], "Catalog"]:
        """Those of each source and license, in the same order; the largest group first."""
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
        """By source and id; numbers in ids count as numbers."""
        keys = {
            "source": self.column("source"),
            "id": _mapped(self.column("rec_id"), _numbered),
        }
        return Catalog(self.table, self.rows.take(_order(keys)))

    def initials(self) -> Mapping[str, int]:
        """The place of the first entry of each initial of an author: A … Z, "0–9", or "…"."""
        places: dict[str, int] = {}
        last = None
        for place, author in enumerate(_values(self.column("author"))):
            if author != last or not places:
                places.setdefault(_initial(_key(author or "")), place)
                last = author
        return places

    def _made(self, rows: "pa.Array") -> list[Entry]:
        return [_entry(row) for row in self.table.take(rows).to_pylist()]


def read_catalog(folder: Path) -> Catalog:
    """What a curation's manifest says, in the order of the page.

    Raises:
        InvalidRequest: there is no manifest yet.
        ResourceError: it can't be read.
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
    """The rows as these columns sort them, the first one first."""
    return compute.sort_indices(pa.table(dict(keys)), [(name, "ascending") for name in keys])


def _values(column: "pa.ChunkedArray") -> Iterator[str | None]:
    """The texts of a column, a batch of them in memory."""
    for start in range(0, len(column), _BATCH):
        yield from column.slice(start, _BATCH).to_pylist()


def _mapped(column: "pa.ChunkedArray", change: Callable[[str], str]) -> "pa.Array":
    """Texts changed; null counts as empty."""
    return pa.array((change(text or "") for text in _values(column)), pa.string(), size=len(column))


def _ranks(authors: "pa.ChunkedArray") -> "pa.Array":
    """The place of each author among all: the same where only accents or case differ."""
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
    """An id that sorts as text where its numbers stand in order."""
    return _NUMBER.sub(lambda number: number[0].zfill(_DIGITS), rec_id)


def _initial(key: str) -> str:
    first = key[:1]
    if "a" <= first <= "z":
        return first.upper()
    return "0–9" if first.isdecimal() else "…"


def _class(key: str) -> int:
    return {"0–9": 1, "…": 2}.get(_initial(key), 0)
