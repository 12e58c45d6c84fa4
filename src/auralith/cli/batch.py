"""`auralith batch`: a table of prompts to a folder of sounds."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.fields import Given, Options
from auralith.cli.lines import warn
from auralith.cli.making import open_model, shared_devices
from auralith.cli.options import Encoding, Place, Sampling, Seconds, request_fields
from auralith.cli.output import DEFAULT_FORMAT
from auralith.cli.progress import stage_progress

if TYPE_CHECKING:
    from auralith.sets import Devices, Planner, PromptTable, ServerModel

INCOMPLETE = 3
"""The exit code where rows were left out."""


def batch(
    prompts: Annotated[
        Path,
        typer.Argument(
            help="A table (.csv, .tsv, .jsonl, .json, .parquet) with a column prompt, or a .txt with a line each."
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the set; made, or gone on with.")
    ],
    *,
    seconds: Seconds,
    counts: Annotated[Given, Options("auralith.sets.SetSettings", "n", "batch_size")],
    sampling: Sampling,
    place: Place,
    encoding: Encoding,
) -> None:
    """Generate the sounds of a table, with a manifest and a page to listen to them.

    A column is called like an option (seconds, seed, cfg, n, ...), like a field of a request, or like a condition of the
    model (bpm); init_audio with strength varies a sound. Cells that are empty take the options given here; a row without a seed has one that its prompt
    decides. Run it again to go on after an interruption or to make what is new in the table. Exit code 3: some rows
    could not be made. --device cuda:0,cuda:1 shares the work among devices, each in a process of its own; --server has a
    server make the sounds.
    """
    from auralith.request import GenerationRequest
    from auralith.sets import Problem, SetSettings, make_set
    from auralith.sound.formats import check_format

    defaults = request_fields(sampling) | seconds
    GenerationRequest("any", **defaults)  # refused once, not in every row
    suffix = encoding.format or DEFAULT_FORMAT
    check_format(suffix)
    server = None if place.server is None else _server_model(place, counts)
    table = _read(prompts, place, server)
    settings = SetSettings(
        **counts,
        defaults=defaults,
        format=suffix,
        subtype=encoding.subtype,
        signer=encoding.signer(output / f"sound.{suffix}"),
        devices=None if server else shared_devices(place),
    )
    model = server or _opened(place, settings.devices)
    made, there, missing = 0, 0, 0
    with stage_progress() as show:

        def on_step(step: int, of: int | None, done: int, total: int) -> None:
            show("sounds", done, total, f"step {step}/{of}" if of else f"step {step}")

        for event in make_set(model, table, output, settings, on_step):
            if isinstance(event, Problem):
                warn(event)
                missing += not event.is_made
                continue
            for warning in event.entry.warnings:
                warn(f"{event.entry.file}: {warning}")
            made, there = made + (not event.was_there), there + event.was_there
            show("sounds", event.done, event.total, event.entry.file)
    print(f"made {made}, already there {there}, rows left out {missing}", file=sys.stderr)
    print(output / "manifest.jsonl", output / "index.html", sep="\n")
    if missing:
        raise typer.Exit(INCOMPLETE)


def _server_model(place: Place, counts: Given) -> "ServerModel":
    from auralith.cli.remote import server_model
    from auralith.errors import Field, InvalidRequest

    if "batch_size" in counts:
        raise InvalidRequest(
            Field("batch_size"), " is the server's to choose; leave it out with --server"
        )
    return server_model(place)


def _opened(place: Place, devices: "Devices | None") -> "Planner":
    """Return the model, on a CPU where several devices load it themselves and it plans alone."""
    return open_model(place if devices is None else replace(place, device="cpu"))


def _read(prompts: Path, place: Place, server: "ServerModel | None") -> "PromptTable":
    """The table; the model is looked at only where a column may be one of its conditions."""
    from auralith.checkpoints import Files
    from auralith.pipeline.describing import describe
    from auralith.sets import UnknownColumn, read_rows

    try:
        return read_rows(prompts)
    except UnknownColumn:
        files = Files(place.weights, place.config)
        known = describe(place.model, files=files) if server is None else server
        return read_rows(prompts, [condition.id for condition in known.config.numbers])
