"""`auralith curate metadata`: search for the recordings in a list of commercial music."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.curate.options import CURATION, Folder
from auralith.cli.fields import Given, Options


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(metadata)


def metadata(
    folder: Folder,
    catalogue: Annotated[
        Path, typer.Option(help="List of commercial music: CSV in the Spotify-tracks schema.")
    ],
    *,
    chosen: Annotated[Given, Options(CURATION, source="metadata.sources")],
) -> None:
    """Search for recordings in a list of commercial music; possible matches go to review. Prints the counts by tier."""
    from auralith.cli.curate.steps import run_one, step_settings
    from auralith.curation.metadata import read_catalogue

    print(read_catalogue(catalogue).summary(), file=sys.stderr)
    run_one(step_settings(folder, None, chosen | {"catalogue": catalogue}), "metadata")
