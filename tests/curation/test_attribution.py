"""The attribution page: what it says of each recording, its tables, and that a browser can search it."""

import csv
import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auralith.cli.main import run
from auralith.curation.licenses import SAMPLING_PLUS, UNVERSIONED
from auralith.curation.publish.attribution import verify_attribution, write_attribution
from auralith.curation.publish.attribution.catalog import USE, words
from auralith.curation.publish.attribution.site import MOST_PLACES, SHARD_BYTES, steps
from auralith.curation.publish.manifest import write_manifest
from auralith.curation.settings import PublishSettings
from auralith.errors import ResourceError
from tests.curation.test_manifest import curation

BY = "https://creativecommons.org/licenses/by/4.0/"
SOUND = {
    "title": "A bell",
    "author": "Ann",
    "author_url": "https://freesound.org/people/ann/",
    "url": "https://freesound.org/people/ann/sounds/7/",
    "license_spdx": "CC-BY-4.0",
    "license_version": "4.0",
    "license_uri": BY,
}
NASTY = "<script>alert(\"1\")</script> & 'x' ]]> \u200e\u2028 <1"


def site(folder: Path, rows: Sequence[Mapping[str, Any]], **options: Any) -> Path:
    """The attribution of recordings that have what `SOUND` has where a row says nothing else."""
    store, settings = curation(folder, [SOUND | dict(row) for row in rows], probed=None)
    write_manifest(store, settings)
    return write_attribution(folder, PublishSettings(**options)).parent


def page(folder: Path, name: str = "page-1.html") -> str:
    return (folder / name).read_text(encoding="utf-8")


def test_an_entry_names_title_author_source_and_license(tmp_path: Path) -> None:
    text = page(site(tmp_path, [{"rec_id": "freesound:7"}]))
    assert '<a class="title" href="https://freesound.org/people/ann/sounds/7/">' in text
    assert '<a class="author" href="https://freesound.org/people/ann/"><bdi>Ann</bdi></a>' in text
    assert '<span class="source">freesound</span>' in text
    assert f'<a class="license" href="{BY}"><bdi>CC BY 4.0</bdi></a>' in text
    assert USE in text


def test_sampling_plus_has_its_deed_and_what_it_forbids(tmp_path: Path) -> None:
    text = page(site(tmp_path, [{"rec_id": "freesound:7", "license_spdx": SAMPLING_PLUS}]))
    assert "https://creativecommons.org/licenses/sampling+/1.0/" in text
    assert "whole copies for non-commercial use only" in text
    assert "no advertising except for the derivative itself" in text
    start = page(tmp_path / "attribution", "search/entries-0.js")
    assert "no advertising except for the derivative itself" in start


def test_a_license_without_version_leads_to_the_source_that_states_it(tmp_path: Path) -> None:
    row = {"rec_id": "fma:7", "license_spdx": UNVERSIONED, "license_uri": None}
    text = page(site(tmp_path, [row]))
    assert f'<a class="license" href="{SOUND["url"]}">' in text
    assert "version as stated on the source page" in text


@pytest.mark.parametrize(
    ("spdx", "deed", "name"),
    [
        ("CC-BY-3.0-US", "by/3.0/us/", "CC BY 3.0 US"),
        ("CC-BY-2.0", "by/2.0/uk/", "CC BY 2.0 UK"),
        ("LicenseRef-CC-BY-2.1", "by/2.1/jp/", "CC BY 2.1 JP"),
        ("CC-BY-2.5", "by/2.5/", "CC BY 2.5"),
    ],
)
def test_a_port_is_named(tmp_path: Path, spdx: str, deed: str, name: str) -> None:
    uri = f"https://creativecommons.org/licenses/{deed}"
    row = {"rec_id": "fma:7", "license_spdx": spdx, "license_uri": uri}
    text = page(site(tmp_path, [row]))
    assert f'<a class="license" href="{uri}"><bdi>{name}</bdi></a>' in text


def test_markup_and_scripts_stay_text(tmp_path: Path) -> None:
    row = {"rec_id": f"folder:{NASTY}", "title": NASTY, "author": NASTY}
    links = {"url": "javascript:alert(1)", "author_url": "file:///etc/passwd"}
    folder = site(tmp_path, [row | links], name=NASTY, contact=NASTY)
    for path in folder.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert "<script>alert" not in text and "javascript:" not in text and "file:" not in text
    for path in (folder / "search").glob("*.js"):
        assert path.read_bytes().isascii() and b"javascript:" not in path.read_bytes()
    assert verify_attribution(tmp_path) == [f"folder:{NASTY}: no url"]


def test_a_contact_on_the_web_is_a_link(tmp_path: Path) -> None:
    folder = site(tmp_path, [], contact="https://example.org/?a&b")
    assert '<a href="https://example.org/?a&amp;b">' in page(folder, "index.html")


