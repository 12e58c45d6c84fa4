"""`auralith curate metadata`: search for the recordings in a list of commercial music."""

import sys
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(metadata)


def metadata(
    folder: Annotated[Path, typer.Argument(help="Folder of the curation.")],
    catalogue: Annotated[
        Path, typer.Option(help="List of commercial music: CSV in the Spotify-tracks schema.")
    ],
    source: Annotated[
        list[str] | None, typer.Option(help="Sources whose recordings are searched for [fma].")
    ] = None,
) -> None:
    """Search for recordings in a list of commercial music; possible matches go to review. Prints the counts by tier."""
    from auralith.cli.curate.steps import run_one
    from auralith.curation.metadata import MetadataSettings, read_catalogue
    from auralith.curation.settings import CurationSettings

    print(read_catalogue(catalogue).summary(), file=sys.stderr)
    defaults = MetadataSettings()
    chosen = MetadataSettings(tuple(source) if source else defaults.sources)
    run_one(CurationSettings(folder, catalogue=catalogue, metadata=chosen), "metadata")
