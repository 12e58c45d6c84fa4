"""`auralith generate`: a prompt, or a file made earlier, to sound files.

The files' tags hold all it takes to make them again. `--from FILE` reads them back: the same request on the same model,
device and number format, in a batch of the same shape (rounding depends on it), gives the same samples; an edit is made
again from the same file.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auralith.cli.fields import Given, Options
from auralith.cli.making import announced_seeds, numbered, open_model, save_all
from auralith.cli.options import REQUEST, Loading, Place, Sampling, Writing, request_fields
from auralith.cli.origin import differences, find_clip, find_clip_file, loading_of, read_origin
from auralith.cli.output import Output

if TYPE_CHECKING:
    from auralith.editing import Clip
    from auralith.pipeline import Audio, Auralith
    from auralith.provenance import Provenance
    from auralith.request import GenerationRequest


Span = Annotated[
    Given,
    Options(
        REQUEST, seconds="seconds_total", start="seconds_start", output_seconds="seconds_output"
    ),
]
"""Options for the length of a sound, and its place in a recording."""


def generate(
    prompt: Annotated[str | None, typer.Argument(help="The sound in words.")] = None,
    *,
    span: Span,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="Make the sound of a file again; see info."),
    ] = None,
    yes: Annotated[
        bool,
        typer.Option("--yes", help="Fetch and open what the tags of --from name without asking."),
    ] = False,
    sampling: Sampling,
    place: Place,
    writing: Writing,
) -> None:
    """Generate a sound from a prompt. Prints the path of each file, last the sound's."""
    changes = request_fields(sampling) | span | ({} if prompt is None else {"prompt": prompt})
    if place.server is not None:
        _generate_remotely(changes, source, yes, place, writing)
        return
    origin, clip = None, None
    loading: Loading = place
    if source is not None:
        origin = read_origin(source, loading, yes)
        loading = loading_of(origin, loading, source)
        clip = find_clip(origin, source)
    request = _request(origin, changes)
    target = Output(writing.output, writing.format, writing.subtype, request.text)
    signer = writing.signer(target.check())
    model = open_model(loading)
    if origin is None or origin.edit is None:
        request = model.resolve(request)
    requests = numbered(request, writing.n)
    paths = target.paths(announced_seeds(item.seed for item in requests))
    sounds = _make(model, requests, origin, clip)
    save_all(zip(sounds, paths, strict=True), writing, signer)


def _generate_remotely(
    changes: Given, source: Path | None, yes: bool, place: Place, writing: Writing
) -> None:
    from auralith.cli.remote import make_again_remotely, make_remotely

    if source is not None:
        origin = read_origin(source, place, yes)
        clip = find_clip_file(origin, source)
        make_again_remotely(origin, _request(origin, changes), clip, place, writing)
        return
    _require_prompt(changes)
    make_remotely(changes, changes["prompt"], None, place, writing)


def _require_prompt(changes: Given) -> None:
    from auralith.errors import InvalidRequest

    if "prompt" not in changes:
        raise InvalidRequest("nothing to generate; give a prompt or --from FILE")


def _request(origin: "Provenance | None", changes: Given) -> "GenerationRequest":
    from auralith.request import GenerationRequest, changed, require_given

    if origin is not None:
        request = changed(origin.settings, changes)
        require_given(request)
        return request
    _require_prompt(changes)
    return GenerationRequest(**changes)


def _make(
    model: "Auralith",
    requests: list["GenerationRequest"],
    origin: "Provenance | None",
    clip: "Clip | None",
) -> list["Audio"]:
    """The sounds of the requests; one that was once made in a batch is made at its place in such a batch again."""
    from auralith.cli.progress import generation_progress

    chosen = slice(None)
    if origin is not None and origin.edit is None and len(requests) == 1:
        requests = requests * origin.batch_size
        chosen = slice(origin.batch_index, origin.batch_index + 1)
    with generation_progress() as on_step:
        if origin is not None and origin.edit is not None:
            from auralith.editing import redo

            sounds = [redo(model, request, clip, origin, on_step) for request in requests]
        else:
            sounds = model.generate_batch(requests, on_step)[chosen]
    if origin is None:
        return sounds
    return [
        replace(sound, warnings=(*sound.warnings, *differences(origin, sound.provenance)))
        for sound in sounds
    ]
