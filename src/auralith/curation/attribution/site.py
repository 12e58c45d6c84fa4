"""The attribution as one folder of static files, written whole: pages, search, tables."""

import re
import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from auralith.curation.attribution.entries import COLUMNS, Entry, entries_of, initial, license_name
from auralith.curation.attribution.pages import Listing, listing_page, start_page
from auralith.curation.attribution.search import write_search
from auralith.curation.attribution.tables import write_tables
from auralith.curation.manifest import read_manifest
from auralith.curation.publishing import PublishSettings
from auralith.files import whole_folder

FOLDER = "attribution"
ALL = "page"
"""What the pages' names of the list of everything begin with."""


def write_attribution(folder: Path, options: PublishSettings) -> Path:
    """Write `attribution/` into a curation's folder, in place of an older one; the page to open.

    Raises:
        InvalidRequest: there is no manifest yet.
        ResourceError: the manifest can't be read, or the folder can't be written; an older one then stays.
    """
    entries = entries_of(read_manifest(folder, COLUMNS))
    target, fresh = folder / FOLDER, folder / f".{FOLDER}"
    shutil.rmtree(fresh, ignore_errors=True)
    with whole_folder(fresh) as inside:
        _write(entries, inside, options)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return target / "index.html"


def _write(entries: Sequence[Entry], folder: Path, options: PublishSettings) -> None:
    everything = Listing("All recordings", ALL, entries, options.page_entries)
    groups = _groups(entries, options.page_entries)
    for listing in (everything, *groups.values()):
        for number in range(1, listing.num_pages + 1):
            text = listing_page(listing, number)
            (folder / listing.name(number)).write_text(text, encoding="utf-8")
    tables = write_tables(entries, folder)
    write_search(entries, folder / "search", options.page_entries)
    for name in ("style.css", "search.js"):
        asset = files("auralith.curation.attribution") / "assets" / name
        (folder / name).write_bytes(asset.read_bytes())
    start = start_page(
        options.name, options.contact, everything, groups, _initials(everything), tables
    )
    (folder / "index.html").write_text(start, encoding="utf-8")


def _groups(entries: Sequence[Entry], page_entries: int) -> Mapping[tuple[str, str], Listing]:
    """A listing for each source and license, the largest first."""
    members: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in entries:
        members[entry.source, entry.license_spdx].append(entry)
    ordered = sorted(members.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        (source, spdx): Listing(
            f"{source}, {license_name(spdx)}", _slug(f"{source} {spdx}"), found, page_entries
        )
        for (source, spdx), found in ordered
    }


def _slug(text: str) -> str:
    """A file name; the last part of an id that is only ours or a registry's says enough."""
    plain = text.replace("LicenseRef-", "").replace("scancode-", "").lower()
    return "list-" + re.sub(r"[^a-z0-9.]+", "-", plain).strip("-")


def _initials(everything: Listing) -> Mapping[str, str]:
    """A link to the first entry of each initial."""
    links: dict[str, str] = {}
    for place, entry in enumerate(everything.entries):
        page = 1 + place // everything.page_entries
        links.setdefault(initial(entry), f"{everything.name(page)}#e{place}")
    return links
