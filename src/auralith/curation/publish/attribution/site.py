"""The attribution as one folder of static files, written whole: pages, search, tables.

Equal settings and an equal manifest give equal files, so `verify` writes them again and compares.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from auralith.curation.publish.attribution.catalog import Catalog, read_catalog
from auralith.curation.publish.attribution.listing import Listing, everything, parts
from auralith.curation.publish.attribution.pages import listing_page, start_page
from auralith.curation.publish.attribution.search import write_search
from auralith.curation.publish.attribution.tables import write_tables
from auralith.curation.publish.settings import PublishSettings
from auralith.errors import InvalidRequest, ResourceError
from auralith.files import whole_folder
from auralith.foreign import parse_json

FOLDER = "attribution"
SETTINGS = "settings.json"
_RENDERED = ("name", "contact", "page_entries")
"""The settings that the pages depend on."""
_AGAIN = "auralith curate attribution build writes the pages again"


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
