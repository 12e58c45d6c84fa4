"""`auralith vary`: a sound file and a prompt to variations of it."""

from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.making import make_edits
from auralith.cli.options import Loading, Sampling, Writing, grouped


@grouped
def vary(
    file: Annotated[Path, typer.Argument(help="The sound to vary.")],
    prompt: Annotated[
        str | None,
        typer.Argument(help="What it should become, in words; the file's own prompt if left out."),
    ] = None,
    strength: Annotated[
        float, typer.Option(help="How much may change, 0 to 1; 0: the autoencoder's round trip.")
    ] = 0.5,
    init_noise_level: Annotated[
        float | None,
        typer.Option(help="The noise level to start from, in place of --strength."),
    ] = None,
    *,
    sampling: Sampling,
    loading: Loading,
    writing: Writing,
) -> None:
    """Make a sound anew from one that is there: the same length, the model's sample rate and channels."""
    from auralith.edits import Variation

    edit = Variation(strength, init_noise_level)
    make_edits(edit, file, prompt, sampling, loading, writing)
