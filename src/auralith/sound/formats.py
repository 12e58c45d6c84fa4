"""Formats of sound files that are written: which there are, and whether a path can have one."""

from dataclasses import dataclass
from pathlib import Path

from auralith.errors import Field, InvalidRequest, shown
from auralith.escaping import one_line
from auralith.files import check_writable


@dataclass(frozen=True)
class _Container:
    name: str
    subtypes: dict[str, str]
    """Ours to libsndfile's; the first is the default."""


_CONTAINERS = {
    ".wav": _Container("WAV", {"pcm16": "PCM_16", "pcm24": "PCM_24", "float": "FLOAT"}),
    ".flac": _Container("FLAC", {"pcm16": "PCM_16", "pcm24": "PCM_24"}),
    ".ogg": _Container("OGG", {"vorbis": "VORBIS"}),
    ".mp3": _Container("MP3", {"mp3": "MPEG_LAYER_III"}),
}


def check_output(path: str | Path, subtype: str | None = None) -> None:
    """Raise what `writing.write` would raise for this path and subtype, before any work is done."""
    chosen(path, subtype)
    check_writable(path)


def nearest_subtype(path: str | Path, wanted: str) -> str:
    """The wanted subtype if a file of this suffix can have it, else its finest. Raises `InvalidRequest`."""
    container, _ = chosen(path, None)
    subtypes = next(c.subtypes for c in _CONTAINERS.values() if c.name == container)
    return wanted if wanted in subtypes else list(subtypes)[-1]


def check_format(name: str) -> None:
    """Raise `InvalidRequest` unless files of this name, such as "wav", can be written."""
    known = [suffix.removeprefix(".") for suffix in _CONTAINERS]
    if name not in known:
        raise InvalidRequest(
            Field("format"), f" is {shown(name)}; choose one of {', '.join(known)}"
        )


def chosen(path: str | Path, subtype: str | None) -> tuple[str, str]:
    """Return libsndfile's names of the container and the subtype of a path. Raise `InvalidRequest` for what has none."""
    container = _CONTAINERS.get(Path(path).suffix.lower())
    if container is None:
        raise InvalidRequest(f"{path} has no known suffix; choose one of {', '.join(_CONTAINERS)}")
    if subtype is None:
        return container.name, next(iter(container.subtypes.values()))
    if subtype not in container.subtypes:
        raise InvalidRequest(
            Field("subtype"),
            f": {container.name} files can't be {one_line(subtype, 60)}; choose {' or '.join(container.subtypes)}",
        )
    return container.name, container.subtypes[subtype]
