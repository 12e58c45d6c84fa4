"""Memorization end to end: what the report says of models overfitted on four clips, and of models that saw many.

    python -m benchmarks.memorization_overfit phrases FOLDER
    python -m benchmarks.memorization_overfit birds FOLDER

`phrases`: the embedded model, which was trained on 15,000 clips, is fine-tuned twice: on four phrases of notes, and on many
of them, the four included. The sounds of both for captions of what they were trained on are compared with the many; the
null are phrases of seeds that no training has seen. The embedded autoencoder keeps such phrases.

`birds`: the embedded model is fine-tuned on four bird calls, which its autoencoder does not keep. Its sounds, and those of
the embedded model, are compared with the four and with 200 clips that the embedded model was trained on.

All clips last 2 to 3.5 s. Every step goes through the command line; run it again to go on.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import soundfile
import typer
from rich.console import Console
from rich.table import Table

from auralith.cli.main import run
from recipes.tiny.recordings import ProceduralRecordings, sound_of
from recipes.tiny.synth import SAMPLE_RATE, Sound, clip, render

LONGEST_SECONDS, LEAST_SECONDS = 3.5, 2.0
LEARNING_RATE = 5e-4
CAPTIONS = "quixotic marmalade", "ninth umbrella", "velvet arithmetic", "seven polite volcanoes"
"""Captions of the four bird calls, which name no sound."""
BIRD = "bird"
"""Kind of clips that each have a course in time of their own. Two tones or strokes have not."""
OVERFITTED_FROM, NULL_FROM, TRAINED_ON = 100_000, 200_000, 15_000
"""First seeds of the four clips and of the null; the embedded model was trained on those below the last."""
PHRASE_SECONDS = 3.0
HEADINGS = "sounds", "flagged", "p of the set", "own clip nearest"
INSTRUMENTS = {"pluck": "plucked string", "bell": "bell", "electric_piano": "electric piano"}


class Item(NamedTuple):
    """A clip with its caption."""

    seed: int
    seconds: float
    caption: str
    kind: Literal["clip", "phrase"] = "clip"

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.kind}-{self.seed:06d}.wav"

    @property
    def waveform(self) -> np.ndarray:
        """The clip as (channel, sample) at `SAMPLE_RATE`."""
        return clip(self.seed).waveform if self.kind == "clip" else phrase(self.seed)


class Outcome(NamedTuple):
    """What a report says of one model's sounds."""

    sounds: int
    flagged: int
    set_p_value: str
    own: int
    """Sounds whose nearest training sound, as the report names it, is the clip of their caption."""


def items_from(first: int, number: int, kind: str | None = None) -> list[Item]:
    """Return the first clips from a seed on, of a kind if one is named, that are of the length that is compared."""
    return list(islice(_items(first, kind), number))


def _items(first: int, kind: str | None) -> Iterator[Item]:
    corpus = ProceduralRecordings(sys.maxsize)
    for seed in count(first):
        sound = sound_of(corpus[seed].metadata)
        if LEAST_SECONDS <= sound.seconds <= LONGEST_SECONDS and kind in (None, sound.kind):
            yield Item(seed, sound.seconds, clip(seed).caption)


def phrases_from(first: int, number: int) -> list[Item]:
    """Return the phrases of so many seeds."""
    return [
        Item(seed, PHRASE_SECONDS, _caption(_drawn(seed)), "phrase")
        for seed in range(first, first + number)
    ]


class Phrase(NamedTuple):
    """Notes of one instrument: their starts in seconds and semitones above A3."""

    instrument: str
    starts: tuple[float, ...]
    semitones: tuple[int, ...]


def _drawn(seed: int) -> Phrase:
    rng = np.random.default_rng((seed, 1))
    notes = int(rng.integers(6, 13))
    starts = np.sort(rng.uniform(0, PHRASE_SECONDS - 0.2, notes)) * np.append(0, np.ones(notes - 1))
    semitones = rng.integers(0, 30, notes)
    return Phrase(str(rng.choice(list(INSTRUMENTS))), tuple(starts), tuple(semitones.tolist()))


def _caption(one: Phrase) -> str:
    register = "low" if np.mean(one.semitones) < 15 else "high"
    return f"{len(one.starts)} {register} notes on a {INSTRUMENTS[one.instrument]}"


def phrase(seed: int) -> np.ndarray:
    """Return a phrase in stereo, with a peak of 0.8."""
    one, rng = _drawn(seed), np.random.default_rng((seed, 2))
    mixed = np.zeros((2, round((PHRASE_SECONDS + 1) * SAMPLE_RATE)))
    for start, semitone in zip(one.starts, one.semitones, strict=True):
        hz = 220 * 2 ** (semitone / 12)
        note = render(Sound("note", one.instrument, 0.8, None, hz, None, ()), rng)
        at = round(start * SAMPLE_RATE)
        mixed[:, at : at + note.shape[1]] += note * rng.uniform(0.4, 1)
    kept = mixed[:, : round(PHRASE_SECONDS * SAMPLE_RATE)]
    return kept * 0.8 / np.abs(kept).max()


def write_clips(items: Iterable[Item], table: Path) -> Path:
    """Write clips as WAV and a table of them, unless it is there."""
    if table.exists():
        return table
    table.parent.mkdir(parents=True, exist_ok=True)
    rows = [["path", "prompt", "license"]]
    for item in items:
        soundfile.write(table.parent / item.name, item.waveform.T, SAMPLE_RATE)
        rows.append([item.name, item.caption, "CC0-1.0"])
    return _write_table(rows, table)


def _write_table(rows: Iterable[Iterable[object]], table: Path) -> Path:
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return table


