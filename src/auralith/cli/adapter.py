"""`auralith adapter list` and `auralith adapter merge`: what adapters are, and a model that has them in its weights."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from auralith.checkpoints import Adapter

COLUMNS = {
    "file": "<28",
    "kind": "<5",
    "rank": ">5",
    "alpha": ">6",
    "projections": ">12",
    "MB": ">8",
    "steps": ">8",
    "base": "<26",
    "prompt column": "<13",
}

adapter = typer.Typer(
    name="adapter",
    help="Look at adapters (LoRA, DoRA), or merge them into a model for good.",
    rich_markup_mode=None,
)


@adapter.command("list")
def list_adapters(
    places: Annotated[
        list[Path], typer.Argument(metavar="FOLDER|FILE...", help="Adapters, or folders of them.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object each.")] = False,
) -> None:
    """Show what adapters are and which model they were trained on."""
    found = [one for place in places for one in _adapters(place)]
    if as_json:
        for one in found:
            facts = {"file": one.name, "file_hash": one.file_hash, "num_bytes": one.num_bytes}
            print(
                json.dumps({**facts, "projections": list(one.projections), **asdict(one.metadata)})
            )
        return
    _print_row({name: name for name in COLUMNS})
    for one in found:
        _print_row(_facts(one))


@adapter.command()
def merge(
    base: Annotated[
        str,
        typer.Argument(metavar="BASE", help="Hub name, folder or checkpoint file; or embedded."),
    ],
    adapters: Annotated[
        list[str],
        typer.Argument(metavar="ADAPTER...", help="Adapter files, FILE or FILE:STRENGTH."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new folder.")],
) -> None:
    """Write a model with adapters merged into its weights. Prints the new folder."""
    from auralith.checkpoints import merge_adapters
    from auralith.pipeline import EMBEDDED
    from auralith.provenance import EMBEDDED_NAME

    source = EMBEDDED if base == EMBEDDED_NAME else base
    for warning in merge_adapters(source, [parse_adapter(text) for text in adapters], output):
        print("auralith: warning:", warning, file=sys.stderr)
    print(output)


def parse_adapter(text: str) -> tuple[str, float]:
    """File and strength of FILE:STRENGTH; the strength is 1 if left out. A drive's colon is part of the file."""
    path, colon, strength = text.rpartition(":")
    try:
        return (path, float(strength)) if colon and path else (text, 1.0)
    except ValueError:
        return text, 1.0


def _adapters(place: Path) -> Iterator["Adapter"]:
    """The adapter, or those in a folder; there, unreadable ones are reported and passed over."""
    from auralith.checkpoints.adapter_file import may_be_adapter, read_adapter
    from auralith.errors import CheckpointError

    if not place.is_dir() or may_be_adapter(place):
        yield read_adapter(place)
        return
    for path in sorted(place.iterdir()):
        if may_be_adapter(path):
            try:
                yield read_adapter(path)
            except CheckpointError as error:
                print("auralith: warning:", error, file=sys.stderr)


def _facts(one: "Adapter") -> dict[str, Any]:
    metadata = one.metadata
    return {
        "file": one.name,
        "kind": metadata.config.kind,
        "rank": metadata.config.rank,
        "alpha": round(metadata.config.alpha, 3),
        "projections": len(one.projections),
        "MB": round(one.num_bytes / 1e6, 2),
        "steps": metadata.steps,
        "base": f"{metadata.base_model} {metadata.base_hash[:12]}".strip() or "unknown",
        "prompt column": metadata.prompt_column or "-",
    }


def _print_row(row: dict[str, Any]) -> None:
    print("  ".join(f"{row[name]!s:{form}}" for name, form in COLUMNS.items()).rstrip())
