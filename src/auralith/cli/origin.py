"""What `--from FILE` reads from a file's tags, and finds again: the request, the model, adapters, the edited file.

Anyone can write tags. A model that they name is fetched only with consent, even if the cache holds it, since the Hub is
asked for a newer one. Adapters and edited files are opened only here or beside the sound, as regular files whose hash is
the one in the tags, and are named on stderr.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from auralith.cli.lines import cell, note
from auralith.cli.options import Loading

if TYPE_CHECKING:
    from auralith.editing import Clip
    from auralith.provenance import AdapterUse, Provenance


def read_origin(source: Path, loading: Loading, is_allowed: bool) -> "Provenance":
    """Return the tags of a file. A model of the Hub that they alone name needs to be allowed, or agreed to at a terminal.

    Raises:
        AudioError: the file has no tags, or its model has to be named or allowed.
    """
    from auralith.checkpoints.hub import is_repository
    from auralith.errors import AudioError, shown
    from auralith.provenance import EMBEDDED_NAME, read_provenance

    origin = read_provenance(source)
    if loading.model is not None or origin.model == EMBEDDED_NAME:
        return origin
    if "/" not in origin.model or not is_repository(origin.model):
        raise AudioError(
            f"{source} was made with a model in the folder or file {shown(origin.model)}; give it with --model"
        )
    if not (is_allowed or _agrees(source, origin.model)):
        raise AudioError(
            f"the tags of {source} name the model {shown(origin.model)}, which would be fetched from the Hub; "
            "allow that with --yes, or name a model with --model"
        )
    note(f"loading {origin.model} from the Hub, which the tags of {source} name")
    return origin


def _agrees(source: Path, model: str) -> bool:
    """Ask whoever sits at a terminal; elsewhere nobody agrees."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    question = f"The tags of {cell(source)} name the model {cell(model)}. Fetch it from the Hub?"
    return typer.confirm(question, err=True)


def loading_of(origin: "Provenance", loading: Loading, source: Path) -> Loading:
    """What was given, and for the rest what the original was made with."""
    from auralith.provenance import EMBEDDED_NAME

    adapters = loading.adapter
    if adapters is None:
        found = [(_find_adapter(used, source), used.strength) for used in origin.adapters]
        adapters = [f"{path}:{strength!r}" for path, strength in found]
    return replace(
        loading,
        model=loading.model or (None if origin.model == EMBEDDED_NAME else origin.model),
        adapter=adapters,
        device=loading.device or origin.device,
        dtype=loading.dtype or origin.dtype,
    )


def _find_adapter(used: "AdapterUse", source: Path) -> Path:
    """The same file, here or beside the sound."""
    from auralith.checkpoints import read_adapter
    from auralith.errors import AudioError, one_line
    from auralith.escaping import shell_command

    for path in _places(used.name, source):
        if read_adapter(path).file_hash == used.file_hash:
            note(f"using {path}, the adapter that the tags of {source} name")
            return path
    option = shell_command(["--adapter", f"{used.name}:{used.strength:g}"])
    raise AudioError(
        f"{source} was made with the adapter {one_line(used.name, 80)} ({one_line(used.file_hash[:12])}), which is "
        f"neither here nor beside it; give it with {option}"
    )


def find_clip(origin: "Provenance", source: Path) -> "Clip | None":
    """The sound that an edit started from: the same file, here or beside the result; None where there was none.

    Raises `AudioError` if it isn't found.
    """
    from auralith.editing import Loop, read_clip
    from auralith.errors import AudioError, one_line
    from auralith.files import file_hash

    if origin.edit is None or isinstance(origin.edit, Loop):
        return None
    used = origin.source
    if used is None:
        raise AudioError(
            f"{source} was made from a sound that was no file, so it can't be made again"
        )
    for path in _places(used.name, source):
        if file_hash(path) == used.file_hash:
            note(f"using {path}, the sound that the tags of {source} name")
            return read_clip(path)
    raise AudioError(
        f"{source} was made from {one_line(used.name, 80)} ({used.file_hash[:12]}), which is neither here nor beside it, "
        "or has changed; put that file there"
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
    return warnings


def _hashes(provenance: "Provenance") -> list[str]:
    return [used.file_hash for used in provenance.adapters]
