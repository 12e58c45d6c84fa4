"""The attribution as one folder of static files, written whole: HTML pages, tables and the index of the search.

The pages list all recordings, and those of each source and license. Foreign text is escaped and isolated for its writing
direction; no page needs another site, and only the search needs a script. Equal settings and an equal manifest give equal
files, so verification writes them again and compares.

The search works without a server, even from `file://`: its index is scripts that pass their data to a function. Words are
sharded by their first two characters, or more where a shard would exceed `SHARD_BYTES`; `index.js` names the shards. A
word has places in the list of entries, written as steps in base 36; of a word with more than `MOST_PLACES`, the first ones
are kept, and the page says so. Results are shown from small blocks of entries, of which a search loads only those that it
shows.
"""

import json
import re
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib.resources import files
from itertools import groupby, zip_longest
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from auralith.curation.http import is_valid_link, web_link
from auralith.curation.licenses import is_known_id
from auralith.curation.publish.attribution.catalog import (
    USE,
    Catalog,
    Credit,
    license_name,
    read_catalog,
    words,
    write_tables,
)
from auralith.curation.publish.manifest import check_review
from auralith.curation.review import withdrawals
from auralith.curation.settings import PublishSettings
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
SHARD_BYTES = 256 * 1024
MOST_PLACES = 20_000
BLOCK_ENTRIES = 200
_FRAME_BYTES = 64
"""Bytes of a shard beside its words."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
Member = tuple[str, str]
"""A word, and the member of a JavaScript object with its places."""
_GENERATED = re.compile(r"(page-\d+|list-.+-\d+)\.html|.+_attribution\.csv|search/.+\.js")
"""Names of files that depend on the manifest; other files may lie beside them."""
_BEFORE, _AFTER = 30, 90
"""Characters shown around a difference."""


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

    def entries(self, page: int) -> list[Credit]:
        """Return the entries on a page."""
        start = (page - 1) * self.page_entries
        return self.catalog.entries(start, start + self.page_entries)

    @cached_property
    def count(self) -> Count:
        return Count(len(self.catalog), self.catalog.seconds)


def write_attribution(folder: Path, options: PublishSettings) -> Path:
    """Write `attribution/` into a curation's folder, in place of an older one, and return the page to open.

    Raises:
        InvalidRequest: the manifest has not been written yet.
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


def write_search(catalog: Catalog, folder: Path, page_entries: int) -> None:
    """Write the shards and blocks below `folder`, for pages of `page_entries`."""
    folder.mkdir()
    names = []
    for number, (prefix, members) in enumerate(_shards(_members(catalog))):
        names.append(prefix)
        _script(
            folder / f"words-{number}.js", f"auralithWords({number},{{{','.join(members)}}});\n"
        )
    for number, start in enumerate(range(0, len(catalog), BLOCK_ENTRIES)):
        block = [_shown(entry) for entry in catalog.entries(start, start + BLOCK_ENTRIES)]
        _script(folder / f"entries-{number}.js", f"auralithEntries({number},{_json(block)});\n")
    sizes = {"page": page_entries, "block": BLOCK_ENTRIES, "most": MOST_PLACES}
    _script(folder / "index.js", f"auralithIndex({_json(names)},{_json(sizes)});\n")


def steps(places: Iterable[int]) -> str:
    """Return rising numbers as the steps between them, in base 36."""
    found, last = [], 0
    for place in places:
        found.append(_base36(place - last))
        last = place
    return " ".join(found)


def _members(catalog: Catalog) -> Iterator[Member]:
    """Yield every word in alphabetical order, with at most one place more than `MOST_PLACES`."""
    known, word_of, place_of = _occurrences(catalog)
    alphabet = sorted(known)
    rank = np.empty(len(alphabet), dtype=np.int32)
    rank[[known[word] for word in alphabet]] = np.arange(len(alphabet), dtype=np.int32)
    ranks = rank[word_of]
    order = np.argsort(ranks, kind="stable")
    ends = np.cumsum(np.bincount(ranks, minlength=len(alphabet)))
    places, start = place_of[order], 0
    for word, end in zip(alphabet, ends.tolist(), strict=True):
        few = places[start : min(end, start + MOST_PLACES + 1)].tolist()
        yield word, f"{_json(word)}:{_json(steps(few))}"
        start = end


def _occurrences(
    catalog: Catalog,
) -> tuple[dict[str, int], Int[np.ndarray, "found"], Int[np.ndarray, "found"]]:
    """Return a number for each word, and number and place of each word in an entry, in the order of places."""
    known: dict[str, int] = {}
    word_of, place_of = array("i"), array("i")
    for place, entry in enumerate(catalog):
        text = f"{entry.title} {entry.author} {entry.source} {entry.source_id}"
        for word in set(words(text)):
            word_of.append(known.setdefault(word, len(known)))
            place_of.append(place)
    return known, np.array(word_of, dtype=np.int32), np.array(place_of, dtype=np.int32)


def _shards(members: Iterable[Member]) -> Iterator[tuple[str, list[str]]]:
    """Yield prefix and members of each shard, sorted by prefix."""
    for prefix, some in groupby(members, key=lambda member: member[0][:2]):
        yield from _split(prefix, list(some))


def _split(prefix: str, members: Sequence[Member]) -> Iterator[tuple[str, list[str]]]:
    """Yield a shard, or several with longer prefixes. A word that equals the prefix keeps that name."""
    size = sum(len(member) + 1 for _, member in members)
    if len(members) == 1 or size <= SHARD_BYTES - _FRAME_BYTES:
        yield prefix, [member for _, member in members]
        return
    for longer, some in groupby(members, key=lambda member: member[0][: len(prefix) + 1]):
        yield from _split(longer, list(some))


def _shown(entry: Credit) -> list[str | None]:
    """Return the fields of a result, in the order that the page's script expects."""
    return [
        entry.shown_title,
        entry.url,
        entry.author,
        entry.author_url,
        entry.source,
        entry.license_text,
        entry.license_link,
        entry.note,
    ]


def _script(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii", newline="\n")


def _json(value: object) -> str:
    """Return JSON in ASCII, which is JavaScript in any encoding that a reader may assume."""
    return json.dumps(value, separators=(",", ":"))


@lru_cache(maxsize=2**16)
def _base36(number: int) -> str:
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
        if not number:
            return digits


def verify_attribution(folder: Path) -> list[str]:
    """Return the differences between the attribution of a curation and its manifest, a line for each file.

    Raises:
        InvalidRequest: manifest or attribution have not been written yet, or an older version wrote them.
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


def _lacking(entry: Credit) -> Iterator[str]:
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
                    found, expected = _around(one, two)
                    return f"line {number}: {found!r}, the manifest gives {expected!r}"
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
