"""`auralith extend`: a sound file continued, or led up to."""

import re
from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.fields import Sets
from auralith.cli.making import make_edits
from auralith.cli.options import Loading, Sampling, Writing, grouped

TIMED = re.compile(r"(\d+(?:\.\d*)?):(.*)", re.DOTALL)


@grouped
def extend(
    file: Annotated[Path, typer.Argument(help="The sound to extend.")],
    seconds: Annotated[
        float,
        Sets("seconds_total"),
        typer.Option(help="Length of the result, the file included."),
    ],
    prompt: Annotated[
        str | None,
        typer.Argument(help="The new sound in words; the file's own prompt if left out."),
    ] = None,
    prompts: Annotated[
        list[str] | None,
        typer.Option(
            "--prompt", metavar="SECOND:PROMPT", help="The prompt from there on; repeatable."
        ),
    ] = None,
    before: Annotated[
        bool, typer.Option("--before", help="Put the new sound before the file, not after it.")
    ] = False,
    overlap: Annotated[
        float | None,
        typer.Option(
            help="Seconds that each window continues from; if left out, a third of it (less at a new prompt)."
        ),
    ] = None,
    crossfade: Annotated[
        float | None,
        typer.Option(help="Seconds of the file that blend; the decoder's reach if left out."),
    ] = None,
    passes: Annotated[
        int, typer.Option(help="How often each stretch of steps is walked; more fits better.")
    ] = 4,
    hold_level: Annotated[
        bool,
        typer.Option(
            help="Bring the new sound to the loudness of the file, unless that dies away."
        ),
    ] = True,
    *,
    sampling: Sampling,
    loading: Loading,
    writing: Writing,
) -> None:
    """Continue a sound to any length, window by window; its own samples stay, but for the crossfade."""
    from auralith.edits import Extension

    timed = sorted(_timed(text) for text in prompts or ())
    first = timed[0][1] if prompt is None and timed else prompt
    direction = "before" if before else "after"
    edit = Extension(seconds, direction, tuple(timed), overlap, crossfade, passes, hold_level)
    make_edits(edit, file, first, sampling, loading, writing)


def _timed(text: str) -> tuple[float, str]:
    from auralith.errors import InvalidRequest, shown

    match = TIMED.fullmatch(text)
    if match is None:
        raise InvalidRequest(f'--prompt {shown(text)} has no second; write --prompt 20:"thunder"')
    return float(match[1]), match[2]
