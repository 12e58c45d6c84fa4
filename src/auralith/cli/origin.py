"""What `--from FILE` reads from a file's tags, and finds again: the request, the model, adapters, the edited file."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from auralith.cli.options import Loading

if TYPE_CHECKING:
    from auralith.editing import Clip
    from auralith.provenance import AdapterUse, Provenance


def read_origin(source: Path, loading: Loading) -> "Provenance":
    """The tags of a file; raises `AudioError` if it has none, or its model has to be named."""
    from auralith.errors import AudioError
    from auralith.provenance import EMBEDDED_NAME, read_provenance

    origin = read_provenance(source)
    if loading.model is None and origin.model != EMBEDDED_NAME and "/" not in origin.model:
        raise AudioError(
            f"{source} was made with a model in the folder or file {origin.model}; give it with --model"
        )
    return origin


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
    from auralith.errors import AudioError

    for path in _places(used.name, source):
        if read_adapter(path).file_hash == used.file_hash:
            return path
    raise AudioError(
        f"{source} was made with the adapter {used.name} ({used.file_hash[:12]}), which is neither here nor "
        f"beside it; give it with --adapter {used.name}:{used.strength:g}"
    )


def find_clip(origin: "Provenance", source: Path) -> "Clip | None":
    """The sound that an edit started from: the same file, here or beside the result; None where there was none.

    Raises `AudioError` if it isn't found.
    """
    from auralith.editing import Loop, file_hash, read_clip
    from auralith.errors import AudioError

    if origin.edit is None or isinstance(origin.edit, Loop):
        return None
    used = origin.source
    if used is None:
        raise AudioError(
            f"{source} was made from a sound that was no file, so it can't be made again"
        )
    for path in _places(used.name, source):
        if file_hash(path) == used.file_hash:
            return read_clip(path)
    raise AudioError(
        f"{source} was made from {used.name} ({used.file_hash[:12]}), which is neither here nor beside it, "
        "or has changed; put that file there"
    )


def _places(name: str, source: Path) -> list[Path]:
    """Where a file of this name is, here or beside the sound. Tags come from anyone: only its last part counts."""
    places = (folder / Path(name).name for folder in (Path(), source.parent))
    return [path for path in places if path.exists()]


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
