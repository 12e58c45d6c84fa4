"""Whether the pages say what the manifest says, one to one: the list of all recordings, each source's and license's
list, the counts on the first page, and the tables beside them, byte by byte. A page is compared at a time, so that memory doesn't grow with their number."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int

from auralith.curation.attribution.catalog import Catalog, read_catalog
from auralith.curation.attribution.entries import USE, Entry
from auralith.curation.attribution.listing import ALL, PART, Count, Listing, parts
from auralith.curation.attribution.reading import Page, Shown, read_page
from auralith.curation.attribution.site import FOLDER
from auralith.curation.attribution.table_check import table_differences
from auralith.curation.license_terms import is_known_id
from auralith.curation.links import is_valid_link
from auralith.curation.manifest import check_review
from auralith.curation.review import withdrawals
from auralith.errors import InvalidRequest

_NAME = re.compile(r"(.+)-(\d+)")
_COLUMNS = 5
"""Of the first page's table: license id, source, license, recordings, hours."""


def verify_attribution(folder: Path) -> list[str]:
    """What is wrong with the attribution of a curation, a line for each difference; nothing if all is well.

    Raises:
        InvalidRequest: there is no manifest or no attribution yet.
        ResourceError: a file can't be read, or the review log isn't the one that the manifest was made of.
    """
    catalog = read_catalog(folder)
    site = folder / FOLDER
    if not (site / "index.html").is_file():
        raise InvalidRequest(f"{site} has no pages; auralith curate attribution build writes them")
    check_review(folder)
    return [*_Comparison(catalog, site).differences(), *_withdrawn(folder, catalog)]


def _withdrawn(folder: Path, catalog: Catalog) -> Iterator[str]:
    """Return what was taken out after the manifest was written."""
    listed = set(catalog.column("rec_id").to_pylist())
    for one in withdrawals(folder):
        if one.rec_id in listed:
            yield f"{one.rec_id} was withdrawn, but is in the manifest; run the curation again"


class _Comparison:
    """A manifest beside its pages."""

    def __init__(self, catalog: Catalog, site: Path) -> None:
        self._catalog, self._site = catalog, site
        ids = catalog.column("rec_id").to_pylist()
        self._place_of = {id: place for place, id in enumerate(ids)}
        # How many are on a page doesn't matter here.
        self._parts = parts(catalog, max(1, len(catalog)))

    def differences(self) -> Iterator[str]:
        """Return what the manifest lacks, then what the lists, the counts and the tables say otherwise."""
        for entry in self._catalog:
            yield from (f"{entry.rec_id}: {lack}" for lack in _lacking(entry))
        yield from self._of_list(ALL, "listed")
        yield from self._of_list(PART, "in the list of its source and license")
        yield from self._of_counts(read_page(self._site / "index.html"))
        yield from table_differences(self._catalog.by_id(), self._site)

    def _of_list(self, kind: str, listed: str) -> Iterator[str]:
        times = np.zeros(len(self._catalog), dtype=np.int64)
        licenses: Counter[str] = Counter()
        for path, slug in _pages(self._site, kind):
            page = read_page(path)
            if USE not in page.use:
                yield f"{path.name}: no statement of use"
            known = [shown for shown in page.entries if shown.rec_id in self._place_of]
            for shown in page.entries:
                licenses[shown.license_spdx] += 1
                if shown.rec_id not in self._place_of:
                    yield f"{shown.rec_id} is {listed}, but not in the manifest"
            places = [self._place_of[shown.rec_id] for shown in known]
            np.add.at(times, places, 1)
            for entry, shown in zip(self._catalog.at(places), known, strict=True):
                yield from (
                    f"{entry.rec_id} on {path.name}: {wrong}" for wrong in _wrong(entry, shown)
                )
                if kind == PART and self._part_of(entry).slug != slug:
                    yield f"{entry.rec_id} is on {path.name}, not in its own list"
        yield from self._not_once(times, listed)
        yield from self._of_licenses(licenses, listed)

    def _part_of(self, entry: Entry) -> Listing:
        return self._parts[entry.source, entry.license_spdx]

    def _not_once(self, times: Int[np.ndarray, "recordings"], listed: str) -> Iterator[str]:
        ids = self._catalog.column("rec_id")
        for place in np.flatnonzero(times != 1).tolist():
            if times[place]:
                yield f"{ids[place]} is {listed} {times[place]} times"
            else:
                yield f"{ids[place]} is in the manifest, but not {listed}"

    def _of_licenses(self, shown: Counter[str], listed: str) -> Iterator[str]:
        due: Counter[str] = Counter()
        for (_, license), part in self._parts.items():
            due[license] += part.count.recordings
        for license in sorted(shown.keys() | due.keys()):
            if shown[license] != due[license]:
                yield f"{shown[license]:,} are {listed} under {license}, the manifest has {due[license]:,}"

    def _of_counts(self, start: Page) -> Iterator[str]:
        """The first page's table: a row for each source and license, then one for all."""
        due = {pair: part.count.cells for pair, part in self._parts.items()}
        due["all", ""] = Count(len(self._catalog), self._catalog.seconds).cells
        shown = {(row[1], row[0]): (row[3], row[4]) for row in start.counts if len(row) == _COLUMNS}
        for source, license in sorted(shown.keys() | due.keys()):
            told, wanted = (
                " and ".join(of.get((source, license), ("none",))) for of in (shown, due)
            )
            if told != wanted:
                which = f"{source} {license}".strip()
                yield f"the first page counts {told} h of {which}, the manifest {wanted} h"


def _lacking(entry: Entry) -> Iterator[str]:
    """What must be said of a recording, and the manifest can't say."""
    needed = {"title": entry.title, "author": entry.author, "source": entry.source}
    for name, value in {**needed, "url": entry.url, "license": entry.license_spdx}.items():
        if not (value or "").strip():
            yield f"no {name}"
    for name, link in {
        "author": entry.author_url,
        "title": entry.url,
        "license": entry.license_uri,
    }.items():
        if link and not is_valid_link(link):
            yield f"the {name}'s link '{link}' is not a valid URL"
    if entry.license_spdx and not is_known_id(entry.license_spdx):
        yield f"unknown license '{entry.license_spdx}'"


def _wrong(entry: Entry, shown: Shown) -> Iterator[str]:
    """What a page says otherwise than the manifest."""
    if shown.license_spdx != entry.license_spdx:
        yield f"license '{shown.license_spdx}', the manifest has '{entry.license_spdx}'"
    texts = {
        "title": entry.shown_title,
        "author": entry.author,
        "source": entry.source,
        "license": entry.license_text,
        "note": entry.restriction,
    }
    for name, text in texts.items():
        if shown.text.get(name, "") != text:
            yield f"{name} '{shown.text.get(name, '')}', the manifest has '{text}'"
    links = {
        "title": entry.url,
        "author": entry.author_url if entry.author else None,
        "license": entry.license_link,
    }
    for name, link in links.items():
        if shown.links.get(name) != link:
            yield f"{name} leads to '{shown.links.get(name)}', not to '{link}'"


def _pages(site: Path, kind: str) -> Iterator[tuple[Path, str]]:
    """The pages of the lists of this kind, in their order, each with the list's slug."""
    found = []
    for path in site.glob(f"{kind}-*.html"):
        if match := _NAME.fullmatch(path.stem):
            found.append((match[1], int(match[2]), path))
    for slug, _, path in sorted(found):
        yield path, slug
