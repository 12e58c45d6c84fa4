"""Sources that are tables or a folder: any table with a map of its columns, the attribution lists of Stability AI, sounds with
sidecars.

An unmapped column is recognized by the names in `auralith.tables.names`; of several for one field, the first one that a
row fills is taken. Two licenses in one row that differ make it a rejected row, since neither may be ignored.

The attribution lists have the columns `id,title,author,license,url`, with licenses without version. The source of a row
follows from its URL, so that one rule reads both lists. Title and author stay exactly as written: new lists repeat them.

In a folder, `name.json` beside `name.wav` holds the fields of a recording, `name.txt` its description. Folders are walked in
sorted order without hidden files. The id is the path from the root, unless the JSON has one. A link that leaves the folder
becomes a rejected row, so that no sound is left out silently.
"""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any

from auralith.curation.sources.records import (
    CONTROL,
    FMA,
    FREESOUND,
    SLICE_ROWS,
    BadRow,
    Record,
    SourceRow,
    flag,
    fma_path,
    identity,
    named_path,
    safe_path,
    seconds,
    text,
    text_of,
    words,
    year,
)
from auralith.errors import InvalidRequest
from auralith.tables import Row, read_rows
from auralith.tables.json_rows import load_json
from auralith.tables.names import find_column, find_columns
from auralith.tables.sidecars import SoundFile, walk_sounds
from auralith.tables.text import decoded

_LISTS = ("tags", "genres", "parents")
_LICENSES = ("license_raw", "license_url_raw")
_TEXTS = (
    *("url", "title", "author", "author_url", "description", "album", "created"),
    *("gen_ai_preference", "category_code"),
)
COLUMNS = ("source_id", "path", *_TEXTS, *_LICENSES, *_LISTS, "year", "is_remix", "duration_s")
"""Columns of `recordings` that a column may be mapped to."""
_OTHERS: dict[str, Callable[[Any], Any]] = {"year": year, "is_remix": flag, "duration_s": seconds}
ATTRIBUTION_COLUMNS = ("id", "title", "author", "license", "url")
"""Columns of Stability AI's attribution lists."""
_PAGE = re.compile(
    r"(?P<author>https?://(?:www\.)?(?P<site>freemusicarchive|freesound)\.org/(?:music|people)/[^/]+/).*"
)
_SOURCES = {"freemusicarchive": FMA, "freesound": FREESOUND}
Convert = Callable[[Mapping[str, Any]], Record]
"""Turns cells into a recording; raises `BadRow`."""


@dataclass
class TableSource:
    """One or more tables whose rows become recordings by one rule."""

    batch: str
    name: str
    files: Sequence[Path]
    convert: Convert
    required: Sequence[str] = ()
    header_lines: int = 1
    slice_rows: int = SLICE_ROWS
    start: int = 0
    columns: dict[str, None] = field(default_factory=dict)
    """Columns of the rows so far, in their order."""

    def rows(self) -> Iterator[SourceRow]:
        """Yield the rows of all files, in their order."""
        for file in self.files:
            for row in read_rows(file, self.required, header_lines=self.header_lines):
                yield self._converted(row)

    def _converted(self, row: Row) -> SourceRow:
        if row.problem:
            return SourceRow(row.file, row.line, row.cells, None, row.problem)
        if row.cells.keys() - self.columns.keys():
            self.columns |= dict.fromkeys(row.cells)
        try:
            return SourceRow(row.file, row.line, row.cells, self.convert(row.cells))
        except BadRow as bad:
            return SourceRow(row.file, row.line, row.cells, None, bad.reason_code)


def batch_of(kind: str, files: Sequence[Path], *settings: str) -> str:
    """Return a name for the batch, derived from the content of the files and from settings.

    Raises:
        InvalidRequest: a file can't be read.
    """
    digest = hashlib.sha256("\0".join(settings).encode())
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InvalidRequest(
                f"{path} can't be read ({error.strerror or error}); give a table of recordings"
            ) from error
    return f"{kind}-{digest.hexdigest()[:12]}"


@dataclass
class MappedTable(TableSource):
    """A table whose columns are found by their names or by a map."""

    mapped: Mapping[str, str] = field(default_factory=dict)

    def unused(self) -> list[str]:
        """Return the columns of the rows so far that fill no column of `recordings`."""
        used = set(chain.from_iterable(_sources(self.columns, self.mapped).values()))
        return [name for name in self.columns if name not in used]


