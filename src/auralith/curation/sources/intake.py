"""Intake: the sources that settings name, opened; their rows into `recordings`, slice by slice, or into `rejected` with the
reason; and the folder of the sounds of each source.

Every row becomes a new recording, a repeat of a stored one with the same content, or a rejected row. An id with differing
content is rejected as `conflicting_id` and puts the stored recording into quarantine (outcomes reads that from
`rejected`), because either may be the right one.

The name of a slice follows from the batch and the position of its first row, and recordings are written before rejected
rows. So a kill loses at most one slice, and the same call again adds only what is missing.
"""

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from auralith.curation.sources.debian import DebianSource
from auralith.curation.sources.fma import fma_tracks
from auralith.curation.sources.freesound import (
    FreesoundClient,
    FreesoundSearch,
    FreesoundSounds,
    data_pack,
)
from auralith.curation.sources.records import Record, Source, SourceRow
from auralith.curation.sources.tables import FolderSource, TableSource, mapped_table, stability_list
from auralith.curation.store import RECORDINGS, Store, compute, read_slice
from auralith.errors import Field, InvalidRequest
from auralith.files import make_folder, whole_file
from auralith.foreign import SHAPE_ERRORS, parse_json
from auralith.tables.row import listed

SourceKind = Literal["pack", "freesound", "fma", "attribution", "folder", "table", "debian"]
ROOTS = "roots.json"
"""File with the folders in which runs and single steps found sounds, for the manifest and for reviewers' ears."""
REFERENCES = "references"
"""Name in that file of the known recordings, with which those of the curation are compared."""
KEY_VARIABLE = "AURALITH_FREESOUND_KEY"
_NOT_CONTENT = ("ingest_batch", "retrieved_at")
_REMEDIES = {
    "no_id": "say which column names a recording, such as --column source_id=path",
    "row_shape": "give every row as many cells as the header has",
    "path_outside_root": "give paths that start from --root and stay below it",
    "conflicting_id": "give the rows other ids, or ingest them into a new folder",
    "not_utf8": "save the table as UTF-8",
}
"""Remedies for the commonest reasons for rejecting rows."""
REJECTED = pa.schema(
    [
        ("source", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),  # where the row ends in a CSV, its number elsewhere
        ("rec_id", pa.string()),  # null if the row has no usable id
        ("reason_code", pa.string()),
        ("raw", pa.string()),  # JSON of the cells
        ("ingest_batch", pa.string()),
        ("retrieved_at", pa.string()),
    ]
)
"""Schema of the rejected rows of sources, which are counted apart as quarantined."""


@dataclass(frozen=True)
class Column:
    """Name of the column of a table that stands for one of ours."""

    ours: str
    theirs: str


@dataclass(frozen=True)
class SourceSettings:
    """Settings of a source of recordings."""

    kind: SourceKind
    path: Path | None = None
    """The metadata: a file, or a folder for a data pack, FMA and "folder". For "freesound" a file of ids, one a line; the
    API is searched without one. For "debian" the copyright file of a package."""
    sounds: Path | None = None
    """Folder that the paths of the sounds start from; of a folder of sounds it is that folder, of a Debian package any
    folder of the unpacked one."""
    name: str = ""
    """Source in the ids, of a folder, table or package; "folder", "debian" or the name of the table if left out."""
    prefix: str = ""
    """For "debian": place of the folder of sounds in the source package, from where the copyright file's globs start."""
    columns: tuple[Column, ...] = ()
    """For "table": columns whose names differ from ours."""
    separator: str | None = None
    """Separator between the members of a list in a table's cell; white space if left out."""
    query: str = ""
    """Freesound search; everything if left out."""
    filter: str = ""
    """Filter of a Freesound search, as Solr writes it."""
    level: Literal[1, 2, 3] = 1
    """Level of the Freesound key; sets the request limits."""

    def __post_init__(self) -> None:
        needed = {"path": self.kind != "freesound", "sounds": self.kind == "debian"}
        for name, is_needed in needed.items():
            if is_needed and getattr(self, name) is None:
                raise InvalidRequest(
                    Field(name), f" is missing; a source of the kind '{self.kind}' needs it"
                )


def open_source(settings: SourceSettings, store: Store) -> Source:
    """Return a source, ready to be ingested.

    Raises:
        InvalidRequest: its files can't be read, or the key of Freesound's API is missing.
    """
    if settings.kind == "freesound":
        return _freesound(settings, store)
    path, root = settings.path, settings.sounds
    assert path is not None
    if settings.kind == "folder":
        return FolderSource(path, source_names(settings)[0])
    if settings.kind == "debian":
        assert root is not None
        return DebianSource(path, root, source_names(settings)[0], settings.prefix)
    if settings.kind == "table":
        columns = {one.ours: one.theirs for one in settings.columns}
        name = source_names(settings)[0]
        return mapped_table(path, name, columns, separator=settings.separator, root=root)
    lists = {
        "pack": data_pack,
        "fma": fma_tracks,
        "attribution": stability_list,
    }
    return lists[settings.kind](path, root)


