"""An attribution compared with its manifest: a change of any file is found."""

import shutil
from pathlib import Path

import pytest

from auralith.cli.main import run
from auralith.curation.licenses import SAMPLING_PLUS
from auralith.curation.publish.attribution import verify_attribution, write_attribution
from auralith.curation.publish.attribution.catalog import USE
from auralith.curation.publish.manifest import write_manifest
from auralith.curation.settings import PublishSettings
from auralith.errors import InvalidRequest
from tests.curation.test_attribution import BY, NASTY, SOUND, site
from tests.curation.test_manifest import curation

LIST = "list-freesound-cc-by-4.0-1.html"
SAMPLING_LIST = "list-freesound-cc-sampling-plus-1.0-1.html"


def two_bells(folder: Path) -> Path:
    """Of freesound, one second each under CC BY 4.0; a third recording is under Sampling+."""
    rows = [{"rec_id": f"freesound:{n}", "title": f"A bell {n}"} for n in (1, 2)]
    rows.append({"rec_id": "freesound:3", "title": "Gong", "license_spdx": SAMPLING_PLUS})
    return site(folder, rows)


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_nothing_is_found_where_all_is_well(tmp_path: Path) -> None:
    rows = [{"rec_id": f"freesound:{n}", "title": f"{NASTY}\r\n{n}"} for n in range(12)]
    site(tmp_path, rows, page_entries=5)
    assert verify_attribution(tmp_path) == []
    assert run(["curate", "attribution", "verify", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("page-1.html", "A bell 2", "A bell", "<bdi>A bell 2</bdi>"),
        ("page-1.html", "A bell 2", "", "<bdi>A bell 2</bdi>"),
        (LIST, "A bell 2", "A bell", "<bdi>A bell 2</bdi>"),
        (LIST, ">Ann<", "><", "<bdi>Ann</bdi>"),
        ("page-1.html", '<span class="source">freesound</span>', "", 'class="source">freesound'),
        (LIST, "CC BY 4.0</bdi>", "CC0</bdi>", "CC BY 4.0</bdi>"),
        (LIST, BY, "https://example.org/", BY),
        ("page-1.html", f' href="{SOUND["url"]}"', "", SOUND["url"]),
        ("page-1.html", 'class="note"', 'class="none"', 'class="note"'),
        ("page-1.html", USE, "Used.", "Used to train"),
        (LIST, USE, "Used.", "Used to train"),
        ("page-1.html", "freesound:2", "freesound:1", 'freesound:2"'),
        (LIST, 'data-id="freesound:2"', "hidden", 'data-id="freesound:2"'),
        ("page-1.html", "CC-BY-4.0", "CC0-1.0", 'data-license="CC-BY-4.0"'),
        ("index.html", "<td>2</td>", "<td>3</td>", "<td>2</td>"),
        ("index.html", "<td>all</td>", "<td>none</td>", "<td>all</td>"),
        ("index.html", '<tr data-license="CC-BY-4.0">', "<tr>", '<tr data-license="CC-BY-4.0">'),
        ("index.html", "</html>\n", "</html>\n\n", "''"),
        ("search/entries-0.js", "A bell 2", "A bell", "A bell 2"),
        ("search.js", "function", "functio", "function"),
    ],
)
def test_a_change_of_a_page_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, old: str, new: str, said: str
) -> None:
    change(two_bells(tmp_path) / name, old, new)
    assert run(["curate", "attribution", "verify", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"{name}, line ") and said in line.partition("the manifest gives")[2]


def test_a_recording_in_the_list_of_another_license_is_found(tmp_path: Path) -> None:
    folder = two_bells(tmp_path)
    text = (folder / LIST).read_text(encoding="utf-8")
    item = next(line for line in text.splitlines() if "freesound:2" in line)
    change(folder / LIST, item, "")
    change(folder / SAMPLING_LIST, "</ol>", f"{item}</ol>")
    names = [line.partition(",")[0] for line in verify_attribution(tmp_path)]
    assert names == [LIST, SAMPLING_LIST]


@pytest.mark.parametrize("name", ["page-1.html", LIST, "style.css", "search/index.js"])
def test_a_file_that_is_gone_is_found(tmp_path: Path, name: str) -> None:
    (two_bells(tmp_path) / name).unlink()
    assert verify_attribution(tmp_path) == [f"{name} is missing"]


def test_only_further_files_of_the_page_matter(tmp_path: Path) -> None:
    folder = two_bells(tmp_path)
    (folder / "page-notes.html").write_text('<li data-id="freesound:9">')
    assert verify_attribution(tmp_path) == []
    shutil.copy(folder / "page-1.html", folder / "page-2.html")
    assert verify_attribution(tmp_path) == ["page-2.html does not belong to the manifest"]


@pytest.mark.parametrize(
    "text",
    [None, "{}", "[]", "", "{", '{"name": 1, "contact": "", "page_entries": 5}']
    + [
        f'{{"name": "a", "contact": "", "page_entries": {n}}}'
        for n in ("0", '"5"', "true", "null", "1.5", "1e99")
    ],
)
def test_pages_without_usable_settings_have_to_be_built_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    path = two_bells(tmp_path) / "settings.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    assert run(["curate", "attribution", "verify", str(tmp_path)]) == 2
    assert "attribution build writes the pages again" in capsys.readouterr().err


def test_empty_fields_and_unknown_licenses_are_found_and_twenty_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"rec_id": f"freesound:{n}", "author": None, "title": " "} for n in range(15)]
    site(tmp_path, [*rows, {"rec_id": "freesound:15", "license_spdx": "CC-BY-9.0"}])
    assert run(["curate", "attribution", "verify", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 20 and "freesound:0: no author" in said.out
    assert "31 differences, 11 more not shown" in said.err
    assert "freesound:15: unknown license 'CC-BY-9.0'" in verify_attribution(tmp_path)


def test_another_manifest_is_another_page(tmp_path: Path) -> None:
    site(tmp_path, [{"rec_id": "freesound:1"}])
    store, settings = curation(tmp_path / "other", [SOUND | {"rec_id": "freesound:2"}], probed=None)
    write_manifest(store, settings)
    shutil.copy(tmp_path / "other/manifest.parquet", tmp_path)
    found = verify_attribution(tmp_path)
    assert any(line.startswith("page-1.html, line ") and "freesound:2" in line for line in found)
    write_attribution(tmp_path, PublishSettings())
    assert verify_attribution(tmp_path) == []


def test_nothing_to_verify_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"has no manifest\.parquet"):
        write_attribution(tmp_path, PublishSettings())
    store, settings = curation(tmp_path, [], probed=None)
    write_manifest(store, settings)
    with pytest.raises(InvalidRequest, match="has no pages"):
        verify_attribution(tmp_path)
    write_attribution(tmp_path, PublishSettings())
    assert verify_attribution(tmp_path) == []


def test_a_damaged_page_is_one_line(tmp_path: Path) -> None:
    (two_bells(tmp_path) / "page-1.html").write_bytes(b"<li>\xff")
    (difference,) = verify_attribution(tmp_path)
    assert difference.startswith("page-1.html, line 1: '<li>\\\\xff'")


CSV, WIDE, LINES = "freesound_attribution.csv", "attribution_extended.csv", "attribution.jsonl"


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        (CSV, "A bell 2", "A bell"),
        (CSV, "2,A bell 2", "9,A bell 2"),
        (CSV, "2,A bell 2", "1,A bell 2"),
        (CSV, "ccby", "cc0"),
        (CSV, "sampling+", "sampling+,more"),
        (CSV, "\r\n", "\n"),
        (CSV, "A bell 2", '"A bell 2"'),
        (WIDE, "A bell 2,Ann", "A bell 2,"),
        (WIDE, BY, "https://example.org/"),
        (LINES, '"A bell 2"', '"A bell"'),
        (LINES, '"seconds": ', '"seconds": 9'),
        (LINES, '{"rec_id": "freesound:2"', '["rec_id"'),
        (LINES, "}\n", ', "more": 1}\n'),
    ],
)
def test_a_change_of_a_table_is_found(tmp_path: Path, name: str, old: str, new: str) -> None:
    path = two_bells(tmp_path) / name
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new).encode())
    (difference,) = verify_attribution(tmp_path)
    assert difference.startswith(f"{name}, line ")


def test_a_table_that_is_missing_or_cut_off_or_too_many_is_found(tmp_path: Path) -> None:
    attribution = two_bells(tmp_path)
    (attribution / LINES).unlink()
    extended = attribution / WIDE
    extended.write_bytes(extended.read_bytes()[:-1])
    shutil.copy(attribution / CSV, attribution / "fma_attribution.csv")
    missing, cut, extra = verify_attribution(tmp_path)
    assert missing == "attribution.jsonl is missing" and cut.startswith(f"{WIDE}, line ")
    assert extra == "fma_attribution.csv does not belong to the manifest"


@pytest.mark.parametrize("column", ["url", "author_url", "license_uri"])
def test_a_link_that_is_not_a_valid_url_is_found(tmp_path: Path, column: str) -> None:
    link = "https://freesound.org/people/DJ Example/"
    site(tmp_path, [{"rec_id": "freesound:1", "title": "Bell", column: link}])
    found = verify_attribution(tmp_path)
    assert len(found) == 1 and f"'{link}' is not a valid URL" in found[0]
