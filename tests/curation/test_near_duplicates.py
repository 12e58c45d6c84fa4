"""Near duplicates: which recordings sound the same, what they are grouped by, and that the search goes on."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auralith.cli.curate import curate as app
from auralith.curation.duplicates import TABLE, find_near_duplicates, near_pairs
from auralith.curation.outcomes import outcomes
from auralith.curation.publish.manifest import manifest
from auralith.curation.run import curate
from auralith.curation.settings import CurationSettings
from auralith.curation.sources import SourceSettings
from auralith.curation.stage import CurationStep
from auralith.curation.steps import step_of
from auralith.curation.store import Store

RATE = 22_050


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    first, second, third = (melody(seed, 12.0) for seed in range(3))
    write(folder / "first.wav", first)
    write(folder / "first-quiet.mp3", 0.1 * first)
    write(folder / "first-part.flac", first[3 * RATE : 9 * RATE])
    write(folder / "second.wav", second)
    write(folder / "second-later.ogg", np.concatenate((np.zeros(RATE), second)))
    write(folder / "half-first.wav", np.concatenate((first[: 6 * RATE], third[: 6 * RATE])))
    write(folder / "third.wav", melody(3, 12.0))
    write(folder / "click.wav", np.eye(1, RATE // 4)[0])
    return folder


def melody(seed: int, seconds: float) -> np.ndarray:
    """Notes at odd times and pitches over a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    sound = 0.002 * rng.standard_normal(len(time))
    for start in np.cumsum(rng.uniform(0.08, 0.25, round(seconds * 6))):
        age = time - start
        pitch = rng.uniform(150, 3_000)
        sound += 0.1 * (age > 0) * np.exp(-8 * age.clip(0)) * np.sin(2 * np.pi * pitch * age)
    return sound


def write(path: Path, sound: np.ndarray) -> None:
    soundfile.write(path, sound.clip(-1, 1), RATE)
    path.with_suffix(".json").write_text(json.dumps({"license": "CC0", "title": path.stem}))


def settings_of(folder: Path, sounds: Path, dedupe: bool = False) -> CurationSettings:
    source = SourceSettings("folder", sounds)
    stages = ("license", "probe", "fingerprint")
    return CurationSettings(folder=folder, sources=(source,), stages=stages, dedupe=dedupe)


def fingerprint(settings: CurationSettings) -> CurationStep:
    step = step_of(settings, "fingerprint")
    assert step is not None
    return step


@pytest.fixture(scope="module")
def made(sounds: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, CurationSettings]:
    settings = settings_of(tmp_path_factory.mktemp("curation"), sounds)
    list(curate(settings))
    return Store(settings.folder), settings


def copy_of(made: tuple[Store, CurationSettings], folder: Path) -> Path:
    """A copy of the finished curation, to be changed."""
    return Path(shutil.copytree(made[1].folder, folder / "curation"))


def test_what_sounds_the_same_is_one_group(made: tuple[Store, CurationSettings]) -> None:
    groups: Mapping[str, str | None] = {
        row["rec_id"].removeprefix("folder:"): row["dup_group"]
        for row in manifest(*made).to_pylist()
    }
    first = "folder:first-part.flac"
    assert groups["first.wav"] == groups["first-quiet.mp3"] == groups["first-part.flac"] == first
    assert groups["second.wav"] == groups["second-later.ogg"] == "folder:second-later.ogg"
    assert groups["third.wav"] is None
    assert groups["click.wav"] is None


def test_half_of_a_recording_is_no_duplicate_of_it(made: tuple[Store, CurationSettings]) -> None:
    store, settings = made
    pairs = near_pairs(store, fingerprint(settings))
    related = {(pair.first, pair.second) for pair in pairs}
    assert ("folder:first.wav", "folder:half-first.wav") not in related
    assert ("folder:half-first.wav", "folder:first.wav") not in related


def test_nothing_is_looked_for_twice_and_no_index_stays(
    made: tuple[Store, CurationSettings],
) -> None:
    store, settings = made
    slices = store.slices(TABLE)
    list(find_near_duplicates(store, fingerprint(settings), settings.engine))
    assert store.slices(TABLE) == slices
    assert not list(store.folder.glob(".near-index-*"))


def test_deduplication_keeps_one_of_each(
    made: tuple[Store, CurationSettings], sounds: Path, tmp_path: Path
) -> None:
    settings = settings_of(copy_of(made, tmp_path), sounds, dedupe=True)
    list(curate(settings))
    rows = outcomes(Store(settings.folder), settings).to_pylist()
    removed = {row["rec_id"]: row["reason_code"] for row in rows if row["outcome"] == "removed"}
    names = ("first-quiet.mp3", "first-part.flac", "second-later.ogg")
    assert removed == {f"folder:{name}": "duplicate" for name in names}


def test_a_search_that_was_cut_goes_on(
    made: tuple[Store, CurationSettings], sounds: Path, tmp_path: Path
) -> None:
    settings = settings_of(copy_of(made, tmp_path), sounds)
    store = Store(settings.folder)
    step = fingerprint(settings)
    whole = near_pairs(store, step)
    (only,) = store.slices(TABLE)
    store.append(TABLE, store.read(TABLE).slice(0, 3), only.stem)
    assert len(near_pairs(store, step)) < len(whole)
    list(find_near_duplicates(store, step, settings.engine))
    assert near_pairs(store, step) == whole
    assert store.read(TABLE).num_rows == 8


def test_another_recording_starts_another_search(sounds: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sounds"
    folder.mkdir()
    for path in (*sounds.glob("first.*"), *sounds.glob("third.*")):
        (folder / path.name).write_bytes(path.read_bytes())
    settings = settings_of(tmp_path / "curation", folder)
    list(curate(settings))
    store = Store(settings.folder)
    assert near_pairs(store, fingerprint(settings)) == []
    for path in sounds.glob("first-quiet.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    list(curate(settings))
    found = near_pairs(store, fingerprint(settings))
    assert {(pair.first, pair.second) for pair in found} == {
        ("folder:first.wav", "folder:first-quiet.mp3"),
        ("folder:first-quiet.mp3", "folder:first.wav"),
    }
    assert all(pair.cover >= 0.9 for pair in found)


def test_the_commands_find_and_count_them(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path)
    app(["ingest", folder, str(sounds), "--from", "folder"], standalone_mode=False)
    app(["probe", folder, "--root", str(sounds)], standalone_mode=False)
    app(["fingerprint", folder, "--root", str(sounds)], standalone_mode=False)
    capsys.readouterr()
    app(["duplicates", folder], standalone_mode=False)
    said = capsys.readouterr().out
    assert "2 groups of 5 recordings" in said and "3 would be removed" in said
