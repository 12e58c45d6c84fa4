"""A folder of sounds: `name.json` beside `name.wav` holds the fields of a recording, `name.txt` its description.

Folders are walked in sorted order without hidden files. The id is the path from the root, unless the JSON has one. A link
that leaves the folder becomes a rejected row, so that no sound is left out silently.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auralith.curation.sources.records import (
    CONTROL,
    SLICE_ROWS,
    BadRow,
    Record,
    SourceRow,
    safe_path,
)
from auralith.curation.sources.tables import check_source_name, mapped_record
from auralith.errors import InvalidRequest
from auralith.tables.json_rows import load_json
from auralith.tables.names import find_column
from auralith.tables.sidecars import SoundFile, walk_sounds
from auralith.tables.text import decoded


class FolderSource:
    """The sounds below a folder, with the fields of their sidecars."""

    def __init__(self, root: Path, source: str = "folder") -> None:
        """Raises `InvalidRequest` if `root` is not a folder, or the source's name can't be part of an id."""
        check_source_name(source)
        if not root.is_dir():
            raise InvalidRequest(f"{root} is not a folder; give the folder of the sounds")
        self.root, self.name = root, source
        self.slice_rows, self.start = SLICE_ROWS, 0
        self.batch = f"folder-{self._fingerprint(source)}"

    def rows(self) -> Iterator[SourceRow]:
        """Yield a row for each sound, and one for each link that leaves the folder."""
        for number, found in enumerate(_sounds(self.root), 1):
            relative = found.path.relative_to(self.root).as_posix()
            try:
                record = self._record(found, relative)
                yield SourceRow(relative, number, relative, record)
            except BadRow as bad:
                yield SourceRow(relative, number, relative, None, bad.reason_code)

    def _record(self, found: SoundFile, relative: str) -> Record:
        if CONTROL.search(relative):
            raise BadRow("bad_name")
        _require_below(self.root, relative)
        if found.path.is_dir():
            raise BadRow("folder_link")
        fields = _json(self.root, found.fields)
        if (words := _text(self.root, found.text)) and not find_column(fields, "description"):
            fields["description"] = words
        if not find_column(fields, "source_id"):
            fields["source_id"] = relative
        return mapped_record(fields | {"path": relative}, self.name, {}, None, None)

    def _fingerprint(self, source: str) -> str:
        """Return a digest of the names and sizes of all sounds, so that added sounds make another batch."""
        digest = hashlib.sha256(source.encode())
        for path, _, _ in _sounds(self.root):
            size = path.lstat().st_size
            name = os.fsencode(path.relative_to(self.root))
            digest.update(b"%d %s\n" % (size, name))
        return digest.hexdigest()[:12]


def _sounds(root: Path) -> Iterator[SoundFile]:
    """Return sound files, and links to folders, which aren't followed."""
    from auralith.sound.sources import SOUND_SUFFIXES  # with torch: not for tables

    return walk_sounds(root, SOUND_SUFFIXES, with_links=True)


def _require_below(root: Path, relative: str) -> None:
    try:
        safe_path(root, relative)
    except InvalidRequest as error:
        raise BadRow("path_outside_root") from error


def _text(root: Path, path: Path | None) -> str | None:
    """Return the text of a sidecar, which must not leave the folder either; None if it doesn't exist."""
    if path is None or not path.is_file():
        return None
    _require_below(root, path.relative_to(root).as_posix())
    try:
        return decoded(path.read_bytes()).strip()
    except (OSError, ValueError) as error:
        raise BadRow("sidecar_unreadable") from error


def _json(root: Path, path: Path | None) -> dict[str, Any]:
    content = _text(root, path)
    if content is None:
        return {}
    try:
        fields = load_json(content)
    except ValueError as error:
        raise BadRow("sidecar_unreadable") from error
    if not isinstance(fields, dict):
        raise BadRow("sidecar_unreadable")
    return fields
