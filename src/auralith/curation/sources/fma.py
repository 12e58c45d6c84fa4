"""The Free Music Archive's metadata: `raw_tracks.csv` (the crawl, with license URLs) and `tracks.csv` (three header lines).

Lists are Python literals in the files and are parsed as such, never evaluated. Sounds lie at `<id // 1000>/<id>.mp3`,
with three and six digits; a recording gets a path only if the file is there.
"""

import ast
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from auralith.curation.sources.records import (
    FMA,
    BadRow,
    Record,
    fma_path,
    identity,
    seconds,
    text_of,
    words,
    year,
)
from auralith.curation.sources.tables import TableSource, batch_of
from auralith.errors import InvalidRequest
from auralith.tables import read_rows

_RAW_REQUIRED = ("track_id", "track_title", "artist_name", "license_title", "license_url")
_REQUIRED = ("track_id", "track.title", "artist.name", "track.license")
_LONGEST_LITERAL = 100_000
"""Longest literal in characters; Python's parser needs some hundred times as much memory."""


def fma_tracks(path: Path, root: Path | None = None) -> TableSource:
    """Return a source of `raw_tracks.csv`, `tracks.csv`, or the folder with them; of both the first, with license URLs.

    Raises:
        InvalidRequest: the folder has neither.
    """
    file = _chosen(path)
    names = _genre_names(file.with_name("genres.csv"))
    raw = _is_raw(file)

    def convert(cells: Mapping[str, Any]) -> Record:
        return raw_record(cells, root) if raw else track_record(cells, names, root)

    required, header_lines = (_RAW_REQUIRED, 1) if raw else (_REQUIRED, 3)
    return TableSource(batch_of("fma", [file]), FMA, [file], convert, required, header_lines)


def _chosen(path: Path) -> Path:
    if not path.is_dir():
        return path
    for name in ("raw_tracks.csv", "tracks.csv"):
        if (path / name).is_file():
            return path / name
    raise InvalidRequest(f"{path} holds neither raw_tracks.csv nor tracks.csv; give one of them")


def _is_raw(file: Path) -> bool:
    """Return whether a file is the crawl: its first line names the ids, that of tracks.csv begins blank."""
    try:
        with file.open(encoding="utf-8-sig", errors="replace") as opened:
            return opened.readline().startswith(("track_id,", '"track_id"'))
    except OSError as error:
        raise InvalidRequest(f"{file} can't be read ({error.strerror or error})") from error


def _genre_names(file: Path) -> dict[str, str]:
    """Return the titles by genre id; empty without the file."""
    if not file.is_file():
        return {}
    rows = read_rows(file, ("genre_id", "title"))
    return {r.cells["genre_id"]: r.cells["title"] for r in rows if r.problem is None}


def raw_record(cells: Mapping[str, Any], root: Path | None) -> Record:
    """Return the recording of a row of raw_tracks.csv."""
    record = identity(FMA, cells.get("track_id"))
    genres = literal(cells.get("track_genres"))
    created = _iso(text_of(cells, "track_date_created"))
    return record | {
        "path": fma_path(record["source_id"], root),
        "url": text_of(cells, "track_url"),
        "title": text_of(cells, "track_title"),
        "author": text_of(cells, "artist_name"),
        "author_url": text_of(cells, "artist_url"),
        "tags": words(literal(cells.get("tags"))),
        "description": text_of(cells, "track_information"),
        "album": text_of(cells, "album_title"),
        "genres": words([one.get("genre_title") for one in genres if isinstance(one, dict)]),
        "year": year(cells.get("track_date_recorded")),
        "created": created,
        "license_raw": text_of(cells, "license_title"),
        "license_url_raw": text_of(cells, "license_url"),
        "duration_s": seconds(cells.get("track_duration")),
    }


def track_record(cells: Mapping[str, Any], names: Mapping[str, str], root: Path | None) -> Record:
    """Return the recording of a row of tracks.csv with columns `level.name`; genre ids without a name are left out."""
    record = identity(FMA, cells.get("track_id"))
    ids = [str(id) for id in literal(cells.get("track.genres"))]
    genres = [names[id] for id in ids if id in names] or [text_of(cells, "track.genre_top")]
    return record | {
        "path": fma_path(record["source_id"], root),
        "title": text_of(cells, "track.title"),
        "author": text_of(cells, "artist.name"),
        "tags": words(literal(cells.get("track.tags"))),
        "description": text_of(cells, "track.information"),
        "album": text_of(cells, "album.title"),
        "genres": words(genres),
        "year": year(cells.get("track.date_recorded") or cells.get("album.date_released")),
        "created": text_of(cells, "track.date_created"),
        "license_raw": text_of(cells, "track.license"),
        "duration_s": seconds(cells.get("track.duration")),
    }


def literal(written: object) -> list[Any]:
    """Return a list written as a Python literal; empty if the cell is blank. Raises `BadRow` for anything else."""
    if not isinstance(written, str) or not written.strip():
        return []
    if written in ("[]", "nan"):
        return []
    if len(written) > _LONGEST_LITERAL:
        raise BadRow("bad_list")
    try:
        value = ast.literal_eval(written)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise BadRow("bad_list") from error
    if not isinstance(value, list):
        raise BadRow("bad_list")
    return value


def _iso(written: str | None) -> str | None:
    """Return the crawl's `11/26/2008 01:48:12 AM` as ISO 8601, and anything else unchanged."""
    try:
        return datetime.strptime(written or "", "%m/%d/%Y %I:%M:%S %p").isoformat()
    except ValueError:
        return written
