"""`auralith plan`: the memory of a fine-tuning before it starts, and what would make it fit."""

import json
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from auralith.config import ModelConfig
    from auralith.training.plan import Budget, MemorySettings


PUBLISHED = "stabilityai/stable-audio-open-1.0"
"""The model whose settings are the package's defaults, so that its memory can be counted without it."""

MOST_GIB = 1_000_000


class OptimizerName(Enum):
    """Optimizers that differ in their state."""

    adamw = "adamw"
    adamw8bit = "adamw8bit"
    muon = "muon"


class AverageName(Enum):
    """Place of the averaged weights."""

    device = "device"
    cpu = "cpu"
    off = "off"


class PrecisionName(Enum):
    """Number format of products; weights are float32."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


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
    rank: Annotated[int, typer.Option(help="Rank of the adapter.")] = 16,
    optimizer: Annotated[
        OptimizerName, typer.Option(help="Whose state is kept.")
    ] = OptimizerName.adamw,
    ema: Annotated[
        AverageName, typer.Option(help="Where the average of the weights lies.")
    ] = AverageName.device,
    precision: Annotated[
        PrecisionName, typer.Option(help="Of products and activations.")
    ] = PrecisionName.auto,
    batch_size: Annotated[int, typer.Option(help="Items of a step.")] = 4,
    accumulation: Annotated[int, typer.Option(help="Parts in which a step is computed.")] = 1,
    frames: Annotated[int, typer.Option(help="Latents of an item; 0: the model's window.")] = 0,
    checkpoint_activations: Annotated[
        bool, typer.Option("--checkpoint-activations", help="Compute activations twice.")
    ] = False,
    encoders: Annotated[
        bool, typer.Option(help="Text encoder and autoencoder stay on the device.")
    ] = True,
    memory: Annotated[
        float | None,
        typer.Option(help="GiB of a GPU, which need not be there; what --device has if left out."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what a fine-tuning takes, part by part, and the switches that would make it fit."""
    import torch

    from auralith.errors import Field, InvalidRequest
    from auralith.resources import GIB, available_memory, choose_device
    from auralith.training.plan import MemorySettings, budget, remedies
    from auralith.training.processes import choose_precision

    if memory is not None and not 0 < memory <= MOST_GIB:
        raise InvalidRequest(
            Field("memory"), f" is {memory:g} GiB; it must be above 0, at most {MOST_GIB:,}"
        )
    where = choose_device(device) if memory is None else torch.device("cuda")
    settings = MemorySettings(
        mode="full" if full else "lora",
        rank=rank,
        optimizer=optimizer.value,
        ema=ema.value,
        precision=choose_precision(precision.value, where),
        batch_size=batch_size,
        accumulation=accumulation,
        frames=frames,
        checkpoint_activations=checkpoint_activations,
        encoders=encoders,
    )
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