def _freesound(settings: SourceSettings, store: Store) -> Source:
    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise InvalidRequest(f"{KEY_VARIABLE} is not set; put your Freesound API key there")
    client = FreesoundClient(key, store.folder / "freesound_api", level=settings.level)
    if settings.path is None:
        return FreesoundSearch(client, store, settings.query, settings.filter)
    try:
        ids = settings.path.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(
            f"{settings.path} can't be read ({error}); write one id a line"
        ) from error
    return FreesoundSounds(client, store, ids)


def source_names(settings: SourceSettings) -> tuple[str, ...]:
    """Return the names, as in ids, of the sources that the recordings may have."""
    written = settings.name or (settings.path.stem if settings.path else "")
    names = {
        "pack": ("freesound",),
        "freesound": ("freesound",),
        "fma": ("fma",),
        "attribution": ("freesound", "fma"),
        "table": (written,),
        "folder": (settings.name or "folder",),
        "debian": (settings.name or "debian",),
    }
    return names[settings.kind]


def sound_roots(sources: Iterable[SourceSettings]) -> Mapping[str, Path]:
    """Return the folder of the sounds of each source that has one.

    Raises:
        InvalidRequest: one source is given two folders.
    """
    roots: dict[str, Path] = {}
    for one in sources:
        folder = one.path if one.kind == "folder" else one.sounds
        for name in source_names(one) if folder else ():
            if roots.setdefault(name, Path(folder or "")) != folder:
                raise InvalidRequest(
                    f"the sounds of '{name}' lie in two folders, {roots[name]} and {folder}; give"
                    " one that holds both"
                )
    return roots


def remember_roots(folder: Path, roots: Mapping[str, Path]) -> None:
    """Keep in the curation's folder the folders of the sounds of each source, the latest first.

    Raises:
        ResourceError: it can't be written.
    """
    known = remembered_roots(folder)
    for name, root in roots.items():
        start = os.path.relpath(os.path.realpath(root), os.path.realpath(folder))
        known[name] = [start, *(one for one in known.get(name, []) if one != start)]
    make_folder(folder)
    with whole_file(folder / ROOTS) as file:
        file.write(json.dumps(known, indent=1).encode() + b"\n")


def remembered_roots(folder: Path) -> dict[str, list[str]]:
    """Return the kept folders of the sounds of each source; raise `InvalidRequest` if the file is damaged."""
    try:
        found = parse_json((folder / ROOTS).read_bytes())
        return {str(name): [str(one) for one in roots] for name, roots in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, *SHAPE_ERRORS) as error:
        raise InvalidRequest(f"{folder / ROOTS} is damaged; remove it and give --recipe") from error


def root_of(folder: Path, source: str, path: str) -> Path | None:
    """Return the kept folder that has a sound of this source, else the curation's own; None if neither has it."""
    roots = [folder / root for root in remembered_roots(folder).get(source, [])]
    return next((root for root in [*roots, folder] if os.path.isfile(root / path)), None)


@dataclass(frozen=True)
class IngestProgress:
    """Counts of rows of one call so far: `read` = `added` + `repeated` + all of `rejected`."""

    read: int
    added: int
    repeated: int
    """Rows whose recording is stored already, with the same content."""
    rejected: Mapping[str, int]
    """Number of rows by reason code."""


def ingest_steps(store: Store, source: Source, retrieved_at: str) -> Iterator[IngestProgress]:
    """Bring a source into the store, and yield the counts after each slice, at least once.

    Raises:
        AuralithError: the source as a whole can't be read, or the store can't be written.
    """
    run = _Ingest(store, source, retrieved_at)
    rows = source.rows()
    while slice_rows := list(islice(rows, source.slice_rows)):
        yield run.add(slice_rows)
    if not run.read:
        yield run.progress()


def require_recordings(last: IngestProgress, source: Source) -> None:
    """Raise `InvalidRequest` with a remedy if every row of a source was rejected."""
    total = sum(last.rejected.values())
    if not total or total < last.read:
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(last.rejected.items()))
    found = source.columns if isinstance(source, TableSource) else ()
    named = f"; its columns are {listed(found)}" if found else ""
    remedy = _REMEDIES.get(max(last.rejected, key=last.rejected.__getitem__), "correct the rows")
    raise InvalidRequest(
        f"none of the {total} rows became a recording ({reasons}){named}; {remedy}"
    )