def command(*words: object) -> None:
    """Run `auralith WORDS`. Raise `SystemExit` where it fails."""
    if code := run([str(word) for word in words]):
        raise SystemExit(code)


def generate(model: Path | None, items: Iterable[Item], seeds: int, folder: Path) -> Path:
    """Return the folder of a model's sounds for captions, each with as many seeds, as long as their clips.

    Without a model they are the embedded one's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [[item.caption, item.seconds, seed] for item in items for seed in range(seeds)]
    table = _write_table([["prompt", "seconds", "seed"], *rows], folder / "prompts.csv")
    chosen = ("--model", model) if model else ()
    command("batch", table, "-o", folder / "sounds", "--batch-size", 8, *chosen)
    return folder / "sounds"


def compare(
    sounds: Path, items: Iterable[Item], training: Path, null: Path, output: Path, work: Path
) -> Outcome:
    """Return what `auralith memorization` says of the sounds for items' captions."""
    own: dict[str, set[str]] = {}
    for item in items:
        own.setdefault(item.caption, set()).add(item.name)
    manifest = sounds / "manifest.jsonl"
    command(
        *("memorization", "-o", output, "--audio", manifest, "--training", training),
        *("--null", null, "--work", work, "--max-seconds", LONGEST_SECONDS),
    )
    report = json.loads((output / "memorization.json").read_text())
    captions = {
        entry["file"]: entry["prompt"]
        for entry in map(json.loads, manifest.read_text().splitlines())
    }
    found = sum(
        Path(one["training_path"]).name in own[captions[Path(one["path"]).name]]
        for one in report["candidates"]
    )
    p = f"{report['set_p_value']:.2g}"
    return Outcome(report["sounds"], len(report["flagged"]), p, found)


def overfit(clips: Path, model: Path, steps: int, batch: int) -> Path:
    """Return the embedded model fine-tuned on clips, all of its transformer."""
    if not model.exists():
        command(
            *("finetune", clips, "-o", model, "--full", "--steps", steps, "--batch-size", batch),
            *("--learning-rate", LEARNING_RATE),
        )
    return model


app = typer.Typer(add_completion=False)


@app.command()
def phrases(
    folder: Path,
    steps: Annotated[int, typer.Option(help="Steps on four phrases.")] = 400,
    many_steps: Annotated[int, typer.Option(help="Steps on all phrases.")] = 2_000,
    training: Annotated[int, typer.Option(help="Phrases of the training set.")] = 3_000,
    null: Annotated[int, typer.Option(help="Phrases of the null.")] = 400,
    seeds: Annotated[int, typer.Option(help="Sounds for each of the four captions.")] = 6,
    sounds: Annotated[int, typer.Option(help="Captions of all phrases, with a sound each.")] = 24,
) -> None:
    """Fine-tune on four phrases and on many, generate, compare, and print the table."""
    known = phrases_from(0, training)
    everything = write_clips(known, folder / "training" / "table.csv")
    four = write_clips(known[:4], folder / "four" / "table.csv")
    held_out = write_clips(phrases_from(NULL_FROM, null), folder / "null" / "table.csv")
    overfitted = overfit(four, folder / "overfitted", steps, 4)
    broad = overfit(everything, folder / "broad", many_steps, 8)
    table = Table("model of", *HEADINGS)
    for name, model, items, number in (
        ("four phrases", overfitted, known[:4], seeds),
        ("all phrases", broad, known[:sounds], 1),
    ):
        made = generate(model, items, number, folder / f"by {name}")
        found = compare(made, items, everything, held_out, folder / name, folder / "work")
        table.add_row(name, *map(str, found))
    Console(width=120).print(table)


@app.command()
def birds(
    folder: Path,
    steps: Annotated[int, typer.Option(help="Steps of the overfitting.")] = 400,
    training: Annotated[int, typer.Option(help="Clips of the embedded model's training.")] = 200,
    null: Annotated[int, typer.Option(help="Clips of each null.")] = 120,
    seeds: Annotated[int, typer.Option(help="Sounds for each of the four captions.")] = 6,
) -> None:
    """Overfit on bird calls, generate, compare, and print the table."""
    calls = items_from(OVERFITTED_FROM, len(CAPTIONS), BIRD)
    four = [item._replace(caption=text) for item, text in zip(calls, CAPTIONS, strict=True)]
    known = items_from(0, training)
    if known[-1].seed >= TRAINED_ON:
        raise SystemExit(f"the embedded model was trained on fewer than {training} such clips")
    clips = write_clips(four, folder / "four" / "table.csv")
    everything = write_clips([*four, *known], folder / "training" / "table.csv")
    nulls = {
        kind: write_clips(items_from(NULL_FROM, null, kind), folder / f"null {kind}" / "table.csv")
        for kind in (BIRD, None)
    }
    model = overfit(clips, folder / "overfitted", steps, 4)
    overfitted = generate(model, four, seeds, folder / "by overfitted")
    embedded = generate(None, four, seeds, folder / "by embedded")
    own = generate(None, known[: len(four) * seeds], 1, folder / "of training")
    table = Table("sounds of", "null", *HEADINGS)
    for name, sounds, items, kind in (
        ("overfitted, the four captions", overfitted, four, BIRD),
        ("overfitted, the four captions", overfitted, four, None),
        ("embedded, the four captions", embedded, four, BIRD),
        ("embedded, captions of its training", own, known, None),
    ):
        output = folder / f"{sounds.parent.name}, {kind}"
        found = compare(sounds, items, everything, nulls[kind], output, folder / "work")
        table.add_row(name, kind or "all kinds", *map(str, found))
    Console(width=120).print(table)


if __name__ == "__main__":
    app()