def test_no_page_needs_another_site(tmp_path: Path) -> None:
    folder = site(tmp_path, [{"rec_id": "freesound:7"}])
    for path in (*folder.rglob("*.html"), *folder.rglob("*.css"), folder / "search.js"):
        assert not re.search(r"(src|@import|url\()\s*=?\s*[\"']?https?:", path.read_text())


def test_pages_follow_the_authors(tmp_path: Path) -> None:
    names = ["zoe", "Éric", "eve", "9 lives", "Ночь", "<1", "Adam"]
    rows = [{"rec_id": f"f:{n}", "author": name} for n, name in enumerate(names)]
    folder = site(tmp_path, rows, page_entries=3)
    pages = [page(folder, f"page-{n}.html") for n in (1, 2, 3)]
    found = [re.findall(r'class="author" href="[^"]*"><bdi>(.*?)</bdi>', text) for text in pages]
    assert found == [["Adam", "Éric", "eve"], ["zoe", "&lt;1", "9 lives"], ["Ночь"]]
    assert '<ol class="entries" start="4">' in pages[1]
    assert 'href="page-1.html"' in pages[1] and 'href="page-3.html"' in pages[1]
    start = page(folder, "index.html")
    links = dict(re.findall(r'<a href="(page-\d+\.html#e\d+)">(.*?)</a>', start))
    assert {label: link for link, label in links.items()} == {
        "A": "page-1.html#e0",
        "E": "page-1.html#e1",
        "Z": "page-2.html#e3",
        "0–9": "page-2.html#e4",
        "…": "page-3.html#e6",
    }
    assert not (folder / "page-4.html").exists()


def test_counts_and_hours_stand_at_the_top(tmp_path: Path) -> None:
    rows = [
        {"rec_id": "freesound:1", "duration_s": 3_600.0},
        {"rec_id": "freesound:2", "duration_s": 1_800.0, "license_spdx": "CC0-1.0"},
        {"rec_id": "fma:3", "duration_s": None},
    ]
    start = page(site(tmp_path, rows), "index.html")
    assert "3 recordings, 1.5 h." in start
    cells = r"<td>(.*?)</td>" * 4
    table = re.findall(rf"<tr data-license=\"[^\"]*\">{cells}</tr>", start)
    assert [(row[0], *row[2:]) for row in table] == [
        ("fma", "1", "–"),
        ("freesound", "1", "1.0"),
        ("freesound", "1", "0.5"),
        ("all", "3", "1.5"),
    ]
    assert "1 recording, 0.5 h in this list" in page(
        tmp_path / "attribution", "list-freesound-cc0-1.0-1.html"
    )


def test_the_schema_of_the_published_lists_comes_back_byte_for_byte(tmp_path: Path) -> None:
    """Rows as odd as the real ones: quotes, formulas, markup, white space at the end, decomposed accents."""
    titles = [
        'say "hi", twice',
        "=1+1",
        "@",
        ">X -> Y",
        "ends in a space ",
        "e\u0301te\u0301",
        "ideographic\u3000",
        "15 &amp; 3.mp3",
    ]
    source = tmp_path / "list.csv"
    with source.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "author", "license", "url"])
        for number, title in enumerate(titles):
            id = (9, 10, 100, 2_000, 2_001, 2_002, 30_000, 217_288)[number]
            page = f"https://freemusicarchive.org/music/A_{number}/Album/T{number}/"
            writer.writerow([id, title, f"Ärtist {number}", ("ccby", "cc0")[number % 2], page])
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'folder = "{tmp_path}/out"\nstages = ["license"]\n')
    assert run(["curate", "ingest", f"{tmp_path}/out", str(source), "--from", "attribution"]) == 0
    assert run(["curate", "run", str(recipe)]) == 0
    assert (tmp_path / "out/attribution/fma_attribution.csv").read_bytes() == source.read_bytes()


