"""`auralith curate licenses` and `preferences`: permission by the license, and by the preference of the uploader."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[Path, typer.Argument(help="Folder of the curation.")]


class Use(StrEnum):
    """Intended use of the model."""

    OPEN = "open"
    OPEN_NONCOMMERCIAL = "open-noncommercial"
    CLOSED = "closed"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(licenses)
    app.command()(preferences)


def licenses(
    folder: Folder,
    licenses: Annotated[
        str, typer.Option(help="Accepted: of cc0, cc-by and sampling+.")
    ] = "cc0,cc-by,sampling+",
    public_domain_marks: Annotated[
        bool,
        typer.Option("--public-domain-marks", help="Accept PDM and CC-PDDC, which grant nothing."),
    ] = False,
) -> None:
    """Read every license and refuse what isn't accepted. Prints the counts by reason."""
    from auralith.cli.curate.steps import run_one
    from auralith.curation.licenses import LicenseSettings, parse_selection
    from auralith.curation.settings import CurationSettings

    chosen = LicenseSettings(parse_selection(licenses), public_domain_marks)
    run_one(CurationSettings(folder, license=chosen), "license")


def preferences(
    folder: Folder,
    intended_use: Annotated[Use, typer.Option(help="What the model is meant for.")] = Use.OPEN,
    ignore: Annotated[
        bool, typer.Option("--ignore", help="Keep what uploaders don't want in training.")
    ] = False,
) -> None:
    """Compare what uploaders say about generative AI with the intended use. Prints the counts by reason."""
    from auralith.cli.curate.steps import run_one
    from auralith.curation.preference import PreferenceSettings
    from auralith.curation.settings import CurationSettings

    chosen = PreferenceSettings(intended_use.value, not ignore)
    run_one(CurationSettings(folder, preference=chosen), "preference")
