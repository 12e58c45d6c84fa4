"""The attribution page read back: every difference from the manifest is found, in each of its lists and its counts."""

import shutil
from pathlib import Path

import pytest

from auralith.cli.main import run
from auralith.curation.attribution import verify_attribution, write_attribution
from auralith.curation.attribution.entries import USE
from auralith.curation.license_terms import SAMPLING_PLUS
from auralith.curation.manifest import write_manifest
from auralith.curation.publishing import PublishSettings
from auralith.errors import InvalidRequest, ResourceError
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
        ("page-1.html", "A bell 2", "A bell", "freesound:2 on page-1.html: title 'A bell', the"),
        ("page-1.html", "A bell 2", "", "freesound:2 on page-1.html: title '', the manifest has"),
        (LIST, "A bell 2", "A bell", f"freesound:2 on {LIST}: title 'A bell', the manifest has"),
        (LIST, ">Ann<", "><", f"freesound:1 on {LIST}: author '', the manifest has 'Ann'"),
        (
            "page-1.html",
            '<span class="source">freesound</span>',
            "",
            "freesound:1 on page-1.html: source '', the manifest has 'freesound'",
        ),
        (LIST, "CC BY 4.0</bdi>", "CC0</bdi>", f"freesound:1 on {LIST}: license 'CC0', the"),
        (LIST, BY, "https://example.org/", "license leads to 'https://example.org/', not to"),
        ("page-1.html", f' href="{SOUND["url"]}"', "", "title leads to 'None', not to"),
        (
            "page-1.html",
            'class="note"',
            'class="none"',
            "freesound:3 on page-1.html: note '', the manifest has 'whole copies for",
        ),
        ("page-1.html", USE, "Used.", "page-1.html: no statement of use"),
        (LIST, USE, "Used.", f"{LIST}: no statement of use"),
        ("page-1.html", "freesound:2", "freesound:1", "freesound:1 is listed 2 times"),
        ("page-1.html", "freesound:2", "freesound:9", "freesound:9 is listed, but not in the man"),
        ("page-1.html", "freesound:2", "freesound:9", "freesound:2 is in the manifest, but not l"),
        (
            LIST,
            'data-id="freesound:2"',
            "hidden",
            "freesound:2 is in the manifest, but not in the list of its source and license",
        ),
        (
            "page-1.html",
            'data-license="CC-BY-4.0"',
            'data-license="CC0-1.0"',
            "0 are listed under CC-BY-4.0, the manifest has 2",
        ),
        (
            "index.html",
            "<td>2</td>",
            "<td>3</td>",
            "the first page counts 3 and 0.0 h of freesound CC-BY-4.0, the manifest 2 and 0.0 h",
        ),
        ("index.html", "<td>all</td>", "<td>none</td>", "the first page counts none h of all, the"),
        ("index.html", '<tr data-license="CC-BY-4.0">', "<tr>", "counts none h of freesound CC-BY"),
    ],
)
def test_what_a_page_says_otherwise_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, old: str, new: str, said: str
) -> None:
    change(two_bells(tmp_path) / name, old, new)
    assert run(["curate", "attribution", "verify", str(tmp_path)]) == 1
    assert said in capsys.readouterr().out


def test_a_recording_in_the_list_of_another_license_is_found(tmp_path: Path) -> None:
    folder = two_bells(tmp_path)
    text = (folder / LIST).read_text(encoding="utf-8")
    item = next(line for line in text.splitlines() if "freesound:2" in line)
    change(folder / LIST, item, "")
    change(folder / SAMPLING_LIST, "</ol>", f"{item}</ol>")
    assert verify_attribution(tmp_path) == [
        f"freesound:2 is on {SAMPLING_LIST}, not in its own list"
    ]


def test_a_page_that_is_gone_is_found(tmp_path: Path) -> None:
    (two_bells(tmp_path) / "page-1.html").unlink()
    differences = verify_attribution(tmp_path)
    assert "freesound:3 is in the manifest, but not listed" in differences
    assert "0 are listed under CC-BY-4.0, the manifest has 2" in differences


