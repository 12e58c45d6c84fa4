"""Debian packages: each sound gets the license of the last stanza that matches it; without one it is refused."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auralith.curation.sources import SourceSettings
from auralith.curation.sources.debian import DebianSource, authors, parse_copyright
from auralith.errors import InvalidRequest

HEADER = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n"
TEXT = f"""{HEADER}Upstream-Name: sounds
Source: https://sounds.example/all

Files: *
Copyright: 2011-2021 Zeno Rogue <zeno@example.org>
License: GPL-2+

Files: sounds/*
       sounds/Soft?delay.ogg
Copyright: 2018, "Jane" https://freesound.org/people/jane/sounds/1/
           © 2012 - 2014 The Other Band
License: CC-BY-3.0
Comment:
 Cut by the author.
 .
 See also https://sounds.example/notes.

# a comment between stanzas
Files: sounds/free.ogg kits/rumpf_kit.h2drumkit
Copyright: no-copyright
License: CC0-1.0

Files: sounds/either.ogg
Copyright: 2020, Ann
License: GPL-3 or CC-BY-3.0

Files: sounds/stars\\*.ogg
Copyright: 2020, Ann
License: MIT
 Permission is hereby granted, free of charge.

Files: sounds/strict.ogg
Copyright: 2020, Ann
License: music-license
License-Grant: anything

License: music-license
 This track is under http://creativecommons.org/licenses/by-sa/3.0/ and no other.

License: CC-BY-3.0
 Creative Commons Legal Code
"""


def package(root: Path, *names: str) -> Path:
    for name in ("copyright", *names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEXT if name == "copyright" else "")
    return root


def records(root: Path, prefix: str = "", folder: str = ".") -> dict[str, dict[str, Any]]:
    source = DebianSource(root / "copyright", root / folder, "pkg", prefix)
    return {row.file: row.record or {"reason": row.reason_code} for row in source.rows()}


def test_the_last_stanza_that_matches_counts(tmp_path: Path) -> None:
    names = ("other.wav", "sounds/Soft delay.ogg", "sounds/deep/a.ogg", "sounds/free.ogg")
    found = records(package(tmp_path, *names, "sounds/either.ogg", "sounds/stars*.ogg"))
    assert {name: one["license_raw"] for name, one in found.items()} == {
        "other.wav": "GPL-2+",
        "sounds/Soft delay.ogg": "CC-BY-3.0",
        "sounds/deep/a.ogg": "CC-BY-3.0",
        "sounds/free.ogg": "CC0-1.0",
        "sounds/either.ogg": "GPL-3 or CC-BY-3.0",
        "sounds/stars*.ogg": "MIT",
    }


def test_a_record_names_authors_comment_and_link(tmp_path: Path) -> None:
    found = records(package(tmp_path, "sounds/a.ogg", "x.wav"))
    assert found["sounds/a.ogg"] == {
        "rec_id": "pkg:sounds/a.ogg",
        "source": "pkg",
        "source_id": "sounds/a.ogg",
        "path": "sounds/a.ogg",
        "title": "a",
        "author": "Jane; The Other Band",
        "url": "https://freesound.org/people/jane/sounds/1/",
        "description": "Cut by the author.\n\nSee also https://sounds.example/notes.",
        "license_raw": "CC-BY-3.0",
        "license_url_raw": None,
    }
    assert found["x.wav"]["author"] == "Zeno Rogue"
    assert found["x.wav"]["url"] == "https://sounds.example/all"


def test_a_glob_that_names_an_archive_stands_for_the_files_in_it(tmp_path: Path) -> None:
    names = ("kits/rumpf_kit/a.flac", "kits/rumpf_kit.h2drumkit/b/c.flac", "kits/rumpf_kit2/a.flac")
    found = records(package(tmp_path, *names))
    assert [one["license_raw"] for one in found.values()] == ["CC0-1.0", "CC0-1.0", "GPL-2+"]


def test_a_glob_of_files_matches_them_inside_an_archive(tmp_path: Path) -> None:
    found = records(package(tmp_path, "0music.pk3/sounds/free.ogg"))
    assert found["0music.pk3/sounds/free.ogg"]["license_raw"] == "CC0-1.0"


def test_globs_start_from_the_source_package(tmp_path: Path) -> None:
    package(tmp_path, "usr/share/game/free.ogg")
    found = records(tmp_path, "sounds", "usr/share/game")
    assert found["free.ogg"]["license_raw"] == "CC0-1.0"
    assert records(tmp_path, "", "usr/share/game")["free.ogg"]["license_raw"] == "GPL-2+"


def test_a_deed_in_the_text_of_a_license_counts_too(tmp_path: Path) -> None:
    found = records(package(tmp_path, "sounds/strict.ogg", "sounds/a.ogg"))["sounds/strict.ogg"]
    assert found["license_raw"] == "music-license"
    assert found["license_url_raw"] == "http://creativecommons.org/licenses/by-sa/3.0/"


def test_a_file_without_a_stanza_has_no_license(tmp_path: Path) -> None:
    package(tmp_path, "a.wav")
    (tmp_path / "copyright").write_text(HEADER + "\nFiles: b.wav\nLicense: MIT\nCopyright: Ann\n")
    assert "license_raw" not in records(tmp_path)["a.wav"]


@pytest.mark.parametrize(
    "text",
    [
        "This package was debianized by somebody.\n\nLicense: MIT\n",
        "",
        "Files: *\nLicense: MIT\n",
        HEADER + "\nFiles: *\nno field here\n",
        HEADER + "\n continuation of nothing\n",
    ],
)
def test_another_format_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(InvalidRequest, match="DEP-5") as caught:
        parse_copyright(text)
    assert "\n" not in str(caught.value)


def test_what_can_not_be_read_is_refused(tmp_path: Path) -> None:
    package(tmp_path)
    with pytest.raises(InvalidRequest, match="is not a folder"):
        DebianSource(tmp_path / "copyright", tmp_path / "none")
    with pytest.raises(InvalidRequest, match="can't be read"):
        DebianSource(tmp_path / "none", tmp_path)
    (tmp_path / "copyright").write_bytes(b"\xff\xff")
    with pytest.raises(InvalidRequest, match="can't be read"):
        DebianSource(tmp_path / "copyright", tmp_path)
    with pytest.raises(InvalidRequest, match="sounds is missing"):
        SourceSettings("debian", tmp_path / "copyright")


@pytest.mark.parametrize(
    ("copyright", "names"),
    [
        ("2018, Amber Forest", "Amber Forest"),
        ("Emanuel Rumpf <em@example.org>", "Emanuel Rumpf"),
        ("(C) 2005-2018 Ann\n2019 Bob\n2020 Ann", "Ann; Bob"),
        ("Copyright 2020-present, 1010music", "1010music"),
        ("Shawn Parrotte (http://www.shawnparrotte.com)", "Shawn Parrotte"),
        ("2013", ""),
    ],
)
def test_authors_are_names_alone(copyright: str, names: str) -> None:
    assert authors(copyright) == names


@given(st.text())
def test_reading_any_text_parses_or_refuses(text: str) -> None:
    try:
        found = parse_copyright(HEADER + "\n" + text)
    except InvalidRequest:
        return
    for path in ("a.wav", "b/c.ogg", text[:20].replace("\n", " ")):
        found.of(path)


@given(st.lists(st.sampled_from(["*", "?", "a", "b", "/", "."]), max_size=8), st.data())
def test_globs_match_as_the_format_says(parts: list[str], data: st.DataObject) -> None:
    pieces = [
        data.draw(st.text("ab/", max_size=3)) if part == "*" else data.draw(st.sampled_from("ab/")) if part == "?" else part
        for part in parts
    ]  # fmt: skip
    glob = "".join(parts)
    text = f"{HEADER}\nFiles: {glob}\nCopyright: x\nLicense: MIT\n"
    matched = parse_copyright(text).of("".join(pieces))
    assert not glob or glob.startswith("./") or matched is not None
