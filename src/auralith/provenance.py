"""Provenance of a generated sound: what its file's tags hold, and all it takes to make it again."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from auralith.adapter_effect import AdapterEffect
from auralith.edits import Edit, Extension, Loop, SourceFile
from auralith.errors import AudioError, InvalidRequest, shown
from auralith.request import GenerationRequest, recorded
from auralith.settings import build_settings
from auralith.sound.tags import read_tags

EMBEDDED_NAME = "embedded"
MOST_BATCHED = 1_024
"""Sounds of a batch that are made again for the sake of one."""
LONGEST_EXTENSION_SECONDS = 3 * 3_600.0
"""The same of an extension's length: tags come from anyone."""


@dataclass(frozen=True)
class AdapterUse:
    """An adapter that was merged into the model: its file's name, never a path, its hash and its effect."""

    name: str
    file_hash: str
    strength: float
    levels: tuple[float, float] = (0.0, 1.0)
    skip: str = ""

    @property
    def effect(self) -> AdapterEffect:
        """Raises InvalidRequest for values out of range: tags come from anyone."""
        return AdapterEffect(self.strength, self.levels, self.skip)


@dataclass(frozen=True)
class Provenance:
    """The origin of one sound. The same samples come out again where all of this is the same."""

    generator: str
    """Program and version."""
    model: str
    """The model's name on the Hub, or of its folder; "embedded" for the one in the package."""
    model_hash: str
    device: str
    dtype: str
    batch_index: int
    batch_size: int
    """Rounding depends on the shape of the batch that the sound was made in."""
    settings: GenerationRequest
    """The request with every default filled in."""
    adapters: tuple[AdapterUse, ...] = ()
    edit: Edit | None = None
    """Edit of an existing sound, or of the end and the start of a loop."""
    source: SourceFile | None = None
    """The file that the edit started from; None if it was no file."""
    compiled: bool = False
    """Says whether torch had compiled the transformer, which rounds otherwise."""

    @property
    def keeps_level(self) -> bool:
        """Return whether the sound is saved at the level that it has: from a sound that was there, or because it should be."""
        return self.is_of_sound or self.settings.normalize is False

    @property
    def is_of_sound(self) -> bool:
        """Return whether it is made from a sound that was there."""
        return self.edit is not None and not isinstance(self.edit, Loop)

    def to_tags(self) -> dict[str, Any]:
        """Return the fields as JSON values; see `request.recorded`."""
        return asdict(replace(self, settings=recorded(self.settings)))


def read_provenance(path: str | Path) -> Provenance:
    """Return the provenance in a sound file's tags. Raise `AudioError` if it is missing or inconsistent."""
    tags = read_tags(path)
    if tags is None or "generator" not in tags:
        raise AudioError(f"{path} has no tags of Auralith; give a file that it generated")
    try:
        provenance = build_settings(Provenance, tags)
    except InvalidRequest as error:
        raise AudioError(f"the tags of {path} can't be used: {error}") from error
    if not 0 <= provenance.batch_index < provenance.batch_size:
        raise AudioError(f"the tags of {path} can't be used: batch_index is not below batch_size")
    _require_moderate(provenance, path)
    return provenance


def provenance_of(data: bytes, suffix: str) -> Provenance:
    """Return the provenance in the bytes of a file with this suffix. Raises as `read_provenance` does."""
    with TemporaryDirectory() as folder:
        path = Path(folder, f"sound.{suffix}")
        path.write_bytes(data)
        return read_provenance(path)


def _require_moderate(provenance: Provenance, path: str | Path) -> None:
    """Raise `AudioError` where making the sound again would take more than anybody could have meant."""
    if provenance.batch_size > MOST_BATCHED:
        raise AudioError(
            f"the tags of {path} can't be used: batch_size is {shown(provenance.batch_size)}, more than {MOST_BATCHED:,}"
        )
    edit = provenance.edit
    if isinstance(edit, Extension) and edit.seconds_total > LONGEST_EXTENSION_SECONDS:
        raise AudioError(
            f"the tags of {path} can't be used: an extension to {edit.seconds_total:g} s, more than "
            f"{LONGEST_EXTENSION_SECONDS:g} s"
        )
