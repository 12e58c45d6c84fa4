"""`auralith evaluate`: how good the sounds of models are, by the paper's metrics or by what their prompts state."""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auralith.cli.fields import Given, Options
from auralith.cli.lines import warn
from auralith.cli.options import Device, Sampling, Seconds, request_fields
from auralith.cli.progress import stage_progress

if TYPE_CHECKING:
    from auralith.cli.progress import ShowStage
    from auralith.evaluation.controls import ControlReport
    from auralith.evaluation.measures import Generated, Metric
    from auralith.evaluation.prompts import PromptList
    from auralith.evaluation.reference import ReferenceSet
    from auralith.evaluation.report import Section

SOUNDS = "sounds"
EMBEDDED = "embedded"
"""Name of the model in the package."""


def evaluate(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the report; made, or gone on with.")
    ],
    prompts: Annotated[
        str | None,
        typer.Option(
            help="A table with prompts (and ids), a .txt, or audiocaps, songdescriber, musiccaps; :no-speech, "
            ":no-connectors, :neither and songdescriber:no-singing are the paper's subsets."
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model that generates the sounds: Hub name, folder or file, or embedded; repeatable."
        ),
    ] = None,
    audio: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of sounds that are there, named by the ids; repeatable."),
    ] = None,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            help="Folder of reference recordings, published statistics (.npz) or probabilities (.pkl, .safetensors)."
        ),
    ] = None,
    autoencoder: Annotated[
        str | None,
        typer.Option(help="Measure this model's autoencoder on the recordings of --audio instead."),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            help="fd, fd-inf, kad, kl or clap with an embedder, such as fd-openl3-env, kl-passt, fd-musicnn; repeatable. "
            "Left out: the paper's for its lists, musicnn's with another reference."
        ),
    ] = None,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls", help="Measure tempo, key, pitch, counts ... that prompts state."
        ),
    ] = False,
    limit: Annotated[int | None, typer.Option(help="Take the first prompts only.")] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Accept ids without a file; they are counted.")
    ] = False,
    allow_extra: Annotated[
        bool, typer.Option("--allow-extra", help="Accept files of other ids; they are left out.")
    ] = False,
    weights_folder: Annotated[
        Path | None,
        typer.Option("--embedder-weights", help="Folder of weights; see auralith weights."),
    ] = None,
    device: Device = "auto",
    *,
    measures: Annotated[
        Given, Options("auralith.evaluation.measures.MetricSettings", "draws", "resamples")
    ],
    seconds: Seconds,
    batches: Annotated[Given, Options("auralith.sets.SetSettings", "batch_size")],
    sampling: Sampling,
) -> None:
    """Measure how good sounds are, and write a report. Run it again to go on after an interruption.

    Prints the table, and the paths of report.json, report.md and report.html.
    """
    from auralith.embedders import open_embedder
    from auralith.errors import InvalidRequest
    from auralith.evaluation.measures import MetricSettings
    from auralith.evaluation.report import EvaluationReport, sections, write_report
    from auralith.evaluation.run import evaluate as measure_all
    from auralith.request import GenerationRequest

    settings = MetricSettings(**measures)
    defaults = request_fields(sampling) | seconds
    GenerationRequest("any", **defaults)  # refused before anything is opened
    if autoencoder is not None:
        return _codec(autoencoder, audio or [], output, device)
    if not model and not audio:
        raise InvalidRequest("there is nothing to measure; give --model with --prompts, or --audio")
    wanted = _prompts(prompts, limit, weights_folder)
    metrics = _metrics(metric, wanted, bool(reference), controls)
    allow = {"allow_missing": allow_missing, "allow_extra": allow_extra}
    compared = _reference(reference, wanted, metrics, weights_folder, allow)
    systems = [_folder(path, wanted, allow) for path in audio or ()]
    with stage_progress() as show:
        for name in model or ():
            systems.append(_generated(name, wanted, output, defaults, batches, device, show))

        def show_stage(stage: str, done: int, total: int) -> None:
            show(stage, done, total, "")

        opened = cache(partial(open_embedder, weights=weights_folder, device=device))
        found = measure_all(systems, metrics, compared, output, opened, settings, show_stage)
        checked = _checked(systems, show) if controls else {}
    report = EvaluationReport(wanted, found, checked)
    for one in found.measurements:
        if one.failed:
            reason = next(iter(one.failed.values()))
            warn(
                f"{one.system}, {one.metric}: {len(one.failed)} of {one.expected} ids failed, such as {reason}"
            )
    paths = write_report(report, output)
    _print(sections(report))
    print(*paths, sep="\n")


def _prompts(text: str | None, limit: int | None, weights: Path | None) -> "PromptList | None":
    from auralith.evaluation.prompts import (
        PUBLISHED,
        published_entry,
        read_prompts,
        split_subset,
        trim_to,
    )
    from auralith.weights import find_weights

    if text is None:
        return None
    name, subset = split_subset(text)
    if name not in PUBLISHED:
        return trim_to(read_prompts(Path(name), subset), limit)
    path = find_weights(published_entry(name, "prompts"), weights).path
    return trim_to(read_prompts(path, subset, name), limit)


