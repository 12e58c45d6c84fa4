"""Recordings in pages: all of them, or those of one source and license."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from auralith.curation.publish.attribution.catalog import Catalog
from auralith.curation.publish.attribution.entries import Entry, license_name

ALL, PART = "page", "list"
"""What names of pages begin with: of the list of everything, and of the others."""


class Count(NamedTuple):
    """How many recordings, and their seconds as far as known."""

    recordings: int
    seconds: float

    @property
    def cells(self) -> tuple[str, str]:
        """Recordings and hours as the first page's table has them; a dash where no length is known."""
        return f"{self.recordings:,}", f"{self.seconds / 3_600:,.1f}" if self.seconds else "–"


@dataclass(frozen=True)
class Listing:
    """Recordings, `page_entries` on a page; there is one page at least."""

    title: str
    slug: str
    """What the names of its pages begin with."""
    catalog: Catalog
    page_entries: int

    @property
    def num_pages(self) -> int:
        return max(1, -(-len(self.catalog) // self.page_entries))

    def name(self, page: int) -> str:
        """The file of a page; the first is number 1."""
        return f"{self.slug}-{page}.html"

    def entries(self, page: int) -> list[Entry]:
        """What stands on a page."""
        start = (page - 1) * self.page_entries
        return self.catalog.entries(start, start + self.page_entries)

    @cached_property
    def count(self) -> Count:
        return Count(len(self.catalog), self.catalog.seconds)


def everything(catalog: Catalog, page_entries: int) -> Listing:
    """The list of all recordings."""
    return Listing("All recordings", ALL, catalog, page_entries)


def parts(catalog: Catalog, page_entries: int) -> Mapping[tuple[str, str], Listing]:
    """A list for each source and license, the largest first; no two have the same name."""
    found: dict[tuple[str, str], Listing] = {}
    taken: set[str] = set()
    for (source, spdx), part in catalog.by_source_and_license().items():
        slug = _slug(source, spdx)
        while slug in taken:
            slug += "-"
        taken.add(slug)
        title = f"{source}, {license_name(spdx)}"
        found[source, spdx] = Listing(title, slug, part, page_entries)
    return found


def _slug(source: str, spdx: str) -> str:
    """A file name; the last part of an id that is only ours or a registry's says enough."""
    plain = f"{source} {spdx.replace('LicenseRef-', '').replace('scancode-', '')}".lower()
    return f"{PART}-" + re.sub(r"[^a-z0-9.]+", "-", plain).strip("-")
