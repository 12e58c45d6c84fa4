"""The list of commercial music in the Spotify-tracks schema: a CSV file with a row for each track and genre.

A track that repeats over genres becomes one entry; a track id with several titles or artists is kept under each, since
any may be the true one. A row that can't be searched for (no id, no artist, missing cells) is left out and counted under
its reason, and the first such lines are named. Columns that the search doesn't use are not read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auralith.errors import InvalidRequest, ResourceError
from auralith.extras import require
from auralith.files import cached_file_hash

REQUIRED = ("track_id", "artists", "album_name", "track_name")
_DURATION = "duration_ms"
_NAMED_LINES = 5
"""Number of bad lines that a report names."""


@dataclass(frozen=True, slots=True)
class Work:
    """A track in the spelling of its list."""

    id: str
    title: str
    artist: str
    """Artists, joined by ";"."""
    album: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Catalogue:
    """The distinct tracks of a list, with counts of its rows."""

    works: tuple[Work, ...]
    num_rows: int
    duplicates: int = 0
    """Rows that repeat the track of another row."""
    conflicting_ids: int = 0
    """Track ids with more than one title, artist, album or duration."""
    bad: dict[str, int] = field(default_factory=dict)
    """Number of rows left out, by reason."""
    bad_lines: tuple[str, ...] = ()
    """Descriptions of the first rows left out: "row 12: no artist"."""

    def summary(self) -> str:
        """Return a line for people."""
        left_out = ", ".join(
            f"{count} rows left out: {reason}" for reason, count in self.bad.items()
        )
        named = f" ({'; '.join(self.bad_lines)})" if self.bad_lines else ""
        return (
            f"{len(self.works)} tracks in {self.num_rows} rows, {self.duplicates} repeated"
            + (
                f", {self.conflicting_ids} ids with differing entries"
                if self.conflicting_ids
                else ""
            )
            + (f", {left_out}{named}" if left_out else "")
        )


def read_catalogue(path: Path) -> Catalogue:
    """Return the catalogue in a CSV file (UTF-8, commas, a header line).

    Raises:
        ResourceError: the file can't be opened.
        InvalidRequest: it isn't such a table, lacks a column, or has no usable row.
    """
    broken: list[tuple[int, str]] = []
    table = _read_csv(path, broken)
    rows = _rows(table.to_pydict(), table.num_rows)
    catalogue = collect(rows, broken, str(path))
    if not catalogue.works:
        raise InvalidRequest(
            f"{path} has no row with a track_id and an artist; give a list of tracks"
        )
    return catalogue


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a catalogue's bytes, in hexadecimal. Raises `ResourceError` if it can't be opened."""
    try:
        return cached_file_hash(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> ResourceError:
    return ResourceError(
        f"the catalogue {path} can't be read ({error.strerror or error}); name a CSV file in the Spotify-tracks schema"
    )


def _read_csv(path: Path, broken: list[tuple[int, str]]) -> Any:
    arrow, csv = require("pyarrow", "curate"), require("pyarrow.csv", "curate")

    def leave_out(row: Any) -> str:
        broken.append(
            (row.number, f"{row.actual_columns} cells where the header has {row.expected_columns}")
        )
        return "skip"

    names = _header(path)
    columns = [name for name in (*REQUIRED, _DURATION) if name in names]
    if missing := [name for name in REQUIRED if name not in names]:
        raise InvalidRequest(
            f"the catalogue {path} has no column {', '.join(missing)}; the Spotify-tracks schema has"
            f" {', '.join(REQUIRED)} and {_DURATION}"
        )
    try:
        return csv.read_csv(
            path,
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(newlines_in_values=True, invalid_row_handler=leave_out),
            convert_options=csv.ConvertOptions(
                include_columns=columns, column_types=dict.fromkeys(columns, arrow.string())
            ),
        )
    except OSError as error:
        raise _unreadable(path, error) from error
    except arrow.ArrowInvalid as error:
        raise InvalidRequest(
            f"the catalogue {path} is not a CSV table in UTF-8 ({error}); correct it"
        ) from error


def _header(path: Path) -> list[str]:
    import csv

    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), [])
    except OSError as error:
        raise _unreadable(path, error) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidRequest(
            f"the catalogue {path} is not a CSV table in UTF-8 ({error}); correct it"
        ) from error


def _rows(columns: dict[str, list[str | None]], count: int) -> Iterator[Work]:
    lengths = columns.get(_DURATION) or [None] * count
    for id, artist, album, title, length in zip(
        *(columns[name] for name in REQUIRED), lengths, strict=True
    ):
        yield Work(
            (id or "").strip(),
            (title or "").strip(),
            (artist or "").strip(),
            (album or "").strip(),
            _seconds(length),
        )


def _seconds(milliseconds: str | None) -> float | None:
    try:
        seconds = float(milliseconds or "") / 1000
    except ValueError:
        return None
    return seconds if 0 < seconds < 1e6 else None


def collect(
    rows: Iterable[Work], broken: Iterable[tuple[int, str]] = (), place: str = "the catalogue"
) -> Catalogue:
    """Return the distinct works of rows; `broken` lists lines (the header is 1) that could not be read, with reasons."""
    distinct: dict[Work, None] = {}
    bad: list[tuple[int, str]] = []
    count = 0
    for count, work in enumerate(rows, 1):
        if reason := _reason_against(work):
            bad.append((count + 1, reason))
        else:
            distinct[work] = None
    broken = list(broken)
    reasons = Counter(["another number of cells than the header"] * len(broken))
    reasons.update(reason for _, reason in bad)
    ids = Counter(work.id for work in distinct)
    return Catalogue(
        works=tuple(distinct),
        num_rows=count + len(broken),
        duplicates=count - len(bad) - len(distinct),
        conflicting_ids=sum(number > 1 for number in ids.values()),
        bad=dict(reasons),
        bad_lines=tuple(
            f"row {line}: {why}" for line, why in sorted([*broken, *bad])[:_NAMED_LINES]
        ),
    )


def _reason_against(work: Work) -> str | None:
    if not work.id:
        return "no track_id"
    return None if work.artist else "no artist, and no track is found by its title alone"
