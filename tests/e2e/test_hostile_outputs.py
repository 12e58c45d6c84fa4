"""Hostile texts through what is published and handed on: pages, cards, tables and JSON hold them as text."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from auralith.curation.publish.attribution import write_attribution
from auralith.curation.publish.card import write_card
from auralith.curation.publish.croissant import write_croissant
from auralith.curation.publish.manifest import write_manifest
from auralith.curation.review import Suspect, export_items, open_items
from auralith.curation.settings import PublishSettings
from auralith.edits import SourceFile, Variation
from auralith.provenance import Provenance
from auralith.request import GenerationRequest
from auralith.sets.manifest import Entry
from auralith.sets.overview import overview_page
from tests.curation.test_manifest import curation
from tests.e2e.test_hostile_text import TEXTS, elements

MOST = 20_000
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
VOID = {"meta", "link", "input", "img", "br", "hr"}


@pytest.fixture(params=TEXTS)
def text(request: pytest.FixtureRequest) -> str:
    """A text as a table may hold it: without lone surrogates, which readers refuse."""
    return TEXTS[request.param].replace("\ud800", "")[:MOST]


@pytest.fixture
def _wide_cells() -> Iterator[None]:
    """Cells of any size, which the wrong separator makes."""
    limit = csv.field_size_limit(1 << 24)
    yield
    csv.field_size_limit(limit)


class Page(HTMLParser):
    """The elements of a page: all close in their order; attributes, and the text in each."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            self.attributes.add(name)
            if name in ("href", "src"):
                assert not re.match(
                    r"\s*(javascript|data|file|vbscript):", value or "", re.IGNORECASE
                )
        if tag not in VOID:
            self.open.append(tag)
            self.texts.append((tag, ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.texts[-1][0] == self.open[-1]:
            self.texts[-1] = (self.open[-1], self.texts[-1][1] + data)

    def of(self, tag: str) -> list[str]:
        return [found for name, found in self.texts if name == tag]


def overview(text: str) -> Page:
    request = GenerationRequest(text, negative_prompt=text, seconds_total=1, steps=1, seed=1, cfg_scale=1)  # fmt: skip
    source = SourceFile(text, "0" * 64)
    origin = Provenance(text, text, text, text, text, 0, 1, request, (), Variation(), source)
    entry = Entry(1, f"{text}.wav", f"{text}.png", 1.0, 44_100, "0" * 64, (text,), origin)
    return Page(overview_page(text, [entry], [entry], [text]))


def test_the_page_of_a_set_shows_texts_as_they_are(text: str) -> None:
    page, plain = overview(text), overview("plain")
    assert page.tags == plain.tags and page.attributes == plain.attributes
    assert len(page.texts) == len(plain.texts)
    assert page.of("h3") == [text, text] and page.of("title") == [text]
    assert page.of("script") == plain.of("script") and page.of("style") == plain.of("style")
    assert text in page.of("li")  # of the problems
    assert json.loads(page.of("pre")[0])["settings"]["prompt"] == text


def test_what_is_published_shows_texts_as_they_are(text: str, tmp_path: Path) -> None:
    def published(folder: Path, text: str) -> dict[str, str]:
        row = {"rec_id": "freesound:7", "title": text, "author": text, "tags": [text]}
        store, settings = curation(folder, [row | dict.fromkeys(("url", "author_url"), text)], None)
        told = PublishSettings(name=f"x{text}", description=text, creator=text, contact=text)
        settings = replace(settings, publish=told)
        write_manifest(store, settings)
        paths = [write_card(store, settings), write_croissant(store, told)]
        paths += sorted(write_attribution(folder, told).parent.rglob("*.*"))
        return {p.relative_to(folder).as_posix(): p.read_bytes().decode() for p in paths}

    found, plain = published(tmp_path / "a", text), published(tmp_path / "b", "plain")
    assert {re.sub(r"-\d+\.js$", "", name) for name in found} == {
        re.sub(r"-\d+\.js$", "", name) for name in plain
    }
    csv_file = "attribution/freesound_attribution.csv"
    assert {"attribution/page-1.html", "croissant.json", csv_file} <= found.keys()
    for name, content in found.items():
        if name.endswith(".html"):
            page, other = Page(content), Page(plain[name])
            assert page.tags == other.tags and page.attributes <= other.attributes
            assert page.of("script") == other.of("script")
            if name == "attribution/page-1.html":
                assert page.of("bdi")[:2] == [text, text]
        elif name.endswith(".js") and name != "attribution/search.js":
            assert content.isascii() and content.count("\n") == 1
        elif name.endswith("jsonl"):
            assert json.loads(content)["title"] == text
        elif name == "croissant.json":
            assert json.loads(content)["name"] == f"x{text}"
        elif name == csv_file:
            assert next(csv.DictReader(io.StringIO(content, newline="")))["title"] == text
    (card,) = (name for name in found if name.endswith(".md"))
    kinds, expected = (elements(pages[card].split("\n---\n", 1)[1]) for pages in (found, plain))
    assert kinds.count("heading_open") == expected.count("heading_open")
    assert not {"link_open", "image", "html_inline", "html_block", "fence"} & set(kinds)


@pytest.mark.usefixtures("_wide_cells")
def test_an_export_for_reviewers_holds_no_formula(text: str, tmp_path: Path) -> None:
    shown = dict.fromkeys(("title", "author", "album"), text) | {"path": None, "url": text}
    match = dict.fromkeys(("ref_id", "ref_title", "ref_artist", "ref_album"), text)
    payload = {"recording": shown, "evidence": {"matches": [match]}}
    open_items(tmp_path, [Suspect("fma:1", "metadata", "A", 1.0, False, "", "p/1/h", payload)])
    export_items(tmp_path, tmp_path / "items.csv")
    data = (tmp_path / "items.csv").read_bytes().decode("utf-8-sig")
    # as spreadsheets read it, whatever they take for the separator
    for separator in ",;\t":
        rows = csv.reader(io.StringIO(data, newline=""), delimiter=separator)
        cells = [cell for row in rows for cell in row]
        assert not any(cell.startswith(FORMULA) for cell in cells), separator
    (row,) = csv.DictReader(io.StringIO(data, newline=""))
    assert row["title"].replace("'", "") == text.replace("'", "")
    export_items(tmp_path, tmp_path / "items.json")
    (task,) = json.loads((tmp_path / "items.json").read_text("utf-8"))
    assert task["data"]["title"] == text
    assert not re.match(r"(?!https?:)\w+:", task["data"]["audio"])