def mapped_table(
    path: Path,
    source: str,
    columns: Mapping[str, str],
    *,
    separator: str | None = None,
    root: Path | None = None,
) -> MappedTable:
    """Return a source of a table's rows as recordings of `source`; `columns` maps our columns to the table's.

    Lists are split at `separator` (default: white space).

    Raises:
        InvalidRequest: a column of ours is unknown, or the source's name can't be part of an id.
    """
    check_source_name(source)
    if unknown := [name for name in columns if name not in COLUMNS]:
        raise InvalidRequest(f"'{unknown[0]}' is not a column of recordings: {', '.join(COLUMNS)}")

    def convert(cells: Mapping[str, Any]) -> Record:
        return mapped_record(cells, source, columns, separator, root)

    written = [f"{ours}={theirs}" for ours, theirs in sorted(columns.items())]
    batch = batch_of("table", [path], source, separator or "", *written)
    return MappedTable(batch, source, [path], convert, tuple(columns.values()), mapped=columns)


def mapped_record(
    cells: Mapping[str, Any],
    source: str,
    columns: Mapping[str, str],
    separator: str | None,
    root: Path | None,
) -> Record:
    """Return the recording in cells with known or mapped names. Raises `BadRow`."""
    sources = _sources(cells, columns)

    def cell(name: str) -> Any:
        values = [cells[column] for column in sources[name] if cells.get(column) not in (None, "")]
        return values[0] if values else None

    record = identity(source, cell("source_id"))
    record["path"] = named_path(cell("path"), root)
    splits = partial(words, separator=separator)
    record |= {name: text(cell(name)) for name in _TEXTS}
    record |= {name: _only_license(cells, sources[name]) for name in _LICENSES}
    record |= {name: splits(cell(name)) for name in _LISTS}
    return record | {name: convert(cell(name)) for name, convert in _OTHERS.items()}


def _sources(columns: Iterable[str], mapped: Mapping[str, str]) -> dict[str, list[str]]:
    """Return, for each of our columns, the table's columns that may fill it, in order of preference."""
    return _found_sources(tuple(columns), tuple(mapped.items()))


@lru_cache(maxsize=64)
def _found_sources(
    columns: tuple[str, ...], mapped: tuple[tuple[str, str], ...]
) -> dict[str, list[str]]:
    """Return the result of `_sources`; a mapped column fills only its own."""
    given = dict(mapped)
    free = [name for name in columns if name not in given.values()]
    return {ours: [given[ours]] if ours in given else find_columns(free, ours) for ours in COLUMNS}


def _only_license(cells: Mapping[str, Any], columns: Iterable[str]) -> str | None:
    """Return the license of a row. Raises `BadRow` if two columns differ."""
    licenses = {found for column in columns if (found := text(cells.get(column)))}
    if len(licenses) > 1:
        raise BadRow("conflicting_license")
    return next(iter(licenses), None)


def check_source_name(source: str) -> None:
    """Raise `InvalidRequest` for a name that can't be the part of an id before the colon."""
    if not source or not source.replace("-", "").replace("_", "").isalnum():
        raise InvalidRequest(f"'{source}' can't name a source; use letters, digits, - and _")


def stability_list(path: Path, root: Path | None = None) -> TableSource:
    """Return a source of one of the two published lists, or of a table with their columns and URLs of the two sites."""

    def convert(cells: Mapping[str, Any]) -> Record:
        return attribution_record(cells, root)

    return TableSource(
        batch_of("attribution", [path]), "attribution", [path], convert, ATTRIBUTION_COLUMNS
    )


def attribution_record(cells: Mapping[str, Any], root: Path | None) -> Record:
    """Return the recording of a row. Raises `BadRow` if its URL is of neither site."""
    url = text_of(cells, "url")
    page = _PAGE.fullmatch(url or "")
    if not page:
        raise BadRow("source_unknown" if text_of(cells, "id") else "no_id")
    record = identity(_SOURCES[page["site"]], cells.get("id"))
    is_fma = record["source"] == FMA
    return record | {
        "path": fma_path(record["source_id"], root) if is_fma else None,
        "url": url,
        "title": text_of(cells, "title"),
        "author": text_of(cells, "author"),
        "author_url": page["author"],
        "license_raw": text_of(cells, "license"),
    }


class FolderSource:
    """The sounds below a folder, with the fields of their sidecars."""

    def __init__(self, root: Path, source: str = "folder") -> None:
        """Raise `InvalidRequest` if `root` is not a folder, or the source's name can't be part of an id."""
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
