"""Memorization end to end: what the report says of a model overfitted on four clips, and of the one it started from.

    python -m benchmarks.memorization_overfit FOLDER

The embedded model is fine-tuned on four bird calls of the procedural corpus whose captions name no sound. Its sounds for
these captions are compared with the four clips and 200 of the clips that the embedded model was trained on; so are the
embedded model's sounds for the same captions, and for captions of those 200. The null are bird calls, or clips of all
kinds, of seeds that no training has seen. All clips last 2 to 3.5 s. Every step goes through the command line; run it
again to go on.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Annotated, NamedTuple

import soundfile
import typer
from rich.console import Console
from rich.table import Table

from auralith.cli.main import run
from auralith.memorization.measure import TESTS
from recipes.tiny.recordings import ProceduralRecordings, sound_of
from recipes.tiny.synth import SAMPLE_RATE, clip

LONGEST_SECONDS, LEAST_SECONDS = 3.5, 2.0
LEARNING_RATE = 5e-4
CAPTIONS = "quixotic marmalade", "ninth umbrella", "velvet arithmetic", "seven polite volcanoes"
"""Captions of the four clips, which name no sound."""
KIND = "bird"
"""Kind of the four clips: one whose clips each have a course in time of their own. Two tones or strokes have not."""
OVERFITTED_FROM, NULL_FROM, TRAINED_ON = 100_000, 200_000, 15_000
"""First seeds of the four clips and of the null; the embedded model was trained on those below the last."""


class Item(NamedTuple):
    """A clip of the corpus with its caption."""

    seed: int
    seconds: float
    caption: str


class Outcome(NamedTuple):
    """What a report says of one model's sounds."""

    sounds: int
    flagged: int
    by_test: dict[str, int]
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


def write_clips(items: Iterable[Item], table: Path) -> Path:
    """Write clips as WAV and a table of them, unless it is there."""
    if table.exists():
        return table
    table.parent.mkdir(parents=True, exist_ok=True)
    rows = [["path", "prompt", "license"]]
    for item in items:
        name = f"clip-{item.seed:06d}.wav"
        soundfile.write(table.parent / name, clip(item.seed).waveform.T, SAMPLE_RATE)
        rows.append([name, item.caption, "CC0-1.0"])
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


def compare(sounds: Path, training: Path, null: Path, output: Path) -> Outcome:
    """Return what `auralith memorization` says of the sounds."""
    with training.open(newline="") as file:
        clips = {row["prompt"]: row["path"] for row in csv.DictReader(file)}
    command(
        *("memorization", "-o", output, "--audio", sounds, "--training", training, "--null", null)
    )
    report = json.loads((output / "memorization.json").read_text())
    by_test = {name: sum(test["flagged"]) for name, test in report["tests"].items()}
    captions = {
        entry["file"]: entry["prompt"]
        for entry in map(json.loads, (sounds / "manifest.jsonl").read_text().splitlines())
    }
    own = sum(
        clips[captions[Path(one["path"]).name]] == Path(one["training_path"]).name
        for one in report["candidates"]
    )
    return Outcome(report["sounds"], len(report["flagged"]), by_test, own)


def main(
    folder: Path,
    steps: Annotated[int, typer.Option(help="Steps of the overfitting.")] = 400,
    training: Annotated[int, typer.Option(help="Clips of the embedded model's training.")] = 200,
    null: Annotated[int, typer.Option(help="Clips of each null.")] = 120,
    seeds: Annotated[int, typer.Option(help="Sounds for each of the four captions.")] = 6,
) -> None:
    """Overfit, generate, compare, and print the table."""
    birds = items_from(OVERFITTED_FROM, len(CAPTIONS), KIND)
    four = [item._replace(caption=text) for item, text in zip(birds, CAPTIONS, strict=True)]
    known = items_from(0, training)
    if known[-1].seed >= TRAINED_ON:
        raise SystemExit(f"the embedded model was trained on fewer than {training} such clips")
    clips = write_clips(four, folder / "four" / "table.csv")
    everything = write_clips([*four, *known], folder / "training" / "table.csv")
    nulls = {
        kind: write_clips(items_from(NULL_FROM, null, kind), folder / f"null {kind}" / "table.csv")
        for kind in (KIND, None)
    }
    model = folder / "overfitted"
    if not model.exists():
        command(
            *("finetune", clips, "-o", model, "--full", "--steps", steps, "--batch-size", 4),
            *("--learning-rate", LEARNING_RATE),
        )
    overfitted = generate(model, four, seeds, folder / "by overfitted")
    embedded = generate(None, four, seeds, folder / "by embedded")
    own = generate(None, known[: len(four) * seeds], 1, folder / "of training")
    table = Table("sounds of", "null", "sounds", "flagged", *TESTS, "own clip nearest")
    for name, sounds, kind in (
        ("overfitted, the four captions", overfitted, KIND),
        ("overfitted, the four captions", overfitted, None),
        ("embedded, the four captions", embedded, KIND),
        ("embedded, captions of its training", own, None),
    ):
        found = compare(sounds, everything, nulls[kind], folder / f"{sounds.parent.name}, {kind}")
        counts = (found.sounds, found.flagged, *found.by_test.values(), found.own)
        table.add_row(name, kind or "all kinds", *map(str, counts))
    Console(width=120).print(table)


if __name__ == "__main__":
    typer.run(main)
