"""`auralith inspect`: what a checkpoint is, from its headers alone."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auralith.cli.lines import cell
from auralith.cli.options import MODEL_HELP, AsJson, ConfigOption, WeightsOption

if TYPE_CHECKING:
    from auralith.checkpoints import Inspection


def inspect(
    model: Annotated[str | None, typer.Argument(help=MODEL_HELP)] = None,
    weights: WeightsOption = None,
    config: ConfigOption = None,
    as_json: AsJson = False,
) -> None:
    """Show a checkpoint's layout, parameters, memory and config."""
    from auralith.checkpoints import Files, inspect_checkpoint
    from auralith.pipeline import EMBEDDED

    found = inspect_checkpoint(EMBEDDED if model is None else model, Files(weights, config))
    if as_json:
        print(json.dumps({**asdict(found), "total_parameters": found.total_parameters}))
    else:
        _print(found)


def _print(found: "Inspection") -> None:
    print(f"source      {cell(found.source)}")
    print(f"layout      {found.layout}")
    print(
        f"file        {found.file_bytes / 1e6:,.1f} MB, {found.num_tensors} tensors, "
        f"{', '.join(found.stored_dtypes)}"
    )
    if found.attribution is not None:
        print(f"attribution {cell(found.attribution)}")
    print("parameters")
    for part, count in {**found.parameters, "total": found.total_parameters}.items():
        print(f"  {part:<24} {count:>15,}")
    print("memory of the loaded networks, without the text encoder")
    for dtype, size in found.memory_bytes.items():
        print(f"  {dtype:<24} {size / 1e6:>12,.1f} MB")
    print("config")
    _print_config(asdict(found.spec.model or found.spec), 1)


def _print_config(config: dict[str, Any], depth: int) -> None:
    for name, value in config.items():
        indent = "  " * depth
        if isinstance(value, dict):
            print(f"{indent}{cell(name)}")
            _print_config(value, depth + 1)
        elif name == "conditions":
            print(f"{indent}{name}")
            _print_config({condition.pop("id"): condition for condition in value}, depth + 1)
        else:
            print(f"{indent}{cell(name):<{26 - 2 * depth}} {cell(value)}")
