"""Real recordings of a curated table, read whole once and kept in memory; varied in pitch, place and level.

The table is the manifest of a curation run, or any with the columns path, caption and license: its folder is where
paths begin.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr

from auralith.sound.reading import read
from recipes.embedded.corpus.sounds import LONGEST
from recipes.tiny.synth.signals import SAMPLE_RATE, Stereo, num_samples
from recipes.tiny.synth.sounds import LEVEL, STAGE

SPEEDS = (0.94, 1.06)
"""Range of speeds at which a recording without a stated pitch or tempo is played."""
QUIET = 10 ** (-50 / 20)


@dataclass(frozen=True)
class Recorded:
    """A recording, before it is staged."""

    kind: str
    """Path in the table."""
    form: str
    text: str
    """Caption, "~" marking where adjectives may stand."""
    seconds: float
    speed: float
    descriptors: tuple[str, ...] = ()
    bpm: float | None = None
    hz: float | None = None
    note: str | None = None


@dataclass(frozen=True)
class Entry:
    """A row of the table, and what people may call it."""

    path: str
    texts: tuple[str, ...]
    keeps_pitch: bool
    weight: float

    @property
    def title(self) -> str:
        """First of its texts."""
        return self.texts[0].replace("~", "")


class Library:
    """Recordings of a table."""

    def __init__(self, table: Path, held_out: Sequence[str] = ()) -> None:
        """Read the table; recordings whose path contains one of `held_out` are for evaluation alone."""
        self.folder = table.parent
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        entries = [_entry(row["path"], row["caption"]) for row in rows]
        self._titles = {entry.path: entry.title for entry in entries}
        is_held = [any(part in entry.path for part in held_out) for entry in entries]
        self.held_out = [e for e, held in zip(entries, is_held, strict=True) if held]
        self.entries = [e for e, held in zip(entries, is_held, strict=True) if not held]
        weights = np.array([entry.weight for entry in self.entries])
        self._shares = weights / weights.sum()

    @property
    def titles(self) -> list[str]:
        """Names of all recordings, each once."""
        return list(dict.fromkeys(self._titles.values()))

    def title(self, path: str) -> str:
        """Return the name of a recording, which others may share."""
        return self._titles[path]

    def draw(self, rng: np.random.Generator, *, held_out: bool = False) -> Recorded:
        """Return a recording at a speed, with what is done to it."""
        if held_out:
            entry = self.held_out[int(rng.integers(len(self.held_out)))]
        else:
            entry = self.entries[int(rng.choice(len(self.entries), p=self._shares))]
        speed = 1.0 if entry.keeps_pitch else float(round(rng.uniform(*SPEEDS), 3))
        length = self.source(entry.path).shape[1] / SAMPLE_RATE / speed
        padding = float(rng.choice((0.0, 0.0, 0.3, 0.8)))
        seconds = float(round(min(LONGEST, max(0.5, length + padding)), 2))
        says = tuple(str(rng.choice(axis)) for axis in (LEVEL, STAGE) if rng.random() < 0.2)
        text = entry.texts[int(rng.integers(len(entry.texts)))]
        return Recorded(entry.path, "recording", text, seconds, speed, says)

    def play(self, sound: Recorded) -> Stereo:
        """Return a recording at its speed, cut or padded to its length."""
        samples = self.source(sound.kind)
        if sound.speed != 1.0:
            samples = soxr.resample(samples.T, SAMPLE_RATE * sound.speed, SAMPLE_RATE, "HQ").T
        out = np.zeros((2, num_samples(sound.seconds)), np.float32)
        length = min(out.shape[1], samples.shape[1])
        out[:, :length] = samples[:, :length]
        return out

    @lru_cache(maxsize=4_096)  # noqa: B019 (a library lives as long as its process)
    def source(self, path: str) -> Stereo:
        """Return a file as stereo at 44.1 kHz, without the silence around it."""
        waveform, rate = read(self.folder / path)
        samples = waveform.numpy()[:, : int(LONGEST * 1.2 * rate)]
        if rate != SAMPLE_RATE:
            samples = soxr.resample(samples.T, rate, SAMPLE_RATE, "HQ").T
        samples = np.repeat(samples, 2, axis=0) if samples.shape[0] == 1 else samples[:2]
        loud = np.nonzero(np.abs(samples).max(axis=0) > QUIET * max(np.abs(samples).max(), 1e-6))[0]
        return np.ascontiguousarray(samples[:, loud[0] : loud[-1] + 1], np.float32)


_ANIMALS = {
    "dog": ("a ~dog barking", "~dog barking", "a ~dog", "a barking ~dog", "~dog barks"),
    "cat": ("a ~cat meowing", "a ~cat", "~cat meow", "a meowing ~cat"),
    "cow": ("a ~cow mooing", "a ~cow", "~cow moo"),
    "horse": ("a ~horse neighing", "a ~horse", "~horse whinny"),
    "sheep": ("a ~sheep bleating", "a ~sheep", "~sheep baa"),
    "pig": ("a ~pig grunting", "a ~pig", "~pig oinking"),
    "duck": ("a ~duck quacking", "a ~duck", "~duck quacks"),
    "rooster": ("a ~rooster crowing", "a ~rooster", "a ~cock-a-doodle-doo"),
    "owl": ("an ~owl hooting", "an ~owl", "~owl hoots"),
    "frog": ("a ~frog croaking", "a ~frog", "~frog croaks"),
}
_STROKES = {"up-stroke": ", upstroke", "down-stroke": ", downstroke"}


def _entry(path: str, caption: str) -> Entry:
    """Return what people may call a recording, from the caption of the table."""
    if caption in _ANIMALS:
        return Entry(path, _ANIMALS[caption], False, 3.0)
    strum = re.fullmatch(
        r"guitar strum, ([A-G])( sharp)? ?([a-z0-9]+) chord(?:, (up|down)-stroke)?", caption
    )
    if strum is not None:
        root = strum[1] + ("#" if strum[2] else "")
        quality = re.sub(r"(minor|major)(?=[0-9])", r"\1 ", strum[3])
        chord = f"{root} {quality}"
        stroke = f", {strum[4]}stroke" if strum[4] else ""
        texts = (
            f"an ~acoustic guitar strumming a {chord} chord{stroke}", f"~acoustic guitar strum, {chord}{stroke}",
            f"a ~guitar playing a {chord} chord{stroke}", f"a {chord} ~guitar strum{stroke}", f"~guitar, {chord} chord{stroke}",
        )  # fmt: skip
        return Entry(path, texts, True, 0.5)
    head, _, tail = caption.partition(", ")
    texts = (f"~{head}, {tail}", f"~{tail} {head}") if tail else (f"~{head}",)
    texts = (*texts, f"a ~{head}")
    return Entry(path, texts, _has_pitch(caption), 1.0)


def _has_pitch(caption: str) -> bool:
    return bool(re.search(r"\b(note|chord|string)\b|\b[A-G]#?\d\b|loop", caption))