def ingest(store: Store, source: Source, retrieved_at: str) -> IngestProgress:
    """Bring a source into the store, and return the final counts of `ingest_steps`."""
    *_, last = ingest_steps(store, source, retrieved_at)
    return last


class _Ingest:
    """State of one call: a hash of the content for each id, and the earlier content of the store."""

    def __init__(self, store: Store, source: Source, retrieved_at: str) -> None:
        self.store, self.source, self.retrieved_at = store, source, retrieved_at
        self.read = self.added = self.repeated = 0
        self.rejected = Counter[str]()
        self.columns = tuple(n for n in RECORDINGS.names if n not in _NOT_CONTENT)
        self.seen: dict[str, int] = {}
        self.stored = _Stored(store)

    def add(self, rows: list[SourceRow]) -> IngestProgress:
        """Sort a slice of rows into new, repeated and rejected ones, and write it."""
        self._recall(rows)
        new: list[Record] = []
        rejected: list[dict[str, Any]] = []
        for row in rows:
            reason = row.reason_code or self._admit(row, new)
            if reason:
                rejected.append(self._rejection(row, reason))
        self._write(new, rejected)
        self.read += len(rows)
        return self.progress()

    def progress(self) -> IngestProgress:
        return IngestProgress(self.read, self.added, self.repeated, dict(self.rejected))

    def _admit(self, row: SourceRow, new: list[Record]) -> str | None:
        """Append a row's recording to `new` if it is new; return the reason if it must be rejected."""
        record = row.record
        assert record is not None
        content = self._content(record)
        before = self.seen.get(record["rec_id"])
        if before is None:
            if not _is_encodable(content):
                return "not_utf8"
            self.seen[record["rec_id"]] = hash(content)
            new.append(record)
            return None
        if before != hash(content):
            return "conflicting_id"
        self.repeated += 1
        return None

    def _content(self, record: Record) -> tuple[Any, ...]:
        return tuple([record.get(name) for name in self.columns])

    def _recall(self, rows: list[SourceRow]) -> None:
        """Hash the content of the stored recordings whose ids occur in these rows."""
        ids = {row.record["rec_id"] for row in rows if row.record} - self.seen.keys()
        for record in self.stored.find(ids, self.columns):
            content = {n: tuple(v) if isinstance(v, list) else v for n, v in record.items()}
            self.seen[record["rec_id"]] = hash(self._content(content))

    def _rejection(self, row: SourceRow, reason: str) -> dict[str, Any]:
        self.rejected[reason] += 1
        return {
            "source": row.record["source"] if row.record else self.source.name,
            "file": row.file.encode(errors="backslashreplace").decode(),
            "line": row.line,
            "rec_id": row.record["rec_id"] if row.record else row.rec_id,
            "reason_code": reason,
            "raw": json.dumps(row.raw, default=str),
        }

    def _write(self, new: list[Record], rejected: list[dict[str, Any]]) -> None:
        slice_id = f"{self.source.batch}-{self.source.start + self.read:09d}"
        if new:
            self.store.append("recordings", self._table(new, RECORDINGS), slice_id)
        if rejected:
            self.store.append("rejected", self._table(rejected, REJECTED), slice_id)
        self.added += len(new)

    def _table(self, rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Table:
        """Return the rows as a table, with the columns that all rows of this call share."""
        shared = {"ingest_batch": self.source.batch, "retrieved_at": self.retrieved_at}
        columns = [
            pa.repeat(pa.scalar(shared[one.name], one.type), len(rows))
            if one.name in shared
            else pa.array([row.get(one.name) for row in rows], one.type)
            for one in schema
        ]
        return pa.Table.from_arrays(columns, schema=schema)


def _is_encodable(content: tuple[Any, ...]) -> bool:
    """Return whether all text is valid Unicode: bytes that weren't UTF-8 were read as lone surrogates."""
    texts = [part for value in content for part in (value if isinstance(value, tuple) else [value])]
    try:
        "".join([text for text in texts if isinstance(text, str)]).encode()
    except UnicodeEncodeError:
        return False
    return True


class _Stored:
    """The recordings of a store; their content is read only when it is needed."""

    def __init__(self, store: Store) -> None:
        self._files = store.slices("recordings")
        self._file_of: dict[str, int] = {}
        for number, path in enumerate(self._files):
            for id in read_slice(path, ["rec_id"])["rec_id"].to_pylist():
                self._file_of[id] = number

    def find(self, ids: set[str], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Yield the stored recordings among these ids, as rows of these columns."""
        stored = sorted(id for id in ids if id in self._file_of)
        for number in sorted({self._file_of[id] for id in stored}):
            table = read_slice(self._files[number], ["rec_id", *columns])
            is_wanted = compute.is_in(table["rec_id"], value_set=pa.array(stored, pa.string()))
            yield from table.filter(is_wanted).select(list(columns)).to_pylist()
