"""Read a file's tags for `--from FILE` and find what they name: the request, the model, adapters, the edited file.

Anyone can write tags. What they name beyond the file itself is used only with consent, asked for once, before any of it
is opened: a model of the Hub (even if the cache holds it, since the Hub is asked for a newer one), adapters, the edited
file. Those two are looked for only here and beside the sound, as regular files whose hash is the one in the tags.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from auralith.cli.lines import note
from auralith.cli.options import Loading, Place
from auralith.errors import AudioError, shown
from auralith.escaping import one_line

if TYPE_CHECKING:
    from auralith.editing import Clip
    from auralith.provenance import AdapterUse, Provenance


def read_origin(source: Path, loading: Loading, is_allowed: bool) -> "Provenance":
    """Return the tags of a file. What they name beyond it needs to be allowed, or agreed to at a terminal: of a server, which
    has its own models and adapters, only the edited file.

    Raises:
        AudioError: the file has no tags, what they name is not there, or nobody agreed to use it.
    """
    from auralith.provenance import read_provenance

    origin = read_provenance(source)
    wanted = list(_beyond(origin, loading, source))
    if wanted and not (is_allowed or _agrees(source, wanted)):
        raise AudioError(f"the tags of {source} ask to {_listed(wanted)}; allow that with --yes")
    return origin


def _beyond(origin: "Provenance", loading: Loading, source: Path) -> Iterator[str]:
    """Yield what making a sound again takes beyond its file and the options, as "fetch …" and "open …".

    Raises `AudioError` where something is not there.
    """
    if not (isinstance(loading, Place) and loading.server):
        yield from _beyond_here(origin, loading, source)
    if _is_of_clip(origin):
        name = "" if origin.source is None else origin.source.name
        yield from _opened("sound", name, source, _no_clip(origin, source))


def _beyond_here(origin: "Provenance", loading: Loading, source: Path) -> Iterator[str]:
    from auralith.checkpoints.hub import is_repository
    from auralith.provenance import EMBEDDED_NAME

    if loading.model is None and origin.model != EMBEDDED_NAME:
        if "/" not in origin.model or not is_repository(origin.model):
            raise AudioError(
                f"{source} was made with a model in the folder or file {shown(origin.model)}; give it with --model"
            )
        yield f"fetch the model {origin.model} and its text encoder from the Hub"
    for used in origin.adapters if loading.adapter is None else ():
        yield from _opened("adapter", used.name, source, _no_adapter(used, source))


def _opened(kind: str, name: str, source: Path, missing: AudioError) -> Iterator[str]:
    places = _places(name, source)
    if not places:
        raise missing
    yield from (f"open the {kind} {path}" for path in places)


def _listed(wanted: list[str]) -> str:
    return ", ".join(one_line(item, 200) for item in wanted)


def _agrees(source: Path, wanted: list[str]) -> bool:
    """Ask the user at a terminal; without one the answer is no."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    question = one_line(f"The tags of {source} ask to {_listed(wanted)}. Do that? [y/N]")
    print(question, end=" ", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def loading_of(origin: "Provenance", loading: Loading, source: Path) -> Loading:
    """Return the options that were given, and for the rest what the original was made with."""
    from auralith.provenance import EMBEDDED_NAME

    model, adapters = loading.model, loading.adapter
    if model is None and origin.model != EMBEDDED_NAME:
        model = origin.model
        note(f"loading {model} from the Hub, which the tags of {source} name")
    if adapters is None:
        found = [(_find_adapter(used, source), used.effect) for used in origin.adapters]
        adapters = [f"{path}:{effect}" for path, effect in found]
    return replace(
        loading,
        model=model,
        adapter=adapters,
        device=loading.device or origin.device,
        dtype=loading.dtype or origin.dtype,
    )


def _find_adapter(used: "AdapterUse", source: Path) -> Path:
    """The same file, here or beside the sound."""
    from auralith.checkpoints import read_adapter

    for path in _places(used.name, source):
        if read_adapter(path).file_hash == used.file_hash:
            note(f"using {path}, the adapter that the tags of {source} name")
            return path
    raise _no_adapter(used, source)


def _no_adapter(used: "AdapterUse", source: Path) -> AudioError:
    from auralith.escaping import shell_command

    option = shell_command(["--adapter", f"{used.name}:{used.effect}"])
    return AudioError(
        f"{source} was made with the adapter {one_line(used.name, 80)} ({one_line(used.file_hash[:12])}), which is "
        f"neither here nor beside it; give it with {option}"
    )


def _is_of_clip(origin: "Provenance") -> bool:
    """Return whether a sound is an edit of another one."""
    from auralith.edits import Loop

    return origin.edit is not None and not isinstance(origin.edit, Loop)


def find_clip(origin: "Provenance", source: Path) -> "Clip | None":
    """The sound that an edit started from: the same file, here or beside the result; None where there was none.

    Raises `AudioError` if it isn't found.
    """
    from auralith.editing import read_clip

    path = find_clip_file(origin, source)
    return None if path is None else read_clip(path)


def find_clip_file(origin: "Provenance", source: Path) -> Path | None:
    """Return the path of the sound that an edit started from. As `find_clip` otherwise."""
    from auralith.files import file_hash

    if not _is_of_clip(origin):
        return None
    if origin.source is not None:
        for path in _places(origin.source.name, source):
            if file_hash(path) == origin.source.file_hash:
                note(f"using {path}, the sound that the tags of {source} name")
                return path
    raise _no_clip(origin, source)


def _no_clip(origin: "Provenance", source: Path) -> AudioError:
    used = origin.source
    if used is None:
        return AudioError(
            f"{source} was made from a sound that was no file, so it can't be made again"
        )
    return AudioError(
        f"{source} was made from {one_line(used.name, 80)} ({one_line(used.file_hash[:12])}), which is neither here nor "
        "beside it, or has changed; put that file there"
    )


def _places(name: str, source: Path) -> list[Path]:
    """Return where a regular file of this name is, here or beside the sound; only the last part of the name counts."""
    places = dict.fromkeys(folder / Path(name).name for folder in (Path(), source.parent))
    # unlike Path.is_file, false for names that no file can have
    return [path for path in places if os.path.isfile(path)]


def differences(origin: "Provenance", made: "Provenance") -> list[str]:
    """Why a sound made again is another, as warnings."""
    warnings = []
    if origin.model_hash != made.model_hash:
        warnings.append(
            f"made by another model than the original ({made.model_hash[:12]}, not "
            f"{origin.model_hash[:12]}), so the sound differs"
        )
    if _hashes(origin) != _hashes(made):
        warnings.append("made with other adapters than the original, so the sound differs")
    if origin.compiled != made.compiled:
        choice = "on" if origin.compiled else "off"
        warnings.append(f"the original was made with --compile {choice}, so its last bits differ")
    return warnings


def _hashes(provenance: "Provenance") -> list[str]:
    return [used.file_hash for used in provenance.adapters]
