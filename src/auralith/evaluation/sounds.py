"""Sounds by id: files of a folder that are named by their ids, or the sounds of a generated set.

A Fréchet distance pools whatever it is given, so a stray file would change a score without a word. A folder is held
against the list of ids, and refused where a file is missing or too many, unless that is allowed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from auralith.errors import InvalidRequest, shown
from auralith.evaluation.prompts import Prompt
from auralith.sound.sources import SOUND_SUFFIXES

_MOST_NAMED = 5


@dataclass(frozen=True)
class Sounds:
    """A collection of sound files by id."""

    name: str
    paths: Mapping[str, Path]
    missing: Mapping[str, str] = field(default_factory=dict)
    """Reason why an id that was expected has no file."""


def folder_sounds(folder: Path, name: str | None = None) -> Sounds:
    """Return all sound files below a folder, by their path within it without the suffix.

    Raises:
        InvalidRequest: there is no such folder, it holds no sounds, or two files have one id.
    """
    if not folder.is_dir():
        raise InvalidRequest(f"{folder} is not a folder; give the folder of the sounds")
    paths: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SOUND_SUFFIXES or not path.is_file():
            continue
        id = path.relative_to(folder).with_suffix("").as_posix()
        if id in paths:
            raise InvalidRequest(
                f"{paths[id]} and {path} have the id {shown(id)}; keep one of the two"
            )
        paths[id] = path
    if not paths:
        raise InvalidRequest(f"{folder} holds no sound files; name the folder of the sounds")
    return Sounds(name or folder.name, paths)


def matched(
    sounds: Sounds,
    prompts: Sequence[Prompt],
    *,
    allow_missing: bool = False,
    allow_extra: bool = False,
) -> Sounds:
    """Return the sounds of a list of prompts, by the prompts' ids.

    A file belongs to a prompt if its name, or what stands in it before the first dot, is the prompt's id or that of its
    reference recording, which several prompts may share.

    Raises:
        InvalidRequest: a prompt has no file, or a file belongs to no prompt, and that is not allowed.
    """
    by_name = dict(_named(sounds.paths))
    paths: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for prompt in prompts:
        found = next((by_name[n] for n in (prompt.id, *prompt.references) if n in by_name), None)
        if found is None:
            missing[prompt.id] = f"{sounds.name} has no file of this id"
        else:
            paths[prompt.id] = found
    if missing and not allow_missing:
        raise InvalidRequest(
            f"{sounds.name} has no file for {len(missing):,} of {len(prompts):,} ids"
            f" ({_first(missing)}); add them, or allow that with --allow-missing"
        )
    extra = sorted(set(sounds.paths.values()) - set(paths.values()))
    if extra and not allow_extra:
        raise InvalidRequest(
            f"{sounds.name} holds {len(extra):,} files of other ids"
            f" ({_first([path.name for path in extra])}); move them away, or allow them with --allow-extra"
        )
    if not paths:
        raise InvalidRequest(f"{sounds.name} has no file of any id; name files by the ids")
    return Sounds(sounds.name, paths, missing)


def has_any(sounds: Sounds, prompts: Sequence[Prompt]) -> bool:
    """Return whether any file is named by a prompt's id, or by that of its reference."""
    names = {name for name, _ in _named(sounds.paths)}
    return any(name in names for prompt in prompts for name in (prompt.id, *prompt.references))


def _named(paths: Mapping[str, Path]) -> Iterator[tuple[str, Path]]:
    """Yield the names that a file answers to, the whole ones last, since they count more."""
    for path in paths.values():
        yield path.name.partition(".")[0], path
    for id, path in paths.items():
        yield id, path


def _first(names: Sequence[str] | Mapping[str, object]) -> str:
    listed = list(names)
    more = len(listed) - _MOST_NAMED
    text = ", ".join(shown(name) for name in listed[:_MOST_NAMED])
    return f"{text} and {more:,} more" if more > 0 else text
