"""`auralith loop`: a prompt to a sound whose end runs into its start."""

from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.making import make_edits
from auralith.cli.options import Loading, Sampling, Writing, grouped


@grouped
def loop(
    prompt: Annotated[str | None, typer.Argument(help="The sound in words.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Length of the loop.")] = None,
    bpm: Annotated[
        float | None, typer.Option(help="Tempo; with --bars in place of --seconds.")
    ] = None,
    bars: Annotated[int | None, typer.Option(help="Length in bars.")] = None,
    beats_per_bar: Annotated[int, typer.Option(help="Beats in a bar.")] = 4,
    like: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Take the prompt of this file, made by Auralith."),
    ] = None,
    *,
    sampling: Sampling,
    loading: Loading,
    writing: Writing,
) -> None:
    """Generate a loop without a seam, of exactly so many seconds or bars. Name the tempo in the prompt too."""
    from auralith.edits import Loop

    edit = Loop(seconds, bpm, bars, beats_per_bar)
    make_edits(edit, None, prompt, sampling, loading, writing, like)
