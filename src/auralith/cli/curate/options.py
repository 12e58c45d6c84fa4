"""Arguments and options that several commands of a curation have, each stated once."""

from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.fields import Given, Options

CURATION = "auralith.curation.settings.CurationSettings"
Folder = Annotated[Path, typer.Argument(help="Folder of the curation.")]
Root = Annotated[Path, typer.Option(help="Folder that the paths of the sounds start from.")]
Workers = Annotated[Given, Options(CURATION, workers="engine.workers")]
Recipe = Annotated[
    Path | None,
    typer.Option(help="The recipe that it was made with: its sources, steps and settings."),
]
Changes = Annotated[
    list[str] | None, typer.Option(help="Change any setting: --set publish.name='Sounds of rain'.")
]
