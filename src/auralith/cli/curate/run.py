"""`auralith curate run`: a whole curation by one command, as a recipe says."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import pyarrow as pa


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(run)


def run(
    recipe: Annotated[
        Path | None, typer.Argument(help="TOML; what it leaves out is as published.")
    ] = None,
    set: Annotated[
        list[str] | None,
        typer.Option(help="Change any setting: --set dedupe=true, --set tag.threshold=0.2."),
    ] = None,
) -> None:
    """Do every step that is not done, and write what comes out of it. Prints what became of the recordings."""
    from auralith.cli.curate.steps import connect, show_steps
    from auralith.curation.outcomes import outcomes
    from auralith.curation.run import curate, now
    from auralith.curation.settings import CurationSettings
    from auralith.curation.store import Store
    from auralith.settings import load_settings

    settings = load_settings(CurationSettings, recipe, set or ())
    connect()
    show_steps(curate(settings, now()))
    _print_outcomes(outcomes(Store(settings.folder), settings))
    print(settings.folder)


def _print_outcomes(found: "pa.Table") -> None:
    groups = found.group_by(["outcome", "stage", "reason_code"])
    counts = groups.aggregate([("rec_id", "count"), ("seconds", "sum")]).to_pylist()
    for row in sorted(counts, key=lambda row: -row["rec_id_count"]):
        why = f" at {row['stage']}: {row['reason_code']}" if row["stage"] else ""
        hours = row["seconds_sum"] / 3_600
        print(f"{row['rec_id_count']:>9,}  {hours:>9,.1f} h  {row['outcome']}{why}")
