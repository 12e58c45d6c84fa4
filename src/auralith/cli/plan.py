"""`auralith plan`: the memory of a fine-tuning before it starts, and what would make it fit."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.fields import Given, Options
from auralith.cli.options import AsJson, Device

if TYPE_CHECKING:
    from auralith.config import ModelConfig
    from auralith.training.plan import Budget, MemorySettings


PUBLISHED = "stabilityai/stable-audio-open-1.0"
"""The model whose settings are the package's defaults, so that its memory can be counted without it."""

MOST_GIB = 1_000_000


def plan(
    model: Annotated[
        str | None,
        typer.Argument(
            help="Hub name, folder, checkpoint file or model_config.json; the embedded model if left out."
        ),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full/--lora", help="Train all weights, or an adapter.")
    ] = False,
    *,
    chosen: Annotated[
        Given,
        Options(
            "auralith.training.plan.MemorySettings",
            *("rank", "optimizer", "ema", "batch_size", "accumulation", "frames"),
            *("checkpoint_activations", "encoders"),
        ),
    ],
    number_format: Annotated[Given, Options("auralith.training.task.LoopSettings", "precision")],
    memory: Annotated[
        float | None,
        typer.Option(help="GiB of a GPU, which need not be there; what --device has if left out."),
    ] = None,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Show what a fine-tuning takes, part by part, and the switches that would make it fit."""
    import torch

    from auralith.errors import Field, InvalidRequest
    from auralith.resources import GIB, available_memory, choose_device
    from auralith.settings import load_settings
    from auralith.training.plan import MemorySettings, budget, remedies
    from auralith.training.processes import choose_precision
    from auralith.training.task import LoopSettings

    if memory is not None and not 0 < memory <= MOST_GIB:
        raise InvalidRequest(
            Field("memory"), f" is {memory:g} GiB; it must be above 0, at most {MOST_GIB:,}"
        )
    where = choose_device(device) if memory is None else torch.device("cuda")
    asked = load_settings(LoopSettings, options=number_format)
    chosen |= {
        "mode": "full" if full else "lora",
        "precision": choose_precision(asked.precision, where),
    }
    settings = load_settings(MemorySettings, options=chosen)
    config = _config(model)
    planned = budget(config, settings, where)
    available = available_memory(where) if memory is None else round(memory * GIB)
    advice = () if available is None else remedies(config, settings, available, where)
    show = _print_json if as_json else _print_table
    show(settings, planned, available, advice)


def _config(model: str | None) -> "ModelConfig":
    from auralith.checkpoints import config_from_json
    from auralith.checkpoints.opening import locate
    from auralith.config import ModelConfig
    from auralith.errors import CheckpointError
    from auralith.foreign import read_json
    from auralith.pipeline import EMBEDDED

    if model is not None and Path(model).suffix == ".json":
        return config_from_json(read_json(Path(model)), model)
    try:
        return locate(EMBEDDED if model is None else model).model
    except CheckpointError as error:
        if model != PUBLISHED:
            raise
        print(
            f"auralith: warning: {error}; this counts with its published settings", file=sys.stderr
        )
        return ModelConfig()


def _print_json(
    settings: "MemorySettings",
    planned: "Budget",
    available: int | None,
    advice: tuple[str, ...] | None,
) -> None:
    found = {
        "settings": vars(settings),
        "bytes": planned.entries | {"peak": planned.peak, "host_average": planned.host_average},
        "available": available,
        "fits": None if available is None else planned.peak <= available,
        "switches": None if advice is None else list(advice),
    }
    print(json.dumps(found))


def _print_table(
    settings: "MemorySettings",
    planned: "Budget",
    available: int | None,
    advice: tuple[str, ...] | None,
) -> None:
    from rich.console import Console
    from rich.table import Table

    from auralith.resources import GIB

    notes = {
        "gradients": "beside activations" if planned.accumulated else "as activations go",
        "activations": f"{settings.items} at once",
        "working": "backward pass of a block",
    }
    table = Table("part", "GiB", "", box=None, pad_edge=False)
    for name, size in planned.entries.items():
        table.add_row(name, f"{size / GIB:.2f}", notes.get(name, ""))
    table.add_row("peak", f"{planned.peak / GIB:.2f}", "with 5 % for the allocator")
    Console(highlight=False).print(table)
    if planned.host_average:
        print(f"and {planned.host_average / GIB:.2f} GiB of the CPU's memory for the average")
    if available is None:
        return
    print(f"there are {available / GIB:.2f} GiB: {_verdict(advice)}")


def _verdict(advice: tuple[str, ...] | None) -> str:
    if advice is None:
        return "it does not fit, whatever the switches; use shorter windows (--frames)"
    return f"it fits with {' '.join(advice)}" if advice else "it fits"
