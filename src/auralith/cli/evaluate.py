"""`auralith evaluate`: how good the sounds of models are, by the paper's metrics or by what their prompts state."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.fields import Given, Options
from auralith.cli.lines import warn
from auralith.cli.options import Sampling, Seconds, request_fields
from auralith.cli.progress import stage_progress

if TYPE_CHECKING:
    from auralith.evaluation.report import EvaluationReport, Section

EvaluationChanges = Annotated[
    Given,
    Options(
        "auralith.evaluation.settings.EvaluationSettings",
        "prompts",
        model="models",
        server="server",
        audio="audio",
        reference="reference",
        autoencoder="autoencoder",
        metric="metrics",
        controls="controls",
        limit="limit",
        allow_missing="allow_missing",
        allow_extra="allow_extra",
        embedder_weights="weights",
        device="device",
        embedder_dtype="dtype",
        draws="measures.draws",
        resamples="measures.resamples",
        batch_size="generation.batch_size",
    ),
]


def evaluate(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the report; made, or gone on with.")
    ],
    *,
    changes: EvaluationChanges,
    seconds: Seconds,
    sampling: Sampling,
) -> None:
    """Measure how good sounds are, and write a report. Run it again to go on after an interruption.

    Prints the table, and the paths of report.json, report.md and report.html.
    """
    from dataclasses import replace

    from auralith.evaluation import EvaluationSettings
    from auralith.evaluation import evaluate as run
    from auralith.evaluation.report import report_paths, sections
    from auralith.settings import load_settings

    settings = load_settings(EvaluationSettings, options=changes)
    generation = replace(settings.generation, defaults=request_fields(sampling) | seconds)
    with stage_progress() as show:
        report = run(replace(settings, generation=generation), output, show)
    _warn(report)
    _print(sections(report))
    print(*report_paths(output), sep="\n")


def _warn(report: "EvaluationReport") -> None:
    from auralith.evaluation.report import remarks

    for one in report.evaluation.measurements:
        if one.failed:
            reason = next(iter(one.failed.values()))
            warn(
                f"{one.system}, {one.metric}: {len(one.failed)} of {one.expected} ids failed, such as {reason}"
            )
    for id, reason in (report.codec_failed or {}).items():
        warn(f"{id} can't be measured: {reason}")
    for line in remarks(report):
        warn(line)


def _print(found: "list[Section]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # a pipe or a file has no width that a table has to keep to
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    for title, header, rows in found:
        table = Table(title=Text(title), box=None, pad_edge=False)
        for name in header:
            table.add_column(Text(name), overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        console.print(table)
