"""The attribution as one folder of static files, written whole: HTML pages, tables and the index of the search.

The pages list all recordings, and those of each source and license. Foreign text is escaped and isolated for its writing
direction; no page needs another site, and only the search needs a script. Equal settings and an equal manifest give equal
files, so `verify` writes them again and compares.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from auralith.curation.links import web_link
from auralith.curation.publish.attribution.catalog import Catalog, read_catalog
from auralith.curation.publish.attribution.entries import USE, Entry, license_name
from auralith.curation.publish.attribution.search import write_search
from auralith.curation.publish.attribution.tables import write_tables
from auralith.curation.publish.settings import PublishSettings
from auralith.errors import InvalidRequest, ResourceError
from auralith.files import whole_folder
from auralith.foreign import parse_json
from auralith.pages import template

FOLDER = "attribution"
SETTINGS = "settings.json"
_RENDERED = ("name", "contact", "page_entries")
"""The settings that the pages depend on."""
_AGAIN = "auralith curate attribution build writes the pages again"
ALL, PART = "page", "list"
"""Prefixes of the file names of pages: of the list of all recordings, and of the other lists."""
_PACKAGE = "auralith.curation.publish.attribution"


class Count(NamedTuple):
    """Number of recordings, and the sum of their known durations."""

    recordings: int
    seconds: float

    @property
    def cells(self) -> tuple[str, str]:
        """Return recordings and hours as the first page shows them; a dash if no duration is known."""
        return f"{self.recordings:,}", f"{self.seconds / 3_600:,.1f}" if self.seconds else "–"


@dataclass(frozen=True)
class Listing:
    """A list of recordings with `page_entries` on a page, and at least one page."""

    title: str
    slug: str
    """Prefix of the file names of its pages."""
    catalog: Catalog
    page_entries: int

    @property
    def num_pages(self) -> int:
        return max(1, -(-len(self.catalog) // self.page_entries))

    def name(self, page: int) -> str:
        """Return the file name of a page; the first is number 1."""
        return f"{self.slug}-{page}.html"

    def entries(self, page: int) -> list[Entry]:
        """Return the entries on a page."""
        start = (page - 1) * self.page_entries
        return self.catalog.entries(start, start + self.page_entries)

    @cached_property
    def count(self) -> Count:
        return Count(len(self.catalog), self.catalog.seconds)


def write_attribution(folder: Path, options: PublishSettings) -> Path:
    """Write `attribution/` into a curation's folder, in place of an older one, and return the page to open.

    Raises:
        InvalidRequest: there is no manifest yet.
        ResourceError: the manifest can't be read, or the folder can't be written; an older one then stays.
    """
    target = folder / FOLDER
    write_site(read_catalog(folder), target, options)
    return target / "index.html"


def write_site(catalog: Catalog, target: Path, options: PublishSettings) -> None:
    """Write all files for a catalog into the folder `target`, in place of an older one."""
    with whole_folder(target, replace=True) as inside:
        _write(catalog, inside, options)


def read_settings(site: Path) -> PublishSettings:
    """Return the settings that a written site was rendered with.

    Raises:
        InvalidRequest: an older version wrote it, or the file is damaged. ResourceError: it can't be read.
    """
    path = site / SETTINGS
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
        texts = values["name"], values["contact"]
        if type(values["page_entries"]) is not int or not all(isinstance(t, str) for t in texts):
            raise ValueError("a value has the wrong type")
        return replace(PublishSettings(), **{name: values[name] for name in _RENDERED})
    except FileNotFoundError as error:
        raise InvalidRequest(f"{path} is missing; {_AGAIN}") from error
    except OSError as error:
        raise ResourceError(f"{path} can't be read ({error}); {_AGAIN}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidRequest(f"{path} is damaged ({error}); {_AGAIN}") from error


def _write(catalog: Catalog, folder: Path, options: PublishSettings) -> None:
    whole = everything(catalog, options.page_entries)
    groups = parts(catalog, options.page_entries)
    for listing in (whole, *groups.values()):
        for number in range(1, listing.num_pages + 1):
            _put(folder / listing.name(number), listing_page(listing, number))
    tables = write_tables(catalog.by_id(), folder)
    write_search(catalog, folder / "search", options.page_entries)
    for name in ("style.css", "search.js"):
        asset = files("auralith.curation.publish.attribution") / "assets" / name
        (folder / name).write_bytes(asset.read_bytes())
    start = start_page(options.name, options.contact, whole, groups, _initials(whole), tables)
    _put(folder / "index.html", start)
    rendered = {name: getattr(options, name) for name in _RENDERED}
    _put(folder / SETTINGS, json.dumps(rendered, ensure_ascii=False, indent=1) + "\n")


def _put(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _initials(whole: Listing) -> Mapping[str, str]:
    """Return a link to the first entry of each initial."""
    return {
        initial: f"{whole.name(1 + place // whole.page_entries)}#e{place}"
        for initial, place in whole.catalog.initials().items()
    }


def listing_page(listing: Listing, number: int) -> str:
    """Return one page of a listing; the first is number 1."""
    return template(_PACKAGE, "list.html.j2").render(
        title=f"{listing.title}, page {number} of {listing.num_pages}",
        listing=listing,
        number=number,
        start=(number - 1) * listing.page_entries,
        use=USE,
    )


def start_page(
    name: str,
    contact: str,
    everything: Listing,
    groups: Mapping[tuple[str, str], Listing],
    initials: Mapping[str, str],
    tables: Mapping[str, str],
) -> str:
    """Return the first page: the counts, the search and the links to every recording.

    `groups` are listings by source and license, `initials` links by the first letter of the author, `tables` a line
    about each file that holds the same as a table.
    """
    return template(_PACKAGE, "index.html.j2").render(
        title=f"Attribution: {name}",
        name=name,
        contact=contact,
        everything=everything,
        groups=groups,
        initials=initials,
        tables=tables,
        use=USE,
        license_name=license_name,
        web_link=web_link,
    )


def everything(catalog: Catalog, page_entries: int) -> Listing:
    """Return the list of all recordings."""
    return Listing("All recordings", ALL, catalog, page_entries)


def parts(catalog: Catalog, page_entries: int) -> Mapping[tuple[str, str], Listing]:
    """Return a list for each source and license, the largest first, under distinct names."""
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
    """Return a prefix of file names, without the parts of license ids that only name a registry."""
    plain = f"{source} {spdx.replace('LicenseRef-', '').replace('scancode-', '')}".lower()
    return f"{PART}-" + re.sub(r"[^a-z0-9.]+", "-", plain).strip("-")
