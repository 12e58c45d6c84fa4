"""`auralith curate run`: a whole curation by one command, from a recipe."""

from pathlib import Path
from typing import Annotated

import typer


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
    """Run every step that is not done, and write all outputs. Prints the steps and what they dropped."""
    from auralith.cli.curate.publish import print_funnel
    from auralith.cli.curate.steps import connect, show_steps
    from auralith.curation.run import curate, write_outputs
    from auralith.curation.settings import CurationSettings
    from auralith.curation.store import Store
    from auralith.settings import load_settings

    settings = load_settings(CurationSettings, recipe, set or ())
    connect()
    show_steps(curate(settings))
    print_funnel(write_outputs(Store(settings.folder), settings))
    print(settings.folder)
