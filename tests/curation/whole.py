"""A small curation from end to end: sounds good and bad, two sources, and what must become of each recording."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 16_000
EXPECTED = {
    "folder:drone.wav": ("accepted", None, None),
    "folder:empty.wav": ("quarantined", "probe", "empty_file"),
    "folder:hiss.wav": ("accepted", None, None),
    "folder:noncommercial.wav": ("removed", "license", "license_nc"),
    "folder:nothing.wav": ("quarantined", "probe", "silent"),
    "folder:text.wav": ("quarantined", "probe", "not_audio"),
    "folder:unlicensed.wav": ("removed", "license", "license_unknown"),
    "folder:unwilling.wav": ("removed", "preference", "preference_no_gen_ai"),
    "fma:1": ("pending", "review", "metadata_a"),
    "fma:2": ("accepted", None, None),
    "fma:3": ("removed", "guard", "eval_overlap:own"),
    "fma:4": ("quarantined", "probe", "missing_file"),
}
"""Outcome, stage and reason of each recording."""


def write_inputs(folder: Path) -> None:
    """The sounds of two sources, with their metadata, a list of commercial music and one of an evaluation set."""
    _write_folder(folder / "sounds")
    _write_table(folder)
    catalogue = [("id", "Known Artist", "Album", "A Song Everyone Knows", 1_000)]
    header = ("track_id", "artists", "album_name", "track_name", "duration_ms")
    write_csv(folder / "catalogue.csv", header, catalogue)
    write_csv(folder / "evaluation.csv", ("id",), [("3",), ("77",)])


def recipe(inputs: Path, output: Path, name: str) -> Path:
    """A recipe that curates the inputs into `output`."""
    path = inputs / f"{name}.toml"
    path.write_text(
        f"""
folder = {json.dumps(str(output))}
stages = ["license", "preference", "probe", "metadata", "guard"]
catalogue = {json.dumps(str(inputs / "catalogue.csv"))}
engine = {{ slice_rows = 5, heavy_slice_rows = 2, workers = 1 }}
guard.sets = [
  {{ name = "own", source = "fma", ids = {json.dumps(str(inputs / "evaluation.csv"))} }}
]

[[sources]]
kind = "folder"
path = {json.dumps(str(inputs / "sounds"))}

[[sources]]
kind = "table"
name = "fma"
path = {json.dumps(str(inputs / "tracks.csv"))}
sounds = {json.dumps(str(inputs / "music"))}
columns = [{{ ours = "title", theirs = "track" }}]
"""
    )
    return path


def _write_folder(folder: Path) -> None:
    folder.mkdir()
    licenses = {"noncommercial": "Attribution NonCommercial", "unlicensed": "ask me"}
    names = ("drone", "hiss", "noncommercial", "nothing", "unlicensed", "unwilling")
    for seed, name in enumerate(names):
        _write_sound(folder / f"{name}.wav", seed, 0.0 if name == "nothing" else 0.1)
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("no sound at all " * 99)
    for name in (*names, "empty", "text"):
        about = {"license": licenses.get(name, "CC0"), "title": f"<{name}>", "author": "someone"}
        if name == "unwilling":
            about["gen_ai_preference"] = "no-gen-ai"
        (folder / f"{name}.json").write_text(json.dumps(about))


def _write_table(folder: Path) -> None:
    (folder / "music").mkdir()
    for number in (1, 2, 3):
        _write_sound(folder / "music" / f"{number}.wav", 50 + number, 0.1)
    header = ("id", "path", "track", "author", "license_raw")
    rows = [
        (1, "1.wav", "A Song Everyone Knows", "Known Artist", "ccby"),
        (2, "2.wav", "Something Else Entirely", "Nobody", "ccby"),
        (3, "3.wav", "Another Thing Altogether", "Somebody", "ccby"),
        (4, "4.wav", "Yet Another Thing", "Anybody", "ccby"),
        ("", "5.wav", "Without Id", "Anybody", "ccby"),
    ]
    write_csv(folder / "tracks.csv", header, rows)


def _write_sound(path: Path, seed: int, level: float) -> None:
    noise = np.random.default_rng(seed).standard_normal(SAMPLE_RATE) * level
    soundfile.write(path, noise.clip(-1, 1), SAMPLE_RATE)


def write_csv(path: Path, header: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
