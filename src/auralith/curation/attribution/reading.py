"""The pages read back from their HTML, as a browser would: what they show, not what they were made from."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

from auralith.errors import ResourceError

PARTS = ("title", "author", "source", "license", "note")
"""Classes of the parts of an entry."""


@dataclass(slots=True)
class Shown:
    """An entry as a page shows it."""

    rec_id: str
    license_spdx: str
    text: dict[str, str] = field(default_factory=dict)
    """Of the parts that there are."""
    links: dict[str, str] = field(default_factory=dict)


@dataclass
class Page:
    """What a page shows."""

    use: str = ""
    """The paragraph with the statement of use."""
    entries: list[Shown] = field(default_factory=list)
    counts: list[list[str]] = field(default_factory=list)
    """Rows of the table of counts: the license's SPDX id, then the cells."""


def read_page(path: Path) -> Page:
    """What a page shows.

    Raises:
        ResourceError: it can't be read.
    """
    reader = _Reader()
    try:
        reader.feed(path.read_text(encoding="utf-8"))
        reader.close()
    except (OSError, UnicodeDecodeError) as error:
        raise ResourceError(f"{path} can't be read ({error}); build it again") from error
    return reader.page


class _Reader(HTMLParser):
    """Text goes to the innermost open part: of an entry (`a` or `span`), a cell, or the statement of use."""

    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self._part: str | None = None
        self._closing = ""
        """The tag that ends the part."""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("class", "")
        if tag == "li" and "data-id" in given:
            self.page.entries.append(Shown(given["data-id"], given.get("data-license", "")))
        elif name in PARTS and self.page.entries:
            self._open(name, tag)
            self.page.entries[-1].text[name] = ""
            if "href" in given:
                self.page.entries[-1].links[name] = given["href"]
        elif tag == "tr" and "data-license" in given:
            self.page.counts.append([given["data-license"]])
        elif tag == "td" and self.page.counts:
            self._open("cell", tag)
            self.page.counts[-1].append("")
        elif name == "use":
            self._open("use", tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._closing:
            self._part = None

    def handle_data(self, data: str) -> None:
        if self._part == "cell":
            self.page.counts[-1][-1] += data
        elif self._part == "use":
            self.page.use += data
        elif self._part is not None:
            self.page.entries[-1].text[self._part] += data

    def _open(self, part: str, tag: str) -> None:
        self._part, self._closing = part, tag
