"""A plain folder of sounds: `name.json` beside `name.wav` holds the fields of a recording, `name.txt` its description.

Folders are walked in sorted order, hidden files left out. The id is the path from the root, unless the JSON has one.
A link that leaves the folder is a rejected row, so that nothing is left out silently.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auralith.curation.sources.column_map import check_source_name, mapped_record
from auralith.curation.sources.paths import CONTROL, safe_path
from auralith.curation.sources.records import BadRow, Record
from auralith.curation.sources.source import SLICE_ROWS, SourceRow
from auralith.errors import InvalidRequest

_NAMES = {
    "source_id": "id",
    "author": "artist",
    "license_raw": "license",
    "license_url_raw": "license_url",
    "duration_s": "duration",
    "description": "prompt",
}
"""What sidecars call our columns where they don't use our names."""


class FolderSource:
    """The sounds below a folder, with what their sidecars say."""

    def __init__(self, root: Path, source: str = "folder") -> None:
        """Raises `InvalidRequest` if `root` is no folder, or the source's name can't be part of an id."""
        check_source_name(source)
        if not root.is_dir():
            raise InvalidRequest(f"{root} is not a folder; give the folder of the sounds")
        self.root, self.name = root, source
        self.slice_rows, self.start = SLICE_ROWS, 0
        self.batch = f"folder-{self._fingerprint(source)}"

    def rows(self) -> Iterator[SourceRow]:
        """A row for each sound, and one for each link that leaves the folder."""
        for number, path in enumerate(_sounds(self.root), 1):
            relative = path.relative_to(self.root).as_posix()
            try:
                record = self._record(path, relative)
                yield SourceRow(relative, number, relative, record)
            except BadRow as bad:
                yield SourceRow(relative, number, relative, None, bad.reason_code)

    def _record(self, path: Path, relative: str) -> Record:
        if CONTROL.search(relative):
            raise BadRow("bad_name")
        _require_below(self.root, relative)
        if path.is_dir():
            raise BadRow("folder_link")
        fields = _json(self.root, path.with_suffix(".json"))
        for ours, theirs in _NAMES.items():
            if theirs in fields:
                fields.setdefault(ours, fields[theirs])
        if (words := _bytes(self.root, path.with_suffix(".txt"))) is not None:
            fields.setdefault("description", _decoded(words))
        fields = {"source_id": relative} | fields | {"path": relative}
        return mapped_record(fields, self.name, {}, None, None)

    def _fingerprint(self, source: str) -> str:
        """Of the names and sizes of all sounds: more sounds are another batch."""
        digest = hashlib.sha256(source.encode())
        for path in _sounds(self.root):
            size = path.lstat().st_size
            name = os.fsencode(path.relative_to(self.root))
            digest.update(b"%d %s\n" % (size, name))
        return digest.hexdigest()[:12]


def _sounds(root: Path) -> Iterator[Path]:
    """Sound files, and links to folders, which aren't followed."""
    from auralith.sound.sources import SOUND_SUFFIXES  # with torch: not for tables

    for parent, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in sorted([*names, *links]):
            is_sound = Path(name).suffix.lower() in SOUND_SUFFIXES
            if not name.startswith(".") and (is_sound or name in links):
                yield Path(parent, name)


def _require_below(root: Path, relative: str) -> None:
    try:
        safe_path(root, relative)
    except InvalidRequest as error:
        raise BadRow("path_outside_root") from error


def _bytes(root: Path, path: Path) -> bytes | None:
    """The file's bytes, None if there is none; a sidecar must not leave the folder either."""
    if not path.is_file():
        return None
    _require_below(root, path.relative_to(root).as_posix())
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadRow("sidecar_unreadable") from error


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise BadRow("sidecar_unreadable") from error


def _json(root: Path, path: Path) -> dict[str, Any]:
    content = _bytes(root, path)
    if content is None:
        return {}
    try:
        fields = json.loads(_decoded(content))
    except (ValueError, RecursionError) as error:
        raise BadRow("sidecar_unreadable") from error
    if not isinstance(fields, dict):
        raise BadRow("sidecar_unreadable")
    return fields
