"""What is said of each recording: title, author, source and license (TASL), with their links, and how it was used.

Entries are sorted by author and title as a reader looks for them: Latin letters first, then digits, then all else.
Accents and case don't count for the order, and they don't count in the search, which shares the same words.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from auralith.curation.license_terms import CC0, SAMPLING_PLUS, UNVERSIONED, obligations

if TYPE_CHECKING:
    import pyarrow as pa

USE = "Used to train the model; not redistributed. Cut, resampled and encoded for training."
"""What was done with every recording."""
CHANGES = "cut, resampled and encoded for training"
SAMPLING_PLUS_URI = "https://creativecommons.org/licenses/sampling+/1.0/"
COLUMNS = (
    *("rec_id", "source", "title", "author", "author_url", "url", "license_spdx"),
    *("license_version", "license_uri", "retrieved_at", "sha256", "duration_s"),
)
"""Of the manifest, what an entry is made of."""
_WORD = re.compile(r"[^\W_]+")
_ID = re.compile(r"(\d+)")


@dataclass(frozen=True)
class Entry:
    """One recording. Links are https or http, or None; title and author are as written, and may be empty."""

    rec_id: str
    source: str
    title: str
    author: str
    author_url: str | None
    url: str | None
    license_spdx: str
    license_version: str
    license_uri: str | None
    retrieved_at: str
    sha256: str
    seconds: float

    @property
    def source_id(self) -> str:
        """The id in its source."""
        return self.rec_id.partition(":")[2]

    @property
    def shown_title(self) -> str:
        """The title; the source's id where there is none."""
        return self.title if self.title.strip() else self.source_id


def entries_of(manifest: "pa.Table") -> list[Entry]:
    """The entries of a manifest that has `COLUMNS`, in the order of the page."""
    return sorted((_entry(row) for row in manifest.select(COLUMNS).to_pylist()), key=_order)


def license_name(spdx: str) -> str:
    """What people call a license."""
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


def restriction(spdx: str) -> str:
    """What a reader of the page must know before they use the recording themselves; empty for most licenses."""
    terms = obligations(spdx)
    if terms is None or terms.whole_commercial:
        return ""
    return "whole copies not for commercial use; no advertising but for the derivative itself"


def license_link(entry: Entry) -> str | None:
    """Where the license is read: its deed, or for CC BY without a version the source's page, which states it."""
    if entry.license_spdx == SAMPLING_PLUS:
        return SAMPLING_PLUS_URI
    return entry.url if entry.license_spdx == UNVERSIONED else entry.license_uri


def initial(entry: Entry) -> str:
    """The letter of the author that the index lists it under: A … Z, "0–9", or "…"."""
    return _initial(_key(entry.author))


def words(text: str) -> Iterator[str]:
    """The words that a text is found by: without accents, in lower case. The page's script does the same."""
    return (found[0] for found in _WORD.finditer(_folded(text)))


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(
        row["rec_id"],
        row["source"],
        row["title"] or "",
        row["author"] or "",
        _link(row["author_url"]),
        _link(row["url"]),
        row["license_spdx"] or "",
        row["license_version"] or "",
        _link(row["license_uri"]),
        row["retrieved_at"] or "",
        row["sha256"] or "",
        row["duration_s"] or 0.0,
    )


def _link(text: str | None) -> str | None:
    """A link that may be followed; scripts and files may not."""
    try:
        return text if text and urlsplit(text).scheme in ("https", "http") else None
    except ValueError:
        return None


def _order(entry: Entry) -> tuple[object, ...]:
    author = _key(entry.author)
    return _rank(author), author, _key(entry.title), source_order(entry)


def source_order(entry: Entry) -> tuple[object, ...]:
    """By source and id; numbers in ids count as numbers."""
    parts = _ID.split(entry.source_id)
    return entry.source, [(int(part), "") if i % 2 else (0, part) for i, part in enumerate(parts)]


def _key(text: str) -> str:
    return " ".join(words(text))


def _initial(key: str) -> str:
    first = key[:1]
    if "a" <= first <= "z":
        return first.upper()
    return "0–9" if first.isdecimal() else "…"


def _rank(key: str) -> int:
    return {"0–9": 1, "…": 2}.get(_initial(key), 0)


def _folded(text: str) -> str:
    if text.isascii():
        return text.lower()
    parts = unicodedata.normalize("NFKD", text)
    return "".join(c for c in parts if not unicodedata.category(c).startswith("M")).lower()
