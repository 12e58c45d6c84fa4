"""Compare a written attribution with its manifest: write it again and compare file by file."""

import re
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory

from auralith.curation.license_terms import is_known_id
from auralith.curation.links import is_valid_link
from auralith.curation.publish.attribution.catalog import Catalog, read_catalog
from auralith.curation.publish.attribution.entries import Entry
from auralith.curation.publish.attribution.site import FOLDER, read_settings, write_site
from auralith.curation.publish.manifest import check_review
from auralith.curation.review import withdrawals
from auralith.errors import InvalidRequest, ResourceError

_GENERATED = re.compile(r"(page-\d+|list-.+-\d+)\.html|.+_attribution\.csv|search/.+\.js")
"""Names of files that depend on the manifest; other files may lie beside them."""
_BEFORE, _AFTER = 30, 90
"""Characters shown around a difference."""


def verify_attribution(folder: Path) -> list[str]:
    """Return the differences between the attribution of a curation and its manifest, a line for each file.

    Raises:
        InvalidRequest: there is no manifest or no attribution yet, or an older version wrote it.
        ResourceError: a file can't be read, or the manifest was not made from this review log.
    """
    catalog = read_catalog(folder)
    site = folder / FOLDER
    if not (site / "index.html").is_file():
        raise InvalidRequest(f"{site} has no pages; auralith curate attribution build writes them")
    check_review(folder)
    return [*_lacks(catalog), *_differences(catalog, site), *_withdrawn(folder, catalog)]


def _lacks(catalog: Catalog) -> Iterator[str]:
    for entry in catalog:
        yield from (f"{entry.rec_id}: {lack}" for lack in _lacking(entry))


def _lacking(entry: Entry) -> Iterator[str]:
    """Yield what an attribution must state and the manifest lacks."""
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


def _differences(catalog: Catalog, site: Path) -> Iterator[str]:
    options = read_settings(site)
    with TemporaryDirectory(prefix="auralith-") as temporary:
        fresh = Path(temporary) / FOLDER
        write_site(catalog, fresh, options)
        expected, present = _names(fresh), _names(site)
        for name in sorted(expected):
            if name not in present:
                yield f"{name} is missing"
            elif difference := _difference(site / name, fresh / name):
                yield f"{name}, {difference}"
    for name in sorted(present - expected):
        if _GENERATED.fullmatch(name):
            yield f"{name} does not belong to the manifest"


def _names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def _difference(path: Path, fresh: Path) -> str:
    """Return the first line that differs; an empty text if none does."""
    try:
        with path.open("rb") as left, fresh.open("rb") as right:
            for number, (one, two) in enumerate(zip_longest(left, right, fillvalue=b""), 1):
                if one != two:
                    shown, due = _around(one, two)
                    return f"line {number}: {shown!r}, the manifest gives {due!r}"
    except OSError as error:
        raise ResourceError(f"{path} can't be read ({error}); build it again") from error
    return ""


def _around(one: bytes, two: bytes) -> tuple[str, str]:
    """Return both lines from a little before their first difference."""
    texts = [line.decode("utf-8", "backslashreplace") for line in (one, two)]
    pairs = enumerate(zip_longest(*texts))
    place = next((n for n, (a, b) in pairs if a != b), 0)
    start = max(0, place - _BEFORE)
    return texts[0][start : place + _AFTER], texts[1][start : place + _AFTER]


def _withdrawn(folder: Path, catalog: Catalog) -> Iterator[str]:
    """Yield the recordings that were withdrawn after the manifest was written."""
    listed = set(catalog.column("rec_id").to_pylist())
    for one in withdrawals(folder):
        if one.rec_id in listed:
            yield f"{one.rec_id} was withdrawn, but is in the manifest; run the curation again"
