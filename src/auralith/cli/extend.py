"""`auralith extend`: a sound file continued, or led up to."""

import re
from pathlib import Path
from typing import Annotated

import typer

from auralith.cli.fields import Given, Options, Sets
from auralith.cli.making import make_edits
from auralith.cli.options import Place, Sampling, Writing

TIMED = re.compile(r"(\d+(?:\.\d*)?):(.*)", re.DOTALL)


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
    *,
    edit: Annotated[
        Given,
        Options(
            "auralith.edits.Extension",
            *("overlap", "crossfade", "passes", "hold_level"),
            before=Sets("direction", "before", "Put the new sound before the file, not after it."),
        ),
    ],
    sampling: Sampling,
    loading: Place,
    writing: Writing,
) -> None:
    """Continue a sound to any length, window by window; its own samples stay, but for the crossfade."""
    timed = sorted(_timed(text) for text in prompts or ())
    first = timed[0][1] if prompt is None and timed else prompt
    read = {"seconds_total": seconds, "prompts": tuple(timed)}
    make_edits("extend", read | edit, file, first, sampling, loading, writing)


def _timed(text: str) -> tuple[float, str]:
    from auralith.errors import InvalidRequest, shown

    match = TIMED.fullmatch(text)
    if match is None:
        raise InvalidRequest(f'--prompt {shown(text)} has no second; write --prompt 20:"thunder"')
    return float(match[1]), match[2]
