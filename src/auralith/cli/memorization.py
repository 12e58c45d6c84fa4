"""`auralith memorization` and `auralith attribute`: which training sounds generated ones are near to."""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.lines import cell, warn
from auralith.cli.progress import stage_progress

if TYPE_CHECKING:
    from auralith.curation.review import Suspect
    from auralith.data.recording import Recordings
    from auralith.embedders import Embedder
    from auralith.memorization.report import Candidate, Report
    from auralith.memorization.training import TrainingSounds, WorkProgress

Training = Annotated[
    Path, typer.Option(help="Manifest or folder of the training sounds, as for finetune.")
]
EmbedderName = Annotated[
    str,
    typer.Option(help="mel, which needs no weights, or another embedder, such as clap-unfused."),
]
Weights = Annotated[Path | None, typer.Option(help="File or folder of the embedder's weights.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]


def memorization(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the report; one begun is continued.")
    ],
    audio: Annotated[Path, typer.Option(help="Folder, or table, of the generated sounds.")],
    training: Training,
    null: Annotated[
        Path | None,
        typer.Option(
            help="Folder, or table, of real recordings that were never trained on; without them there is no verdict."
        ),
    ] = None,
    embedder: EmbedderName = "mel",
    weights: Weights = None,
    device: Device = "auto",
    max_seconds: Annotated[
        float | None,
        typer.Option(
            min=1, help="Length that is compared of each sound; the longest sound's if left out."
        ),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the training sounds' embeddings, which reports can share; the report's own if left out."
        ),
    ] = None,
    review: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a review (curate review), made if need be, that gets the nearest sounds."
        ),
    ] = None,
) -> None:
    """Compare generated sounds with the training sounds, and both with held-out recordings.

    Landmarks, mel correlation and distance ratio are tested together against the held-out recordings, each sound at a
    false discovery rate of 5 %, and all sounds as a set. Prints the counts, and the folder of the report last.
    """
    from auralith.data.recordings import open_recordings
    from auralith.memorization.measure import MeasureSettings, measure, measured
    from auralith.memorization.report import make_report, write_report

    chosen = _opened(embedder, weights, device)
    sounds, items = (open_recordings(path, prompt_column=None) for path in (audio, training))
    held_out = open_recordings(null, prompt_column=None) if null else None
    settings = MeasureSettings(max_seconds=max_seconds or _longest(sounds))
    known = prepared(items, chosen, work or output, device)
    _show(measure(sounds, chosen, known, output / "sounds", settings))
    found = measured(output / "sounds", known, settings)
    beside = []
    if held_out is not None:
        _show(measure(held_out, chosen, known, output / "null", settings, stage="held out"))
        beside = measured(output / "null", known, settings)
    report = make_report(sounds, found, beside, known, settings)
    write_report(report, found, beside, output)
    _say(report)
    if review:
        print(f"{_queue(report, review)} new items in {review}", file=sys.stderr)
    print(output)


def prepared(
    recordings: "Recordings", embedder: "Embedder", work: Path, device: str
) -> "TrainingSounds":
    """Return the training sounds, embedded and indexed in the folder of work as far as that wasn't done."""
    from auralith.memorization.training import open_training, prepare_training
    from auralith.resources import choose_device

    folder, name = work / "training", str(choose_device(device))
    _show(prepare_training(recordings, embedder, folder, device=name))
    return open_training(recordings, folder, name)


def _longest(sounds: "Recordings") -> float | None:
    """Return the length of the longest sound; None where none can be read."""
    from auralith.errors import AudioError

    seconds = []
    for i in range(len(sounds)):
        try:
            seconds.append(sounds.seconds(i))
        except AudioError:  # counted where it is read
            continue
    return max(seconds, default=None)


def _opened(name: str, weights: Path | None, device: str) -> "Embedder":
    """Return an embedder, with a warning where its weights are not known to be the published ones."""
    from auralith.embedders import open_embedder

    embedder = open_embedder(name, weights, device)
    if embedder.origin.remark:
        warn(f"{name}: {embedder.origin.remark}")
    return embedder


