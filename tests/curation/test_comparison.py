"""Suspect and match as two sides: where they align, what is known of each, and which files may be heard."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from auralith.curation.review import cases, compared, sound_of, view_item
from auralith.curation.sources.intake import REFERENCES, remember_roots
from auralith.fingerprint import sounds_root
from tests.curation.suspects import COMMON, KNOWN_FROM, MARKUP, SUSPECT_FROM, curate_suspects


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    curate_suspects(folder)
    return folder


def payload(folder: Path, rec_id: str) -> dict[str, Any]:
    (case,) = [one for one in cases(folder) if one.item.rec_id == rec_id]
    return view_item(folder, case.item.item_id).payload


def test_a_match_by_sound_aligns_both_files(made: Path) -> None:
    found = compared(payload(made / "curation", "folder:copy.wav"))
    assert (found.suspect.title, found.suspect.license) == ("A field recording", "CC0")
    assert found.suspect.url == ""  # a script is no page
    (match,) = found.matches
    assert match.query_start_s is not None and match.ref_start_s is not None
    assert match.ref_start_s - match.query_start_s == pytest.approx(
        KNOWN_FROM - SUSPECT_FROM, abs=0.05
    )
    assert match.duration_s == pytest.approx(COMMON, abs=1.5)
    assert sound_of(made / "curation", found.suspect) == made / "sounds" / "copy.wav"
    assert sound_of(made / "curation", match.side) == made / "known" / "hit song.flac"


def test_a_match_by_title_has_no_second_sound(made: Path) -> None:
    found = compared(payload(made / "curation", "fma:1"))
    side = found.matches[0].side
    assert (side.title, side.author, side.album) == (
        "A Song Everyone Knows",
        "Known Artist",
        MARKUP,
    )
    assert side.facts["tier"] == "A" and found.matches[0].query_start_s is None
    assert sound_of(made / "curation", side) is None
    assert sound_of(made / "curation", found.suspect) == made / "music" / "1.wav"


def test_an_item_without_a_match_has_its_sound(made: Path) -> None:
    found = compared(payload(made / "curation", "folder:short.wav"))
    assert found.matches == () and sound_of(made / "curation", found.suspect) is not None


def test_folders_that_moved_are_found_again(made: Path, tmp_path: Path) -> None:
    """What is kept is relative to the curation."""
    shutil.copytree(made, tmp_path / "moved")
    found = compared(payload(tmp_path / "moved" / "curation", "folder:copy.wav"))
    for side in (found.suspect, found.matches[0].side):
        path = sound_of(tmp_path / "moved" / "curation", side)
        assert path is not None and path.resolve().is_relative_to(tmp_path / "moved")
    root = sounds_root(tmp_path / "moved" / "index")
    assert root is not None and root.resolve() == tmp_path / "moved" / "known"


@pytest.mark.parametrize(
    "path", ["../secret.wav", "/etc/hostname", "link.wav", "missing.wav", "a\0b", "x" * 5_000, ""]
)
def test_no_other_file_is_heard(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.wav").write_bytes(b"secret")
    (tmp_path / "sounds").mkdir()
    os.symlink(tmp_path / "secret.wav", tmp_path / "sounds" / "link.wav")
    folder = tmp_path / "curation"
    remember_roots(folder, {"folder": tmp_path / "sounds", REFERENCES: tmp_path / "sounds"})
    recording = {"source": "folder", "path": path}
    hostile = {"recording": recording, "evidence": {"matches": [{"path": path}, {"ref": path}]}}
    found = compared(hostile)
    sides = [found.suspect, *(match.side for match in found.matches)]
    assert [sound_of(folder, side) for side in sides] == [None] * 3


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"recording": None, "evidence": {"matches": None}},
        {"recording": [], "evidence": {"matches": [None, 3, {"title": 7, "ref": []}]}},
        {"evidence": {"matches": [{"query_start_s": True, "ref_start_s": "1", "duration_s": []}]}},
    ],
)
def test_payloads_of_any_shape_are_two_sides(payload: dict[str, Any]) -> None:
    found = compared(payload)
    assert found.suspect.title == ""
    assert all(match.query_start_s is None for match in found.matches)
