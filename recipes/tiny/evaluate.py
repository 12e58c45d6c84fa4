"""How well a model follows prompts: tempo, pitch, kind, end and length of its sounds for held-out prompts.

Three rows are measured by the same functions: `corpus`, the clip that a held-out prompt describes (what the measures
can tell at best), `reconstruction`, that clip through the autoencoder, and `generated`, the sound made for the prompt.
No wording, tempo or pitch of these prompts occurs in a training caption. Nothing here is learned but the centroids of
the kinds, which come from training clips.

    python -m recipes.tiny.evaluate --model runs/tiny/model --output figures.json
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from auralith.pipeline import Auralith, load
from auralith.request import GenerationRequest
from auralith.sound.writing import write
from recipes.tiny import synth
from recipes.tiny.measures import (
    Classifier,
    Waveform,
    end,
    features,
    longest_pause,
    pitch,
    pitch_matches,
    tempo,
    tempo_matches,
)

ROWS = ("corpus", "reconstruction", "generated")
FIGURES = ("tempo", "pitch", "family", "kind", "end", "length")
SHARES = {"drums": 0.30, "note": 0.35}
"""Of the prompts; the other families share the rest evenly."""
END_TOLERANCE = 0.35
RINGING = frozenset(("pluck", "bell", "electric_piano"))
"""Kinds besides those of the family "hit" that are struck once and may be gone before the clip ends."""
REPEATING = frozenset(("drums", "knock", "footsteps", "chirp"))
"""Families of separate events, in which a clip may end in a pause."""
TRAINING_STREAM, HELD_OUT_STREAM, RERUN_STREAM = 11, 12, 13


@dataclass(frozen=True)
class Case:
    """A held-out prompt, the clip that it describes, and when a sound that follows it may end."""

    prompt: str
    sound: synth.Sound
    waveform: Waveform
    earliest_end: float
    latest_end: float


@dataclass(frozen=True)
class Outcome:
    """What was measured of one sound. `right` holds the figures that apply to it."""

    prompt: str
    kind: str
    heard_kind: str
    tempo: float | None
    pitch: float | None
    end: float
    right: dict[str, bool]


def draw_cases(number: int, seed: int) -> Iterator[Case]:
    """Held-out cases with fixed shares of the families and of the kinds in each; the same ones for the same seed."""
    left = _quotas(number)
    for index in count():
        if not any(left.values()):
            return
        rng = np.random.default_rng((seed, index, HELD_OUT_STREAM))
        sound = synth.draw_sound(rng, held_out=True)
        if not left[sound.kind]:
            continue
        left[sound.kind] -= 1
        prompt = synth.caption(sound, rng, held_out=True)
        again = np.random.default_rng((seed, index, RERUN_STREAM))
        earliest, latest = end_limits(sound, [synth.render(sound, again) for _ in range(3)])
        yield Case(prompt, sound, synth.render(sound, rng), earliest, latest)


def _quotas(number: int) -> dict[str, int]:
    """Cases of each kind: the families' shares, each split evenly over its kinds."""
    others = [family for family in synth.FAMILIES if family not in SHARES]
    sizes = {family: round(number * share) for family, share in SHARES.items()}
    rest = number - sum(sizes.values())
    sizes |= zip(others, _split(rest, len(others)), strict=True)
    quotas: dict[str, int] = {}
    for family, size in sizes.items():
        kinds = [kind for kind in synth.KINDS if synth.family_of(kind) == family]
        quotas |= dict(zip(kinds, _split(size, len(kinds)), strict=True))
    return quotas