def _show(steps: Iterable["WorkProgress"]) -> None:
    with stage_progress() as show:
        for step in steps:
            show(step.stage, step.done, step.total, step.text)


def _say(report: "Report") -> None:
    from auralith.memorization.report import summary

    for line in summary(report):
        print(line)
    for id, reason in list(report.failed.items())[:20]:
        warn(f"{id}: {reason}")


def _queue(report: "Report", folder: Path) -> int:
    """Put the candidates in a review queue, and return how many are new."""
    from auralith.curation.review import open_items
    from auralith.curation.sources.intake import remember_roots
    from auralith.files import make_folder

    make_folder(folder)
    run = report.protocol_sha256[:12]
    sounds = _Rooted(f"generated-{run}", [one.path for one in report.candidates])
    training = _Rooted(f"training-{run}", [one.training_path for one in report.candidates])
    remember_roots(folder, {one.source: one.root for one in (sounds, training)})
    suspects = [_suspect(one, report, sounds, training) for one in report.candidates]
    return open_items(folder, suspects)


class _Rooted:
    """Files below one folder, under the name of a source."""

    def __init__(self, source: str, paths: list[str]) -> None:
        absolute = [os.path.realpath(path) for path in paths]
        self.source = source
        self.root = Path(os.path.commonpath(list(map(os.path.dirname, absolute)) or ["/"]))
        self._names = {
            p: os.path.relpath(a, self.root) for p, a in zip(paths, absolute, strict=True)
        }

    def place(self, path: str) -> dict[str, str]:
        """Return the fields of a file, as the review has them."""
        return {"source": self.source, "path": self._names[path]}


def _suspect(one: "Candidate", report: "Report", sounds: _Rooted, training: _Rooted) -> "Suspect":
    from auralith.curation.review import Suspect

    match = {
        "ref": one.training_id,
        "query_start_s": one.query_start_s,
        "ref_start_s": one.training_start_s,
        "aligned_by": one.found_by,
    }
    return Suspect(
        rec_id=one.id,
        stage="memorization",
        tier="match" if one.is_flagged else "C",
        score=one.statistics.get("mel") or 0.0,
        is_match=False,
        grouped_by="",  # the nearest first, whichever training sound it is near to
        evidence_key=f"memorization/{report.protocol['version']}/{report.protocol_sha256[:16]}",
        payload={
            "recording": {"rec_id": one.id, **sounds.place(one.path)},
            "evidence": {
                "rank": one.rank,
                "is_flagged": one.is_flagged,
                "p_value": one.p_value,
                "p_values": one.p_values,
                "statistics": one.statistics,
                "matches": [{**one.facts, **match, **training.place(one.training_path)}],
            },
        },
    )


def attribute(
    file: Annotated[Path, typer.Argument(help="A sound.")],
    training: Training,
    work: Annotated[
        Path,
        typer.Option(
            help="Folder of the training sounds' embeddings; one begun is continued, as is memorization's."
        ),
    ],
    embedder: EmbedderName = "mel",
    weights: Weights = None,
    device: Device = "auto",
    null: Annotated[
        Path | None,
        typer.Option(
            help="Folder, or table, of real recordings that were never trained on, for p-values."
        ),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many training sounds to name.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Name the training sounds that a sound is nearest to, with author and license from their manifest.

    Nearness is no proof of copying: a p-value says how often held-out recordings, cut to the sound's length, are as near.
    """
    from auralith.data.recordings import open_recordings
    from auralith.memorization.attribution import attribute_sound, measured_null

    chosen = _opened(embedder, weights, device)
    items = open_recordings(training, prompt_column=None)
    known = prepared(items, chosen, work, device)
    held_out = open_recordings(null, prompt_column=None) if null else None
    beside = (
        measured_null(file, held_out, chosen, known, work, _show) if held_out is not None else []
    )
    for entry in attribute_sound(file, chosen, known, top, beside):
        if as_json:
            print(json.dumps(entry))
        else:
            print("  ".join(f"{name} {_shown(value)}" for name, value in entry.items()))


def _shown(value: object) -> str:
    return cell(f"{value:.4g}" if isinstance(value, float) else value)
