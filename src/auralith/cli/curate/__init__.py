"""`auralith curate`: from recordings to a licensed, checked and attributed training set; a command for each step.

Commands of a step add their rows to the curation's folder and can be repeated at any time; `run` runs all steps of a
recipe. With --ray, or RAY_ADDRESS set, the steps run on a Ray cluster.
"""

import os
from typing import Annotated

import typer

from auralith.cli.curate import (
    attribution,
    guard,
    identification,
    ingest,
    licenses,
    metadata,
    probe,
    publish,
    review,
    run,
    tagging,
)
from auralith.cli.fields import name_options

curate = typer.Typer(
    name="curate",
    help="From recordings to a licensed, checked and attributed training set.",
    rich_markup_mode=None,
    no_args_is_help=True,
)


@curate.callback()
def options(
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Run steps on a Ray cluster: HOST:PORT, auto or local; RAY_ADDRESS if left out.",
        ),
    ] = None,
) -> None:
    """From recordings to a licensed, checked and attributed training set."""
    if ray:
        os.environ["RAY_ADDRESS"] = ray  # where Ray itself looks for it, as do the steps


for commands in (
    run,
    ingest,
    licenses,
    probe,
    tagging,
    identification,
    metadata,
    review,
    guard,
    publish,
    attribution,
):
    commands.register(curate)
name_options(curate)
