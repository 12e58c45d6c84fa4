"""The data set card: numbers from the tables, and texts that break nothing."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from auralith.curation.licenses import SAMPLING_PLUS
from auralith.curation.publish.card import front_matter, size_category, write_card
from auralith.curation.publish.funnel import funnels
from auralith.curation.publish.manifest import write_manifest
from auralith.curation.settings import CurationSettings, PublishSettings
from auralith.curation.store import Store
from auralith.errors import InvalidRequest
from auralith.escaping import markdown
from tests.curation.test_manifest import curation, say

NASTY = "---\n\"quoted\" 'single': [x] {y} # & *a !b | > % @ `\n<script>alert(1)</script> é \u2028\x85 🎧"
ROWS = [
    {"rec_id": "freesound:1", "tags": ["rain", "wind|door"], "duration_s": 3_600.0},
    {"rec_id": "freesound:2", "tags": ["rain", NASTY], "license_spdx": "CC-BY-4.0"},
    {"rec_id": "freesound:3", "license_spdx": SAMPLING_PLUS, "duration_s": None},
    {"rec_id": "fma:4", "license_spdx": "CC-BY-3.0", "duration_s": 1_800.0},
]


@pytest.fixture
def made(tmp_path: Path) -> tuple[Store, CurationSettings]:
    store, settings = curation(tmp_path, ROWS, probed=None)
    refused = {"verdict": "refuse", "reason_code": "license_nc", "license_spdx": "CC-BY-NC-3.0"}
    say(store, settings, "license", {"fma:4": refused})
    write_manifest(store, settings)
    return store, settings


def text_of(made: tuple[Store, CurationSettings], options: PublishSettings | None = None) -> str:
    store, settings = made
    told = replace(settings, publish=options or PublishSettings())
    return write_card(store, told).read_text(encoding="utf-8")


def front(text: str) -> Any:
    yaml = pytest.importorskip("yaml")
    start, matter, _ = text.split("---\n", 2)
    assert start == ""
    return yaml.safe_load(matter)


def test_its_front_matter_is_what_the_hub_reads(made: tuple[Store, CurationSettings]) -> None:
    assert front(text_of(made)) == {
        "pretty_name": "Curated recordings",
        "license": "other",
        "license_name": f"CC-BY-4.0 AND CC0-1.0 AND {SAMPLING_PLUS}",
        "size_categories": ["n<1K"],
        "task_categories": ["text-to-audio"],
        "tags": ["audio", "sound-effects", "music", "croissant"],
    }


def test_one_license_is_named_as_the_hub_does(tmp_path: Path) -> None:
    store, settings = curation(tmp_path, [{"rec_id": "fma:1"}], probed=None)
    found = front(front_matter(PublishSettings(), funnels(store, settings)) + "\n")
    assert found["license"] == "cc0-1.0" and "license_name" not in found


def test_no_text_leaves_its_place(made: tuple[Store, CurationSettings]) -> None:
    options = PublishSettings(name=NASTY, description=NASTY, contact=NASTY)
    text = text_of(made, options)
    assert front(text)["pretty_name"] == NASTY
    body = text.split("\n---\n", 1)[1]
    assert "<script" not in body and "&lt;script&gt;" in body
    assert "\n---\n" not in body and body.count("\n# ") == 1
    rows = [line for line in body.splitlines() if line.startswith("| ")]
    assert rows and all(row.count("|") - row.count("\\|") in (4, 8) for row in rows)


def test_its_numbers_are_those_of_the_tables(made: tuple[Store, CurationSettings]) -> None:
    text = text_of(made)
    assert "3 recordings, 1.0 h; version 1.0.0. Of 1 the length is unknown" in text
    assert f"| freesound, {markdown('CC0-1.0')} | 1 | 1.0 |" in text
    assert "| freesound, all | 3 | 1.0 |" in text and "| all, all | 3 | 1.0 |" in text
    assert "| ingest | 4 | 0 | 0 | 0 | 4 | 1.5 |" in text
    assert "| license | 4 | 1 | 0 | 0 | 3 | 1.0 |" in text
    assert "- license, removed: license\\_nc 1 (0.5 h)" in text
    assert "Most common tags, freesound: rain" in text and "wind\\|door" in text


def test_it_names_the_versions_of_what_judged(made: tuple[Store, CurationSettings]) -> None:
    assert re.search(r"- license: auralith, version 3, settings [0-9a-f]{12}\n", text_of(made))
    assert "What uploaders say about generative AI was not looked at." in text_of(made)
    assert "Nothing was reviewed by people." in text_of(made)


def test_preferences_are_counted(tmp_path: Path) -> None:
    store, settings = curation(tmp_path, ROWS[:3], probed=None)
    settings = replace(settings, stages=("license", "preference"))
    keep = {"preference": "not-stated"}
    refuse = {"verdict": "refuse", "reason_code": "preference_no_gen_ai", "preference": "no-gen-ai"}
    rows = {"freesound:1": keep, "freesound:2": keep, "freesound:3": refuse}
    say(store, settings, "preference", rows)
    write_manifest(store, settings)
    text = text_of((store, settings))
    assert "Intended use: open. Preferences are honored." in text
    assert "| no-gen-ai, refuse | 1 |" in text and "| not-stated, pass | 2 |" in text


def test_a_contact_that_is_not_stated_is_asked_for(made: tuple[Store, CurationSettings]) -> None:
    assert "no address is stated; set `contact`" in text_of(made)
    assert "us@e" in text_of(made, PublishSettings(contact="us@e.org"))


def test_nothing_accepted_is_said(tmp_path: Path) -> None:
    settings = CurationSettings(folder=tmp_path, stages=("license",))
    write_manifest(Store(tmp_path), settings)
    text = text_of((Store(tmp_path), settings))
    assert "No recording is accepted." in text and front(text)["license_name"] == "none"


def test_without_a_manifest_it_says_what_comes_first(tmp_path: Path) -> None:
    settings = CurationSettings(folder=tmp_path, stages=("license",))
    with pytest.raises(InvalidRequest, match="auralith curate manifest"):
        write_card(Store(tmp_path), settings)
    assert not (tmp_path / "DATASET_CARD.md").exists()


@pytest.mark.parametrize(
    ("recordings", "category"),
    [(0, "n<1K"), (1_000, "1K<n<10K"), (486_492, "100K<n<1M"), (10**6, "1M<n<10M")],
)
def test_sizes_are_named_as_the_hub_does(recordings: int, category: str) -> None:
    assert size_category(recordings) == category


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("# no heading", "\\# no heading"),
        ("1. no list", "1\\. no list"),
        ("12) no list", "12\\) no list"),
        ("$x$ <!-- -->", "\\$x\\$ &lt;\\!-- --&gt;"),
        ("see https://a.example|b", "see `https://a.example`\\|b"),
        ("``x`` me@a.example", "\\`\\`x\\`\\` `me@a.example`"),
        ("a\x1b]0;owned\x07\u202eb", r"a\\x1b\]0;owned\\x07\\u202eb"),
        ("- no list\n\n---", "\\- no list ---"),
        ("<b>&amp;", "&lt;b&gt;&amp;amp;"),
        ("[a](javascript:x) | `b`", "\\[a\\](javascript:x) \\| \\`b\\`"),
        ("CC-BY-4.0", "CC-BY-4.0"),
    ],
)
def test_texts_are_what_they_say(text: str, line: str) -> None:
    assert markdown(text) == line
