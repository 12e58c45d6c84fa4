"""`auralith inpaint`: parts of a sound file made anew."""

from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.fields import Given, Options
from auralith.cli.making import make_edits
from auralith.cli.options import Place, Sampling, Writing


def inpaint(
    file: Annotated[Path, typer.Argument(help="The sound to repair.")],
    ranges: Annotated[
        list[str],
        typer.Option(
            "--range", metavar="FROM-TO", help="What to make anew, in seconds; repeatable."
        ),
    ],
    prompt: Annotated[
        str | None,
        typer.Argument(help="The sound in words; the file's own prompt if left out."),
    ] = None,
    *,
    edit: Annotated[Given, Options("auralith.edits.Inpainting", "crossfade", "passes")],
    sampling: Sampling,
    loading: Place,
    writing: Writing,
) -> None:
    """Make parts of a sound anew. All samples outside the ranges and their crossfades stay as they are.

    A model that was not trained for inpainting does it too: what is kept leads what is made (RePaint). One that was
    sees what is kept; --passes has no effect on it.
    """
    read = {"ranges": tuple(_range(text) for text in ranges)}
    make_edits("inpaint", read | edit, file, prompt, sampling, loading, writing)


def _range(text: str) -> tuple[float, float]:
    from auralith.errors import InvalidRequest

    start, _, end = text.partition("-")
    try:
        return float(start), float(end)
    except ValueError as error:
        raise InvalidRequest(
            f"--range {text} is not two numbers of seconds; write --range 2.0-3.5"
        ) from error
