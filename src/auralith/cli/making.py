"""Steps that all verbs share: load the model, number the requests, save the results and print their paths."""

import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from auralith.cli.adapter import parse_adapter
from auralith.cli.fields import Given
from auralith.cli.lines import note, warn
from auralith.cli.options import Loading, Place, Writing, request_fields
from auralith.cli.output import Output
from auralith.files import whole_file
from auralith.jobs.names import KINDS

if TYPE_CHECKING:
    from auralith.content_credentials import ContentSigner
    from auralith.pipeline import Auralith
    from auralith.request import GenerationRequest
    from auralith.sets import Devices


@runtime_checkable
class Savable(Protocol):
    """A sound that was made, here or elsewhere."""

    @property
    def warnings(self) -> tuple[str, ...]: ...

    def save(self, path: Path, subtype: str | None, signer: "ContentSigner | None") -> None:
        """Write a file, whole or not at all."""
        ...

    def picture(self) -> bytes:
        """Return a PNG."""
        ...


def make_edits(
    task: str,
    fields: Given,
    file: Path | None,
    prompt: str | None,
    sampling: Given,
    loading: Place,
    writing: Writing,
    like: Path | None = None,
) -> None:
    """Make one edit of a file (or none, for a loop), as often as asked for, each time with the next seed. `fields` are the edit's.

    Without a prompt, the one that is inside the file (or inside `like`) is taken.
    """
    words: dict[str, Any] = own_prompt(file or like) if prompt is None else {"prompt": prompt}
    settings = words | request_fields(sampling)
    name = words["prompt"] if file is None else f"{file.stem} {KINDS[task]}"
    if loading.server is not None:
        from auralith.cli.remote import make_remotely

        make_remotely({"task": task, **settings, **fields}, name, file, loading, writing)
        return
    _make_here(task, fields, settings, name, file, loading, writing)


def _make_here(
    task: str,
    fields: Given,
    settings: Given,
    name: str,
    file: Path | None,
    loading: Loading,
    writing: Writing,
) -> None:
    from auralith.cli.progress import generation_progress
    from auralith.editing import apply, longest_clip, read_clip
    from auralith.edits import EDITS, Extension
    from auralith.request import GenerationRequest
    from auralith.sound.extent import read_info

    edit = EDITS[task](**fields)
    request = GenerationRequest(**settings)
    target = Output(writing.output, writing.format, writing.subtype, name)
    signer = writing.signer(target.check())
    if file is not None:
        info = read_info(file)  # a bad file is refused before the model is loaded
        if isinstance(edit, Extension):
            edit.require_longer(info.num_samples, info.sample_rate)
    model = open_model(loading)
    clip = None if file is None else read_clip(file, longest_clip(edit, model))
    seed = model.resolve(request).seed
    requests = numbered(replace(request, seed=seed), writing.n)
    paths = target.paths(announced_seeds(item.seed for item in requests))
    with generation_progress() as on_step:
        sounds = (apply(model, item, clip, edit, on_step) for item in requests)
        save_all(zip(sounds, paths, strict=True), writing, signer)


def own_prompt(file: Path | None) -> dict[str, Any]:
    """Return the prompt that a file was made with, and what was mixed in, as fields of a request.

    Raises `InvalidRequest` without a file, and for a file without one.
    """
    from auralith.errors import InvalidRequest
    from auralith.provenance import read_provenance
    from auralith.sound.tags import read_tags

    if file is None:
        raise InvalidRequest("there is no prompt; describe the sound")
    if read_tags(file) is None:
        raise InvalidRequest(f"{file} holds no prompt of its own; describe the sound")
    settings = read_provenance(file).settings
    if not isinstance(settings.prompt, str):
        raise InvalidRequest(f"{file} was made with an embedding, not a prompt; describe the sound")
    return {"prompt": settings.prompt, "mix": settings.mix}


def open_model(loading: Loading) -> "Auralith":
    """The model that was asked for, with its adapters."""
    from auralith.pipeline import load

    choice = loading.compile or "off"
    if choice != "off":
        note("compiling the transformer, which takes about a minute the first time")
    return load(
        loading.model,
        device=loading.device or "auto",
        dtype=loading.dtype or "auto",
        text_encoder=loading.text_encoder,
        weights=loading.weights,
        config=loading.config,
        adapters=[parse_adapter(text) for text in loading.adapter or ()],
        compile=choice,
    )


def shared_devices(loading: Loading) -> "Devices | None":
    """Return the devices that share the work, where several are named; raise `InvalidRequest` for one that is not there."""
    from auralith.jobs.tasks import ModelPlace
    from auralith.sets import shared_devices as named

    place = ModelPlace(
        loading.model or "embedded",
        loading.model,
        loading.text_encoder,
        loading.weights,
        loading.config,
    )
    adapters = tuple(parse_adapter(text) for text in loading.adapter or ())
    files = tuple((str(Path(path).absolute()), effect) for path, effect in adapters)
    choice = loading.compile or "off"
    return named(loading.device or "auto", place, loading.dtype or "auto", files, choice)


def numbered(request: "GenerationRequest", n: int) -> list["GenerationRequest"]:
    """The request with its seed and the ones after it."""
    assert request.seed is not None  # resolved
    return [replace(request, seed=request.seed + index) for index in range(n)]


def announced_seeds(seeds: Iterable[int | None]) -> list[int]:
    """Return seeds as they are printed."""
    known = [seed for seed in seeds if seed is not None]
    print("seed", *known, file=sys.stderr)
    return known


def save_all(
    sounds: Iterable[tuple[Savable, Path]], writing: Writing, signer: "ContentSigner | None"
) -> None:
    """Write each sound as soon as it is there, then print the paths, those of the sounds last."""
    pictures, paths = [], []
    for sound, path in sounds:
        for warning in sound.warnings:
            warn(f"{path}: {warning}")
        sound.save(path, writing.subtype, signer)
        paths.append(path)
        if writing.png:
            pictures.append(path.with_suffix(".png"))
            with whole_file(pictures[-1]) as file:
                file.write(sound.picture())
    print(*pictures, *paths, sep="\n")