def test_other_files_beside_the_pages_do_not_matter(tmp_path: Path) -> None:
    folder = two_bells(tmp_path)
    (folder / "page-notes.html").write_text('<li data-id="freesound:9">')
    assert verify_attribution(tmp_path) == []


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
    assert verify_attribution(tmp_path)[:2] == [
        "freesound:1 is listed, but not in the manifest",
        "freesound:2 is in the manifest, but not listed",
    ]
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
    with pytest.raises(ResourceError, match=r"page-1\.html can't be read"):
        verify_attribution(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        (
            "freesound_attribution.csv",
            "A bell 2",
            "A bell",
            "2 has the title 'A bell', the manifest has",
        ),
        ("freesound_attribution.csv", "2,A bell 2", "9,A bell 2", "2 is missing"),
        ("freesound_attribution.csv", "2,A bell 2", "9,A bell 2", "9 is not in the manifest"),
        ("freesound_attribution.csv", "2,A bell 2", "1,A bell 2", "1 is listed 2 times"),
        (
            "freesound_attribution.csv",
            "ccby",
            "cc0",
            "1 has the license 'cc0', the manifest has 'ccby'",
        ),
        (
            "freesound_attribution.csv",
            "sampling+",
            "sampling+,more",
            "3 has more cells than the manifest",
        ),
        (
            "freesound_attribution.csv",
            "\r\n",
            "\n",
            "the bytes are not those that the manifest gives",
        ),
        ("freesound_attribution.csv", "A bell 2", '"A bell 2"', "the bytes are not those"),
        (
            "attribution_extended.csv",
            "A bell 2,Ann",
            "A bell 2,",
            "freesound:2 has the author '', the",
        ),
        (
            "attribution_extended.csv",
            BY,
            "https://example.org/",
            "has the license_uri 'https://exa",
        ),
        ("attribution.jsonl", '"A bell 2"', '"A bell"', "freesound:2 has the title 'A bell'"),
        (
            "attribution.jsonl",
            '"seconds": ',
            '"seconds": 9',
            "has the seconds '9",
        ),
        ("attribution.jsonl", '{"rec_id": "freesound:2"', '["rec_id"', "can't be read as a table"),
        ("attribution.jsonl", "}\n", ', "more": 1}\n', "has more cells than the manifest: more"),
    ],
)
def test_a_change_of_a_table_is_found(
    tmp_path: Path, name: str, old: str, new: str, said: str
) -> None:
    attribution = two_bells(tmp_path)
    path = attribution / name
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new).encode())
    found = verify_attribution(tmp_path)
    assert any(line.startswith(f"{name}: ") and said in line for line in found), found


def test_a_table_that_is_missing_or_cut_off_or_too_many_is_found(tmp_path: Path) -> None:
    attribution = two_bells(tmp_path)
    (attribution / "attribution.jsonl").unlink()
    extended = attribution / "attribution_extended.csv"
    extended.write_bytes(extended.read_bytes()[:-1])
    shutil.copy(attribution / "freesound_attribution.csv", attribution / "fma_attribution.csv")
    found = verify_attribution(tmp_path)
    assert found[-2:] != [] and any("attribution.jsonl is missing" in line for line in found)
    assert any(line.startswith("attribution_extended.csv: ") for line in found)
    assert "fma_attribution.csv is of a source that the manifest doesn't have" in found


@pytest.mark.parametrize("column", ["url", "author_url", "license_uri"])
def test_a_link_that_is_not_a_valid_url_is_found(tmp_path: Path, column: str) -> None:
    link = "https://freesound.org/people/DJ Example/"
    site(tmp_path, [{"rec_id": "freesound:1", "title": "Bell", column: link}])
    found = verify_attribution(tmp_path)
    assert len(found) == 1 and f"'{link}' is not a valid URL" in found[0]
