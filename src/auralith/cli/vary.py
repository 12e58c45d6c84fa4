"""`auralith vary`: a sound file and a prompt to variations of it."""

from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.fields import Given, Options
from auralith.cli.making import make_edits
from auralith.cli.options import Place, Sampling, Writing


def vary(
    file: Annotated[Path, typer.Argument(help="The sound to vary.")],
    prompt: Annotated[
        str | None,
        typer.Argument(help="What it should become, in words; the file's own prompt if left out."),
    ] = None,
    *,
    edit: Annotated[Given, Options("auralith.edits.Variation", "strength", "init_noise_level")],
    sampling: Sampling,
    loading: Place,
    writing: Writing,
) -> None:
    """Make a sound anew from one that is there: the same length, the model's sample rate and channels."""
    make_edits("vary", edit, file, prompt, sampling, loading, writing)
