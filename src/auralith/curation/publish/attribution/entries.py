"""The attribution of one recording: title, author, source and license (TASL) with their links, and its use.

Texts are unchanged from the source; only links are checked, since pages may lead only to web addresses. Words, by which
authors are sorted and recordings are found, ignore accents and case.
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from auralith.curation.license_terms import CC0, SAMPLING_PLUS, UNVERSIONED, obligations

USE = "Used to train the model; not redistributed. Cut, resampled and encoded for training."
"""Statement of use, for every recording."""
CHANGES = "cut, resampled and encoded for training"
SAMPLING_PLUS_URI = "https://creativecommons.org/licenses/sampling+/1.0/"
_WORD = re.compile(r"[^\W_]+")
_PORT = re.compile(r"/licenses/by/\d\.\d/([a-z]+)/?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
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
            return SAMPLING_PLUS_URI
        return self.url if self.license_spdx == UNVERSIONED else self.license_uri

    @property
    def restriction(self) -> str:
        """Return the restrictions on using the recording; empty for most licenses."""
        return _restriction(self.license_spdx)


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