def _split(total: int, parts: int) -> list[int]:
    return [total // parts + (index < total % parts) for index in range(parts)]


def end_limits(sound: synth.Sound, renderings: list[Waveform]) -> tuple[float, float]:
    """Seconds between which a rendering of the sound may end, from other renderings of it.

    A kind that fills its clip ends where the clip ends. One that is struck once ends where the other renderings do
    (their median). One of separate events may stop a pause before the end of the clip, the longest that occurs in
    the other renderings. END_TOLERANCE is allowed on either side.
    """
    first = last = sound.seconds
    if sound.family == "hit" or sound.kind in RINGING:
        first = last = float(np.median([end(rendering) for rendering in renderings]))
    elif sound.family in REPEATING or sound.kind == "beep_alarm":
        first -= max(longest_pause(rendering) for rendering in renderings)
    return first - END_TOLERANCE, last + END_TOLERANCE


def fit_classifier(per_kind: int, seed: int) -> Classifier:
    """The classifier of kinds from that many training clips of each."""
    rows: list[np.ndarray] = []
    labels: list[str] = []
    left = dict.fromkeys(synth.KINDS, per_kind)
    for index in track(count(), "training clips", total=None, transient=True):
        if not any(left.values()):
            break
        rng = np.random.default_rng((seed, index, TRAINING_STREAM))
        sound = synth.draw_sound(rng)
        if left[sound.kind]:
            left[sound.kind] -= 1
            rows.append(features(synth.render(sound, rng)))
            labels.append(sound.kind)
    return Classifier.fit(np.stack(rows), labels)


def judge(case: Case, waveform: Waveform, classifier: Classifier) -> Outcome:
    """Every figure of a sound that applies to its case."""
    sound = case.sound
    heard = classifier.label(features(waveform))
    beats = tempo(waveform) if sound.bpm is not None else None
    hz = pitch(waveform) if sound.hz is not None else None
    stop = end(waveform)
    right = {
        "family": synth.family_of(heard) == sound.family,
        "kind": heard == sound.kind,
        "end": case.earliest_end <= stop <= case.latest_end,
        "length": waveform.shape[-1] == round(sound.seconds * synth.SAMPLE_RATE),
    }
    if sound.bpm is not None:
        right["tempo"] = tempo_matches(beats, sound.bpm)
    if sound.hz is not None:
        right["pitch"] = pitch_matches(hz, sound.hz)
    return Outcome(case.prompt, sound.kind, heard, beats, hz, stop, right)


def reconstructed(model: Auralith, cases: list[Case]) -> Iterator[Waveform]:
    """Each clip through the autoencoder, cut to its length."""
    for case in cases:
        latents = model.encode(torch.from_numpy(case.waveform)[None])
        yield model.decode(latents)[0, :, : case.waveform.shape[1]].cpu().numpy()


def generated(
    model: Auralith, cases: list[Case], options: argparse.Namespace
) -> Iterator[Waveform]:
    """A sound for each prompt, of the length of its clip; the seed is the number of the case."""
    requests = [
        GenerationRequest(
            prompt=case.prompt,
            seconds_total=case.sound.seconds,
            steps=options.steps,
            cfg_scale=options.cfg,
            sampler=options.sampler,
            seed=index,
        )
        for index, case in enumerate(cases)
    ]
    for start in range(0, len(requests), options.batch):
        for sound in model.generate_batch(requests[start : start + options.batch]):
            yield sound.waveform.numpy()


def figures_of(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """For each figure the share of right sounds and the number of sounds that it applies to."""
    table: dict[str, dict[str, float]] = {}
    for figure in FIGURES:
        marks = [outcome.right[figure] for outcome in outcomes if figure in outcome.right]
        if marks:
            table[figure] = {"right": sum(marks) / len(marks), "of": len(marks)}
    return table


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Measure how well a model follows held-out prompts."
    )
    parser.add_argument(
        "--model", help="name, folder or file of a model; the embedded one if left out"
    )
    parser.add_argument(
        "--rows", default=",".join(ROWS), help="comma-separated: " + ", ".join(ROWS)
    )
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0, help="of the prompts and the training clips")
    parser.add_argument("--per-kind", type=int, default=24, help="training clips of each kind")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument(
        "--steps", type=int, help="the model's default if left out, like the next two"
    )
    parser.add_argument("--cfg", type=float, help="guidance scale")
    parser.add_argument("--sampler")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path, help="JSON file for the figures and every outcome")
    parser.add_argument("--save", type=Path, help="folder for the sounds as WAV files")
    options = parser.parse_args(arguments)
    options.rows = options.rows.split(",")
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"--rows has {', '.join(sorted(unknown))}; choose from {', '.join(ROWS)}")
    return options


def waveforms_of(
    row: str, model: Auralith | None, cases: list[Case], options: argparse.Namespace
) -> Iterable[Waveform]:
    """The sounds of a row, one for each case."""
    if model is None or row == "corpus":
        return (case.waveform for case in cases)
    if row == "reconstruction":
        return reconstructed(model, cases)
    return generated(model, cases, options)


def main(arguments: list[str] | None = None) -> None:
    options = parsed(arguments)
    for folder in (options.save, options.output and options.output.parent):
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    classifier = fit_classifier(options.per_kind, options.seed)
    drawn = draw_cases(options.prompts, options.seed)
    cases = list(track(drawn, "held-out clips", total=options.prompts, transient=True))
    cases.sort(key=lambda case: case.sound.seconds)  # batches of similar length
    model = None
    if options.rows != ["corpus"]:
        model = load(options.model, device=options.device)
    outcomes: dict[str, list[Outcome]] = {}
    for row in options.rows:
        waveforms = track(waveforms_of(row, model, cases, options), row, len(cases), transient=True)
        outcomes[row] = []
        for index, (case, waveform) in enumerate(zip(cases, waveforms, strict=True)):
            outcomes[row].append(judge(case, waveform, classifier))
            if options.save is not None:
                _save(waveform, options.save / f"{index:03d}-{case.sound.kind}-{row}.wav")
    figures = {row: figures_of(outcomes[row]) for row in options.rows}
    Console().print(_table(figures))
    if options.output is not None:
        _write(options, figures, outcomes)


def _save(waveform: Waveform, path: Path) -> None:
    write(path, torch.from_numpy(waveform), synth.SAMPLE_RATE)


def _table(figures: dict[str, dict[str, dict[str, float]]]) -> Table:
    table = Table("figure", "of", *figures)
    for figure in FIGURES:
        cells = [row[figure] for row in figures.values() if figure in row]
        if cells:
            shares = [f"{cell['right']:.1%}" for cell in cells]
            table.add_row(figure, f"{cells[0]['of']:.0f}", *shares)
    return table


def _write(
    options: argparse.Namespace,
    figures: dict[str, dict[str, dict[str, float]]],
    outcomes: dict[str, list[Outcome]],
) -> None:
    chosen = {
        name: getattr(options, name) for name in ("prompts", "seed", "steps", "cfg", "sampler")
    }
    sounds = {row: [asdict(outcome) for outcome in found] for row, found in outcomes.items()}
    report = {"options": chosen, "figures": figures, "sounds": sounds}
    options.output.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
