"""`auralith adapter`: list and inspect adapters, import those of other programs, merge them into a model."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auralith.cli.lines import cell, warn
from auralith.cli.options import AsJson, ModelOption

if TYPE_CHECKING:
    from auralith.adapter_effect import AdapterEffect
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
    help="Look at adapters (LoRA, DoRA), import or merge them. Those of LoRAW, Stable Audio 3, peft, diffusers and kohya are read too.",
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
            facts |= {"program": one.program, "kind": one.kind, "projections": list(one.changes)}
            print(json.dumps(facts | (asdict(one.metadata) if one.metadata else {})))
        return
    _print_row({name: name for name in COLUMNS})
    for one in found:
        _print_row(_facts(one))


@adapter.command()
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An adapter, ours or another's.")],
    model: ModelOption = None,
    as_json: AsJson = False,
) -> None:
    """Show which modules of a model an adapter changes. Exit code 2 if it can't be used with the model."""
    from auralith.checkpoints import fit_adapter, read_adapter
    from auralith.checkpoints.adapters import unfit
    from auralith.checkpoints.opening import locate

    one = read_adapter(file)
    found = fit_adapter(one, locate(_source(model)).spec)
    report = {
        "file": one.name,
        "program": one.program,
        "kind": one.kind,
        "rank": _range([change.rank for change in one.changes.values()]),
        "alpha": _range([round(change.alpha, 3) for change in one.changes.values()]),
        "touched": found.touched,
        "adaptable": dict(found.adaptable),
        "unmatched": list(found.unmatched),
        "misshapen": list(found.misshapen),
        "notes": list(one.notes),
    }
    print(json.dumps(report)) if as_json else _print_report(report)
    if found.problem:
        raise unfit(one, found.problem)


@adapter.command("import")
def import_adapter(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An adapter of another program.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new .safetensors file.")],
    model: ModelOption = None,
) -> None:
    """Rewrite an adapter of another program as one of ours, for a model. Prints the new file.

    Not needed for --adapter, which takes the file of another program as it is.
    """
    from auralith import checkpoints

    one = checkpoints.read_adapter(file)
    for note in one.notes:
        warn(note)
    checkpoints.import_adapter(one, _source(model), output)
    print(output)


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

    for warning in merge_adapters(
        _source(base), [parse_adapter(text) for text in adapters], output
    ):
        warn(warning)
    print(output)


def parse_adapter(text: str) -> "tuple[str, AdapterEffect]":
    """File and effect of FILE:STRENGTH,levels=LOW-HIGH,skip=LAYER; the strength is 1 if left out. A drive's colon is part
    of the file."""
    from auralith.adapter_effect import AdapterEffect, parse_effect

    path, colon, stated = text.rpartition(":")
    effect = parse_effect(stated) if colon and path else None
    return (text, AdapterEffect()) if effect is None else (path, effect)


def _source(model: str | None) -> str | Path:
    from auralith.pipeline import EMBEDDED
    from auralith.provenance import EMBEDDED_NAME

    return EMBEDDED if model in (None, EMBEDDED_NAME) else model


def _print_report(report: dict[str, Any]) -> None:
    for name in ("file", "program", "kind", "rank", "alpha"):
        print(f"{name:<12} {cell(report[name])}")
    touched, adaptable = report["touched"], report["adaptable"]
    print(f"{'modules':<12} {sum(touched.values())} of {sum(adaptable.values())}")
    for part, count in adaptable.items():
        print(f"  {part:<18} {touched[part]} of {count}")
    for name in ("unmatched", "misshapen"):
        for line in report[name]:
            print(f"{name:<12} {cell(line):.200}")
    for note in report["notes"]:
        print(f"{'note':<12} {cell(note)}")


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
                warn(error)


def _facts(one: "Adapter") -> dict[str, Any]:
    metadata, changes = one.metadata, one.changes.values()
    base = f"{metadata.base_model} {metadata.base_hash[:12]}".strip() if metadata else one.program
    return {
        "file": one.name,
        "kind": one.kind,
        "rank": _range([change.rank for change in changes]),
        "alpha": _range([round(change.alpha, 3) for change in changes]),
        "projections": len(changes),
        "MB": round(one.num_bytes / 1e6, 2),
        "steps": metadata.steps if metadata else "-",
        "base": base or "unknown",
        "prompt column": (metadata and metadata.prompt_column) or "-",
    }


def _range(values: Sequence[int | float]) -> str:
    """The values of all modules: one number, or the least and the largest."""
    least, largest = min(values), max(values)
    return str(least) if least == largest else f"{least}-{largest}"


def _print_row(row: dict[str, Any]) -> None:
    print("  ".join(f"{cell(row[name]):{form}}" for name, form in COLUMNS.items()).rstrip())
