"""The attribution as one folder of static files, written whole: pages, search, tables."""

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from auralith.curation.attribution.catalog import Catalog, read_catalog
from auralith.curation.attribution.listing import Listing, everything, parts
from auralith.curation.attribution.pages import listing_page, start_page
from auralith.curation.attribution.search import write_search
from auralith.curation.attribution.tables import write_tables
from auralith.curation.publishing import PublishSettings
from auralith.files import whole_folder

FOLDER = "attribution"


def write_attribution(folder: Path, options: PublishSettings) -> Path:
    """Write `attribution/` into a curation's folder, in place of an older one; the page to open.

    Raises:
        InvalidRequest: there is no manifest yet.
        ResourceError: the manifest can't be read, or the folder can't be written; an older one then stays.
    """
    catalog = read_catalog(folder)
    target = folder / FOLDER
    with whole_folder(target, replace=True) as inside:
        _write(catalog, inside, options)
    return target / "index.html"


def _write(catalog: Catalog, folder: Path, options: PublishSettings) -> None:
    whole = everything(catalog, options.page_entries)
    groups = parts(catalog, options.page_entries)
    for listing in (whole, *groups.values()):
        for number in range(1, listing.num_pages + 1):
            text = listing_page(listing, number)
            (folder / listing.name(number)).write_text(text, encoding="utf-8", newline="\n")
    tables = write_tables(catalog.by_id(), folder)
    write_search(catalog, folder / "search", options.page_entries)
    for name in ("style.css", "search.js"):
        asset = files("auralith.curation.attribution") / "assets" / name
        (folder / name).write_bytes(asset.read_bytes())
    start = start_page(options.name, options.contact, whole, groups, _initials(whole), tables)
    (folder / "index.html").write_text(start, encoding="utf-8", newline="\n")


def _initials(whole: Listing) -> Mapping[str, str]:
    """A link to the first entry of each initial."""
    return {
        initial: f"{whole.name(1 + place // whole.page_entries)}#e{place}"
        for initial, place in whole.catalog.initials().items()
    }
