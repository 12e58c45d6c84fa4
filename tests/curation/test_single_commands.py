"""Each step as a command and within a run: evidence of one counts for the other, and nothing is made twice."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import soundfile

from auralith.cli.main import run
from auralith.curation.keys import evidence_of
from auralith.curation.settings import STAGES, CurationSettings
from auralith.curation.steps import steps
from auralith.curation.store import Store
from auralith.settings import load_settings
from tests.curation.test_near_duplicates import RATE, melody

NUM_SOUNDS = 3


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings that pass every step, and what the steps compare them with."""
    folder = tmp_path_factory.mktemp("inputs")
    for name, seeds in (("sounds", range(NUM_SOUNDS)), ("known", [99])):
        (folder / name).mkdir()
        for seed in seeds:
            sound = melody(seed, 6.0).clip(-1, 1)
            soundfile.write(folder / name / f"{seed}.wav", sound, RATE)
            about = {"license": "CC0", "title": f"Sound {seed}", "author": "Nobody"}
            (folder / name / f"{seed}.json").write_text(json.dumps(about))
    call("index", folder / "known", "-o", folder / "index")
    (folder / "catalogue.csv").write_text(
        "track_id,artists,album_name,track_name,duration_ms\n1,Somebody,Album,Song,1000\n"
    )
    (folder / "evaluation.csv").write_text("id\nother.wav\n")
    (folder / "weights.pth").write_bytes(b"some weights")
    (folder / "silent.csv").write_text("id,title,license\n1,a,CC0\n2,b,CC0\n")
    return folder


def call(*arguments: object) -> None:
    assert run(["curate", *map(str, arguments)]) == 0


def files(folder: Path) -> Mapping[Path, int]:
    """Every file of evidence, and when it was written."""
    store = Store(folder)
    return {path: path.stat().st_mtime_ns for n in STAGES for path in store.slices(n)}


def check_all_done(folder: Path, recipe: Path, num_recordings: int) -> None:
    """Each step has one row for each recording, and the recipe's settings find it."""
    store = Store(folder)
    for step in steps(load_settings(CurationSettings, recipe)):
        assert store.read(step.name).num_rows == num_recordings, step.name
        assert evidence_of(store, step, ["rec_id"]).num_rows == num_recordings, step.name


def commands(inputs: Path, folder: Path) -> None:
    """All steps but the tagger's, whose weights have a test of their own."""
    sounds, own = inputs / "sounds", f"own@folder:id={inputs / 'evaluation.csv'}"
    call("licenses", folder)
    call("preferences", folder)
    call("probe", folder, "--root", sounds)
    call("fingerprint", folder, "--root", sounds)
    call("identify", folder, "--root", sounds, "--index", inputs / "index")
    call(
        *("metadata", folder, "--catalogue", inputs / "catalogue.csv", "--source", "folder"),
    )
    call("guard", folder, "--set", own)


def write_recipe(inputs: Path, folder: Path, text: str) -> Path:
    path = folder.with_suffix(".toml")
    path.write_text(f"folder = {json.dumps(str(folder))}\n" + text.replace("INPUTS", str(inputs)))
    return path


@pytest.fixture
def all_steps(inputs: Path, tmp_path: Path) -> tuple[Path, Path]:
    """A curation's folder and the recipe for it."""
    text = """
stages = ["license", "preference", "probe", "fingerprint", "identify", "metadata", "guard"]
identified = "all"
index = "INPUTS/index"
catalogue = "INPUTS/catalogue.csv"
metadata.sources = ["folder"]
guard.sets = [{ name = "own", source = "folder", column = "id", ids = "INPUTS/evaluation.csv" }]

[[sources]]
kind = "folder"
path = "INPUTS/sounds"
"""
    folder = tmp_path / "curation"
    return folder, write_recipe(inputs, folder, text)


def test_a_run_takes_what_the_commands_made(inputs: Path, all_steps: tuple[Path, Path]) -> None:
    folder, recipe = all_steps
    call("ingest", folder, inputs / "sounds", "--from", "folder")
    commands(inputs, folder)
    before = files(folder)
    call("run", recipe)
    assert files(folder) == before
    check_all_done(folder, recipe, NUM_SOUNDS)


def test_the_commands_take_what_a_run_made(inputs: Path, all_steps: tuple[Path, Path]) -> None:
    folder, recipe = all_steps
    call("run", recipe)
    before = files(folder)
    commands(inputs, folder)
    assert files(folder) == before
    check_all_done(folder, recipe, NUM_SOUNDS)


@pytest.mark.parametrize("first", ["command", "run"])
def test_tagging_by_a_command_and_within_a_run_is_the_same(
    inputs: Path, tmp_path: Path, first: str
) -> None:
    """Recordings without a sound need no network, but the weights name the evidence all the same."""
    text = """
stages = ["license", "tag"]
tagger = { weights = "INPUTS/weights.pth", device = "cpu" }
tag.allow_unknown_weights = true

[[sources]]
kind = "table"
name = "list"
path = "INPUTS/silent.csv"
"""
    folder = tmp_path / "curation"
    recipe = write_recipe(inputs, folder, text)
    weights = ("--weights", inputs / "weights.pth", "--allow-unknown-weights")
    call("ingest", folder, inputs / "silent.csv", "--from", "table", "--name", "list")
    call("licenses", folder)
    command = ("tag", folder, "--root", inputs, *weights)
    run = ("run", recipe)
    both = (command, run) if first == "command" else (run, command)
    call(*both[0])
    before = files(folder)
    call(*both[1])
    assert files(folder) == before
    check_all_done(folder, recipe, 2)