def _metrics(
    names: Sequence[str] | None, prompts: "PromptList | None", has_reference: bool, controls: bool
) -> "list[Metric]":
    """Return the metrics that were named, or those that fit the prompts and the reference."""
    from auralith.errors import InvalidRequest
    from auralith.evaluation.measures import PAPER, WITH_REFERENCE, parse_metric

    content = prompts.content if prompts else None
    if names is None:
        if content is not None:
            names = PAPER
        elif has_reference:
            names = WITH_REFERENCE
        elif controls:
            names = ()
        else:
            raise InvalidRequest(
                "there is no metric; name one with --metric, or give --reference or --controls"
            )
    return list(dict.fromkeys(parse_metric(name, content) for name in names))


def _reference(
    sources: Sequence[Path] | None,
    prompts: "PromptList | None",
    metrics: "Sequence[Metric]",
    weights: Path | None,
    allow: dict[str, bool],
) -> "ReferenceSet":
    """Return the reference that was given or, for a published list, the published statistics that the metrics need."""
    from auralith.evaluation.prompts import PUBLISHED, published_entry
    from auralith.evaluation.reference import open_reference
    from auralith.weights import find_weights

    if sources is None and prompts is not None:
        # a subset of captions is compared with the whole list's recordings
        name = next(
            (n for n in (prompts.name, prompts.name.partition(":")[0]) if n in PUBLISHED), None
        )
        if name is not None:
            kinds = ["fd"] * any(metric.kind.startswith("fd") for metric in metrics)
            kinds += ["kl"] * any(metric.kind == "kl" for metric in metrics)
            sources = [find_weights(published_entry(name, kind), weights).path for kind in kinds]
    return open_reference(sources or (), prompts, **allow)


def _folder(path: Path, prompts: "PromptList | None", allow: dict[str, bool]) -> "Generated":
    from auralith.evaluation.measures import Generated
    from auralith.evaluation.prompts import texts_of
    from auralith.evaluation.sounds import folder_sounds, matched

    sounds = folder_sounds(path)
    if prompts is None:
        return Generated(sounds, {})
    return Generated(matched(sounds, prompts.prompts, **allow), texts_of(prompts.prompts))


def _generated(
    name: str,
    prompts: "PromptList | None",
    output: Path,
    defaults: dict[str, Any],
    batches: Given,
    device: str,
    show: "ShowStage",
) -> "Generated":
    from auralith.errors import InvalidRequest
    from auralith.evaluation.generation import generate_sounds
    from auralith.files import slug
    from auralith.pipeline import load

    if prompts is None:
        raise InvalidRequest("a model needs prompts to generate from; give them with --prompts")
    model = load(None if name == EMBEDDED else name, device=device)
    shown = Path(name).resolve().name if Path(name).exists() else name
    return generate_sounds(
        model,
        shown,
        prompts,
        output / SOUNDS / slug(name),
        defaults=defaults,
        **batches,
        show=lambda done, total, text: show(f"generate {shown}", done, total, text),
    )


def _checked(systems: "Sequence[Generated]", show: "ShowStage") -> "dict[str, ControlReport]":
    """Return whether each system's sounds do what their prompts state."""
    from auralith.evaluation.controls import check_sounds

    found = {}
    for system in systems:
        total, stage = len(system.sounds.paths), f"controls {system.name}"
        found[system.name] = check_sounds(system, partial(_show_file, show, stage, total))
    return found


def _show_file(show: "ShowStage", stage: str, total: int, done: int) -> None:
    show(stage, done, total, "")


def _codec(name: str, folders: Sequence[Path], output: Path, device: str) -> None:
    import torch

    from auralith.checkpoints import open_autoencoder
    from auralith.errors import InvalidRequest
    from auralith.evaluation.codec import measure_codec
    from auralith.evaluation.report import EvaluationReport, sections, write_report
    from auralith.evaluation.run import Evaluation
    from auralith.evaluation.sounds import folder_sounds
    from auralith.pipeline import EMBEDDED as EMBEDDED_SOURCE
    from auralith.resources import choose_device

    if len(folders) != 1:
        raise InvalidRequest("an autoencoder is measured on recordings; give one folder by --audio")
    sounds = folder_sounds(folders[0])
    source = EMBEDDED_SOURCE if name == EMBEDDED else name
    checkpoint = open_autoencoder(source, device=choose_device(device), dtype=torch.float32)
    with stage_progress() as show:
        total = len(sounds.paths)
        summary, failed = measure_codec(
            checkpoint, sounds, lambda done: show("reconstruct", done, total, "")
        )
    for id, reason in failed.items():
        warn(f"{id} can't be measured: {reason}")
    report = EvaluationReport(None, Evaluation((), ()), {}, summary, failed)
    paths = write_report(report, output)
    _print(sections(report))
    print(*paths, sep="\n")


def _print(found: "Sequence[Section]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for title, header, rows in found:
        table = Table(title=Text(title), box=None, pad_edge=False)
        for name in header:
            table.add_column(Text(name))
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
