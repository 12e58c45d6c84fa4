"""Whether the pages say what the manifest says: read back from the HTML, as a reader's browser would."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from auralith.curation.attribution.entries import COLUMNS, Entry, entries_of, license_link
from auralith.curation.attribution.site import ALL, FOLDER
from auralith.curation.license_terms import is_known_id
from auralith.curation.manifest import read_manifest
from auralith.errors import InvalidRequest, ResourceError


@dataclass
class Shown:
    """An entry as a page shows it."""

    rec_id: str
    license_spdx: str
    text: dict[str, str] = field(default_factory=dict)
    """Of "title", "author" and "license"."""
    links: dict[str, str] = field(default_factory=dict)


def verify_attribution(folder: Path) -> list[str]:
    """What is wrong with the attribution of a curation, a line for each difference; nothing if all is well.

    Raises:
        InvalidRequest: there is no manifest or no attribution yet.
        ResourceError: a file can't be read.
    """
    entries = entries_of(read_manifest(folder, COLUMNS))
    shown: dict[str, Shown] = {}
    differences = []
    for found in _shown(folder / FOLDER):
        if found.rec_id in shown:
            differences.append(f"{found.rec_id} is listed twice")
        shown[found.rec_id] = found
    wanted = {entry.rec_id: entry for entry in entries}
    differences += [
        f"{id} is listed, but not in the manifest" for id in sorted(shown.keys() - wanted.keys())
    ]
    for rec_id, entry in wanted.items():
        if rec_id not in shown:
            differences.append(f"{rec_id} is in the manifest, but not listed")
        else:
            differences += [f"{rec_id}: {wrong}" for wrong in _wrong(entry, shown[rec_id])]
    differences += _counts(wanted, shown)
    return differences


def _wrong(entry: Entry, shown: Shown) -> Iterator[str]:
    """What an entry lacks or says otherwise."""
    told = {"title": entry.title, "author": entry.author, "source": entry.source, "url": entry.url}
    for name, value in told.items():
        if not (value or "").strip():
            yield f"no {name}"
    if not is_known_id(entry.license_spdx):
        yield f"unknown license '{entry.license_spdx}'"
    if shown.license_spdx != entry.license_spdx or not shown.text.get("license"):
        yield f"license '{shown.license_spdx}', the manifest has '{entry.license_spdx}'"
    for name in ("title", "author"):
        if told[name] and shown.text.get(name) != told[name]:
            yield f"{name} '{shown.text.get(name)}', the manifest has '{told[name]}'"
    links = {
        "title": entry.url,
        "author": entry.author_url if entry.author else None,
        "license": license_link(entry),
    }
    for name, link in links.items():
        if shown.links.get(name) != link:
            yield f"{name} leads to '{shown.links.get(name)}', not to '{link}'"


def _counts(wanted: Mapping[str, Entry], shown: Mapping[str, Shown]) -> Iterator[str]:
    there = Counter(found.license_spdx for found in shown.values())
    due = Counter(entry.license_spdx for entry in wanted.values())
    for license in sorted(there.keys() | due.keys()):
        if there[license] != due[license]:
            yield f"{there[license]:,} are listed under {license}, the manifest has {due[license]:,}"


def _shown(folder: Path) -> Iterator[Shown]:
    """The entries of all pages, in their order."""
    pages = sorted(folder.glob(f"{ALL}-*.html"), key=lambda path: int(re.sub(r"\D", "", path.stem)))
    if not pages:
        raise InvalidRequest(
            f"{folder} has no pages; auralith curate attribution build writes them"
        )
    for path in pages:
        reader = _Reader()
        try:
            reader.feed(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ResourceError(f"{path} can't be read ({error}); build it again") from error
        yield from reader.found


class _Reader(HTMLParser):
    """Collects the entries of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Shown] = []
        self._kind: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "li" and "data-id" in given:
            self.found.append(Shown(given["data-id"], given.get("data-license", "")))
        elif given.get("class") in ("title", "author", "license") and self.found:
            self._kind = given["class"]
            self.found[-1].text[self._kind] = ""
            if "href" in given:
                self.found[-1].links[self._kind] = given["href"]

    def handle_endtag(self, tag: str) -> None:
        if tag in ("a", "span"):
            self._kind = None

    def handle_data(self, data: str) -> None:
        if self._kind:
            self.found[-1].text[self._kind] += data
