"""`auralith loop`: a prompt to a sound whose end runs into its start."""

from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.fields import Given, Options
from auralith.cli.making import make_edits
from auralith.cli.options import Place, Sampling, Writing


def loop(
    prompt: Annotated[str | None, typer.Argument(help="The sound in words.")] = None,
    like: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take the prompt of this file, made by Auralith."),
    ] = None,
    *,
    edit: Annotated[
        Given, Options("auralith.edits.Loop", "seconds", "bpm", "bars", "beats_per_bar")
    ],
    sampling: Sampling,
    loading: Place,
    writing: Writing,
) -> None:
    """Generate a loop without a seam, of exactly so many seconds or bars. Name the tempo in the prompt too."""
    make_edits("loop", edit, None, prompt, sampling, loading, writing, like)
