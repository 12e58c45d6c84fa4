"""`auralith curate manifest`, `funnel` and `card`: the outputs of a curation."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from auralith.cli.curate.options import Changes, Folder, Recipe
from auralith.cli.lines import cell

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from auralith.curation.publish.funnel import Funnels
    from auralith.curation.settings import CurationSettings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(manifest)
    app.command()(funnel)
    app.command()(card)


def manifest(folder: Folder, recipe: Recipe = None, set: Changes = None) -> None:
    """Write manifest.parquet: what was accepted, as encode and finetune read it. Prints its path last."""
    from auralith.curation.publish.manifest import read_manifest, write_manifest
    from auralith.curation.store import Store

    path = write_manifest(Store(folder), _settings(folder, recipe, set or []))
    paths = read_manifest(folder, ["path"])["path"].to_pylist()
    print(f"{len(paths):,} recordings accepted")
    if silent := sum(one is None or not os.path.isfile(folder / one) for one in paths):
        print(f"{silent:,} of them have no sound here; the step probe leaves such recordings out")
    print(path)


def funnel(folder: Folder, recipe: Recipe = None) -> None:
    """Count what every step dropped, and why: a table, funnel.json and funnel.png. Prints the picture's path last."""
    from auralith.curation.publish.funnel import PICTURE, write_funnel
    from auralith.curation.store import Store

    print_funnel(write_funnel(Store(folder), _settings(folder, recipe, [])))
    print(folder / PICTURE)


def card(folder: Folder, recipe: Recipe = None, set: Changes = None) -> None:
    """Write DATASET_CARD.md and croissant.json, of the manifest that is there. Prints the card's path last."""
    from auralith.curation.publish.card import write_card
    from auralith.curation.publish.croissant import write_croissant
    from auralith.curation.store import Store

    settings = _settings(folder, recipe, set or [])
    print(write_croissant(Store(folder), settings.publish))
    path = write_card(Store(folder), settings)
    print(path)


def _settings(folder: Path, recipe: Path | None, changes: list[str]) -> "CurationSettings":
    """Return the recipe's settings, for this folder.

    Raises:
        InvalidRequest: the folder has no recordings, or a setting is wrong.
    """
    from dataclasses import replace

    from auralith.curation.settings import CurationSettings
    from auralith.curation.store import Store
    from auralith.errors import InvalidRequest
    from auralith.settings import load_settings

    settings = replace(load_settings(CurationSettings, recipe, changes), folder=folder)
    if not Store(folder).slices("recordings"):
        raise InvalidRequest(f"{folder} holds no recordings; auralith curate ingest brings some")
    return settings


def print_funnel(counted: "Funnels") -> None:
    """Print the steps as a table, then the accepted recordings by source and license."""
    from rich.console import Console

    console = Console(width=None if Console().is_terminal else 140)
    for source, reasons in counted.rejected.items():
        counts = ", ".join(f"{reason} {count:,}" for reason, count in reasons.items())
        print(f"rows of metadata without a recording, {cell(source)}: {cell(counts)}")
    console.print(_steps_table(counted))
    console.print(_licenses_table(counted))


def _steps_table(counted: "Funnels") -> "Table":
    from rich.box import SIMPLE
    from rich.table import Table

    from auralith.curation.publish.funnel import DROPS

    table = Table(box=SIMPLE)
    table.add_column("step")
    for name in ("in", *DROPS, "out", "hours in", "hours out"):
        table.add_column(name, justify="right")
    table.add_column("reasons")
    for stage in counted.all.stages:
        drops = [stage.dropped_as(drop).recordings for drop in DROPS]
        counts = [stage.entered.recordings, *drops, stage.passed.recordings]
        hours = [f"{stage.entered.hours:,.1f}", f"{stage.passed.hours:,.1f}"]
        reasons = [
            f"{r} {t.recordings:,}" for drop in DROPS for r, t in stage.dropped[drop].items()
        ]
        cells = [stage.stage, *(f"{count:,}" for count in counts), *hours, "\n".join(reasons)]
        table.add_row(*map(_plain, cells))
    return table


def _licenses_table(counted: "Funnels") -> "Table":
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table("source", "license", box=SIMPLE, title="accepted", title_justify="left")
    for name in ("recordings", "hours", "length unknown"):
        table.add_column(name, justify="right")
    for (source, license), tally in counted.accepted.items():
        numbers = (f"{tally.recordings:,}", f"{tally.hours:,.1f}", f"{tally.unknown_lengths:,}")
        table.add_row(*map(_plain, (source, license, *numbers)))
    return table


def _plain(text: str) -> "Text":
    """Return lines that are neither markup nor anything that a terminal acts on."""
    from rich.text import Text

    return Text("\n".join(map(cell, text.split("\n"))))