def test_the_other_tables_say_everything(tmp_path: Path) -> None:
    folder = site(tmp_path, [{"rec_id": "freesound:7"}, {"rec_id": "freesound:30"}])
    with (folder / "attribution_extended.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["rec_id"] for row in rows] == ["freesound:7", "freesound:30"]
    assert rows[0]["license_uri"] == BY and rows[0]["changes"].startswith("cut, resampled")
    lines = (folder / "attribution.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(lines[1])["author_url"] == SOUND["author_url"]


def test_sources_with_like_names_have_lists_of_their_own(tmp_path: Path) -> None:
    folder = site(tmp_path, [{"rec_id": "a_b:1"}, {"rec_id": "a-b:2"}, {"rec_id": "A-B:3"}])
    lists = [page(folder, path.name) for path in folder.glob("list-*.html")]
    assert sorted(re.findall(r'data-id="(.*?)"', "".join(lists))) == ["A-B:3", "a-b:2", "a_b:1"]
    assert verify_attribution(tmp_path) == []


def test_an_older_page_stays_if_a_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = site(tmp_path, [{"rec_id": "freesound:1"}])
    before = {path.name: path.read_bytes() for path in folder.glob("*.*")}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("auralith.curation.publish.attribution.site.write_search", full)
    with pytest.raises(ResourceError, match="no disk space left"):
        write_attribution(tmp_path, PublishSettings(name="New"))
    assert {path.name: path.read_bytes() for path in folder.glob("*.*")} == before
    assert not list(tmp_path.glob(".a*"))


def test_a_new_page_replaces_an_older_one_whole(tmp_path: Path) -> None:
    folder = site(tmp_path, [{"rec_id": "freesound:1"}, {"rec_id": "freesound:2"}], page_entries=1)
    assert (folder / "page-2.html").exists()
    write_attribution(tmp_path, PublishSettings())
    assert not (folder / "page-2.html").exists() and (folder / "page-1.html").exists()
    assert not list(tmp_path.glob(".a*"))


@pytest.mark.skipif("AURALITH_FMA_CSV" not in os.environ, reason="AURALITH_FMA_CSV names no file")
def test_the_published_fma_list_comes_back_byte_for_byte(tmp_path: Path) -> None:
    source = Path(os.environ["AURALITH_FMA_CSV"])
    commands = [
        ["ingest", f"{tmp_path}", f"{source}", "--from", "attribution"],
        ["licenses", f"{tmp_path}"],
        ["manifest", f"{tmp_path}", "--set", 'stages=["license"]'],
        ["attribution", "build", f"{tmp_path}"],
        ["attribution", "verify", f"{tmp_path}"],
    ]
    assert [run(["curate", *command]) for command in commands] == [0] * 5
    folder = tmp_path / "attribution"
    assert (folder / "fma_attribution.csv").read_bytes() == source.read_bytes()
    assert len(list(folder.glob("page-*.html"))) == 3
    shards(folder, SHARD_BYTES)


@given(st.lists(st.integers(0, 500_000), unique=True, min_size=1))
def test_places_are_written_as_steps(places: list[int]) -> None:
    found, last = [], 0
    for step in steps(sorted(places)).split(" "):
        last += int(step, 36)
        found.append(last)
    assert found == sorted(places)


def test_words_are_found_without_accents_and_case() -> None:
    assert list(words("L'Été_2 ＦＵＬＬ Ночь-1")) == ["l", "ete", "2", "full", "ночь", "1"]
    assert list(words("ΟΔΟΣ")) == ["οδοσ"] == list(words("οδοσ"))


def shards(folder: Path, most_bytes: int) -> dict[str, dict[str, str]]:
    """The words of each prefix."""
    index = (folder / "search/index.js").read_text().removeprefix("auralithIndex(")
    names = json.loads(index.partition(",{")[0])
    found = {}
    for number, prefix in enumerate(names):
        path = folder / f"search/words-{number}.js"
        found[prefix] = json.loads(path.read_text().partition(",")[2].removesuffix(");\n"))
        assert path.stat().st_size <= most_bytes
    return found


def test_large_shards_are_split_and_frequent_words_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("auralith.curation.publish.attribution.site.SHARD_BYTES", 700)
    monkeypatch.setattr("auralith.curation.publish.attribution.site.MOST_PLACES", 30)
    rows = [{"rec_id": f"f:{n}", "title": f"bell be bel{n} b{n}"} for n in range(60)]
    found = shards(site(tmp_path, rows), 700)
    assert {"be", "bel1", "bell", "b1"} <= set(found) and "bel" not in found
    assert all(word.startswith(prefix) for prefix, shard in found.items() for word in shard)
    known = {word for shard in found.values() for word in shard}
    assert {"be", "bell", "bel59", "b59", "ann", "f", "59"} <= known
    assert len(found["bell"]["bell"].split(" ")) == 31 and MOST_PLACES > 30


CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(
    ("query", "said", "titles"),
    [
        ("bell", "3 recordings", ["Bell One", "Bell Two", "Bells &lt;b&gt;"]),
        ("bell t", "1 recording", ["Bell Two"]),
        ("ete", "1 recording", ["Été"]),
        ("НОЧЬ", "1 recording", ["Ночь"]),
        ("nothing", "0 recordings", []),
    ],
)
def test_a_browser_searches_it_from_a_file(
    tmp_path: Path, query: str, said: str, titles: list[str]
) -> None:
    rows = [
        {"rec_id": f"f:{n}", "title": title}
        for n, title in enumerate(["Bell One", "Bell Two", "Bells <b>", "Été", "Ночь"])
    ]
    folder = site(tmp_path, rows)
    assert CHROMIUM is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000"]
    address = f"{(folder / 'index.html').as_uri()}?q={query}"
    shown = subprocess.run(
        [CHROMIUM, *options, f"--user-data-dir={tmp_path}/profile", "--dump-dom", address],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert f'role="status">{said}</p>' in shown
    results = shown.partition('id="found"')[2].partition("</ol>")[0]
    assert re.findall(r"<li><a [^>]*><bdi>(.*?)</bdi>", results) == titles
