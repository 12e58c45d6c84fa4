"""The manifest of a set, `manifest.jsonl`: a JSON object per finished sound, in the order in which they were made.

A line is added in one write after its sound is whole on the disk. What a kill leaves of a line is cut off at the next
one; of two lines for one sound the later counts, and none counts whose file is gone.
"""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from auralith.errors import InvalidRequest, ResourceError
from auralith.foreign import SHAPE_ERRORS, parse_json
from auralith.provenance import Provenance
from auralith.settings import build_settings

NAME = "manifest.jsonl"


@dataclass(frozen=True)
class Entry:
    """One finished sound. `file` and `picture` are paths inside the set's folder."""

    row: int
    file: str
    picture: str
    seconds: float
    sample_rate: int
    key: str
    warnings: tuple[str, ...]
    origin: Provenance
    """Provenance as in the file's tags: the request with every default, the model and its hash, and more."""


_FIELDS = tuple(field.name for field in fields(Entry))


class Manifest:
    """The finished sounds of a folder, by their keys."""

    def __init__(self, folder: Path) -> None:
        """Raises `InvalidRequest` if there is a manifest that is not one."""
        self.folder, self.path = folder, folder / NAME
        self.entries: dict[str, Entry] = {}
        self.owners: dict[str, str] = {}
        """Key of the sound that owns a file."""
        data = self.path.read_bytes() if self.path.exists() else b""
        self._size = data.rfind(b"\n") + 1
        for number, line in enumerate(data[: self._size].splitlines(), 1):
            self._enter(_parsed(line, f"{self.path}, line {number}"))

    def finished(self, key: str) -> Entry | None:
        """The sound with this key, if it is there still."""
        entry = self.entries.get(key)
        return entry if entry and (self.folder / entry.file).is_file() else None

    def append(self, entry: Entry) -> None:
        """Add a finished sound. Raises `ResourceError` where it can't be written."""
        line = _line(entry)
        try:
            with self.path.open("r+b" if self.path.exists() else "xb") as file:
                file.truncate(self._size)
                file.seek(self._size)
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ResourceError(f"{self.path} can't be written ({error.strerror})") from error
        self._size += len(line)
        self._enter(entry)

    def _enter(self, entry: Entry) -> None:
        if entry.key in self.entries:
            self.owners.pop(self.entries[entry.key].file, None)
        self.entries[entry.key] = entry
        self.owners[entry.file] = entry.key


def _line(entry: Entry) -> bytes:
    """Return the line of a file. The most frequently needed fields come first; all of them are in the origin too."""
    origin = entry.origin
    first = {
        "prompt": origin.settings.text,
        "seed": origin.settings.seed,
        "model_hash": origin.model_hash,
    }
    return (json.dumps(first | asdict(entry), ensure_ascii=False) + "\n").encode()


def _parsed(line: bytes, place: str) -> Entry:
    try:
        values = parse_json(line)
        return build_settings(Entry, {name: values[name] for name in _FIELDS})
    except SHAPE_ERRORS as error:  # also InvalidRequest: a field is wrong
        raise InvalidRequest(
            f"{place} is not an entry of a set; correct it or choose another folder"
        ) from error
