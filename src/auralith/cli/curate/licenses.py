"""`auralith curate licenses` and `preferences`: permission by the license, and by the preference of the uploader."""

from typing import Annotated

import typer

from auralith.cli.curate.options import CURATION, Folder
from auralith.cli.fields import Given, Options, Sets

Use = Annotated[
    Given,
    Options(
        CURATION,
        intended_use="preference.intended_use",
        ignore=Sets("preference.honor", False, "Keep what uploaders don't want in training."),
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(licenses)
    app.command()(preferences)


def licenses(
    folder: Folder,
    licenses: Annotated[
        str, typer.Option(help="Accepted: of cc0, cc-by and sampling+, and SPDX ids such as MIT.")
    ] = "cc0,cc-by,sampling+",
    *,
    marks: Annotated[Given, Options(CURATION, public_domain_marks="license.public_domain_marks")],
) -> None:
    """Read every license and refuse what isn't accepted. Prints the counts by reason."""
    from auralith.cli.curate.steps import run_one, step_settings
    from auralith.curation.licenses import parse_selection

    chosen = marks | {"license.licenses": parse_selection(licenses)}
    run_one(step_settings(folder, None, chosen), "license")


def preferences(folder: Folder, *, use: Use) -> None:
    """Compare what uploaders say about generative AI with the intended use. Prints the counts by reason."""
    from auralith.cli.curate.steps import run_one, step_settings

    run_one(step_settings(folder, None, use), "preference")
