"""Sounds of a model for a list of prompts, as a set that is gone on with after an interruption."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from auralith.errors import InvalidRequest
from auralith.evaluation.measures import Generated
from auralith.evaluation.prompts import Prompt, PromptList, texts_of
from auralith.evaluation.sounds import Sounds
from auralith.provenance import Provenance
from auralith.resolution import known
from auralith.sets import Planner, Problem, PromptRow, PromptTable, SetSettings, make_set

_OF_A_SOUND = ("prompt", "seed", "seconds_total", "seconds_output")
"""Settings that differ from sound to sound."""


def generate_sounds(
    model: Planner,
    name: str,
    prompts: PromptList,
    folder: Path,
    settings: SetSettings,
    *,
    show: Callable[[int, int, str], None] = lambda done, total, text: None,
) -> Generated:
    """Return the sounds of all prompts, generated where the folder lacks them: one each, its seed from its prompt.

    The length is the prompt's, else that of the settings' defaults, else the list's. A prompt that the model refuses is
    missing, with the reason.

    Raises:
        InvalidRequest: nothing could be generated, or `make_set` raises.
    """
    ids = dict(enumerate(prompts.ids, 1))
    paths: dict[str, Path] = {}
    missing: dict[str, str] = {}
    made_of: Mapping[str, Any] = {}
    seconds: dict[str, float] = {}

    def on_step(step: int, of: int | None, done: int, total: int) -> None:
        show(done, total, f"step {step}/{of}" if of else "")

    for event in make_set(model, _table(prompts, folder, settings), folder, settings, on_step):
        if isinstance(event, Problem):
            missing[ids[event.row]] = event.reason
            continue
        id, origin = ids[event.entry.row], event.entry.origin
        paths[id] = folder / event.entry.file
        seconds[id] = known(origin.settings.seconds_output)
        made_of = made_of or _made_of(origin)
        show(event.done, event.total, event.entry.file)
    if not paths:
        reason = next(iter(missing.values()), "there are no prompts")
        raise InvalidRequest(f"{name} generated nothing ({reason})")
    ordered = {id: paths[id] for id in prompts.ids if id in paths}
    sounds = Sounds(name, ordered, missing)
    return Generated(sounds, texts_of(prompts.prompts), made_of, seconds)


def _table(prompts: PromptList, folder: Path, settings: SetSettings) -> PromptTable:
    """Return the prompts as rows, numbered from 1."""
    rows = tuple(
        PromptRow(number, f"id {prompt.id}", _values(prompt, prompts, settings.defaults), {})
        for number, prompt in enumerate(prompts.prompts, 1)
    )
    return PromptTable(folder / prompts.name, rows, ())


def _values(prompt: Prompt, prompts: PromptList, defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cells of a prompt's row: those that the defaults don't state better."""
    values: dict[str, Any] = {"prompt": prompt.text}
    seconds = prompt.seconds
    if seconds is None and "seconds_total" not in defaults:
        seconds = prompts.seconds
    return values if seconds is None else values | {"seconds_total": seconds}


def _made_of(origin: Provenance) -> dict[str, Any]:
    """Return the model and the settings that all its sounds share."""
    tags = origin.to_tags()
    settings = {n: value for n, value in tags["settings"].items() if n not in _OF_A_SOUND}
    names = ("model", "model_hash", "adapters", "dtype", "generator")
    return {name: tags[name] for name in names if name in tags} | {"settings": settings}
