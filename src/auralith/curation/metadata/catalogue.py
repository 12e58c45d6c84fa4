"""The list of commercial music in the Spotify-tracks schema, and its index by blocks, which selects the pairs worth comparing.

The list is a CSV file with a row for each track and genre. A track that repeats over genres becomes one entry; a track id
with several titles or artists is kept under each, since any may be the true one. A row that cannot be searched for (without
id or artist, with missing cells) is left out and counted under its reason, and the first such lines are named. Columns
that the search does not use are not read.

    artist      equal artists
    words       equal words of the artist in any order ("Smith, John")
    consonants  equal first eight consonants of the artist, for differing vowels and later typos
    title       equal rarest word of the title, for artists that are spelled very differently

Two tracks are compared if they share one of these blocks. A track has one spelling per artist and one for all of them
together, and again in Latin letters if it has others: each is a `Spelling`, and pairs are pairs of spellings.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int
from pyarrow import csv as arrow_csv

from auralith.curation.metadata.normalize import normalize, normalize_latin
from auralith.errors import InvalidRequest, ResourceError
from auralith.files import cached_file_hash

REQUIRED = ("track_id", "artists", "album_name", "track_name")
_DURATION = "duration_ms"
_NAMED_LINES = 5
"""Number of bad lines that a report names."""
_VOWELS = frozenset("aeiouyаеиоуыэюяіїєαεηιουω ")
_NUM_CONSONANTS = 8
_MAX_PAIRS = 1 << 20
"""Pairs that are compared at a time, which bounds memory."""


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
        return arrow_csv.read_csv(
            path,
            read_options=arrow_csv.ReadOptions(use_threads=False),
            parse_options=arrow_csv.ParseOptions(
                newlines_in_values=True, invalid_row_handler=leave_out
            ),
            convert_options=arrow_csv.ConvertOptions(
                include_columns=columns, column_types=dict.fromkeys(columns, pa.string())
            ),
        )
    except OSError as error:
        raise _unreadable(path, error) from error
    except pa.ArrowInvalid as error:
        raise InvalidRequest(
            f"the catalogue {path} is not a CSV table in UTF-8 ({error}); correct it"
        ) from error


def _header(path: Path) -> list[str]:
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


@dataclass(frozen=True, slots=True)
class Spelling:
    """One spelling of a work. Artist, title and album are empty if they hold nothing to compare."""

    work: int
    """Position of the work in its list."""
    artist: str
    title: str
    album: str


def spellings(works: Sequence[Work]) -> list[Spelling]:
    """Return the distinct spellings of each work, in order."""
    return [
        spelling
        for position, work in enumerate(works)
        for spelling in dict.fromkeys(_spellings_of(position, work))
    ]


def _spellings_of(position: int, work: Work) -> Iterator[Spelling]:
    for form in (normalize, normalize_latin):
        title, album = form(work.title).comparable, form(work.album).comparable
        names = [form(name).comparable for name in work.artist.split(";")]
        for artist in filter(None, (*names, " and ".join(filter(None, names)))):
            yield Spelling(position, artist, title, album)


class TitleWords:
    """Frequencies of the words in a list's titles."""

    def __init__(self, listed: Sequence[Spelling]) -> None:
        titles = {(one.work, one.title) for one in listed}
        self._num_titles = len(titles)
        self._counts = Counter(word for _, title in titles for word in set(title.split()))

    def rarest(self, title: str) -> str:
        """Return the title's rarest word that occurs in the list; empty if none does."""
        known = [word for word in title.split() if word in self._counts]
        return min(known, key=lambda word: (self._counts[word], word), default="")

    def idf(self, title: str) -> float:
        """Return log(titles / titles with the word) of the rarest word, in nats; 0 for a title without known words."""
        word = self.rarest(title)
        return log(self._num_titles / self._counts[word]) if word else 0.0


def sorted_words(text: str) -> str:
    return " ".join(sorted(text.split()))


def consonants(artist: str) -> str:
    """Return the first eight consonants and digits; empty without any."""
    return "".join(sign for sign in artist if sign not in _VOWELS)[:_NUM_CONSONANTS]


class Blocks:
    """A list of spellings, indexed by block; `pairs` joins another list to it."""

    def __init__(self, listed: Sequence[Spelling]) -> None:
        self.words = TitleWords(listed)
        self._postings = [_Postings(keys) for keys in self._keys(listed)]

    def _keys(self, listed: Sequence[Spelling]) -> Iterator[list[str]]:
        yield [one.artist for one in listed]
        yield [sorted_words(one.artist) for one in listed]
        yield [consonants(one.artist) for one in listed]
        yield [self.words.rarest(one.title) for one in listed]

    def pairs(
        self, queries: Sequence[Spelling]
    ) -> Iterator[tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]]:
        """Yield the positions (query, listed) of all pairs that share a block, each once, in bounded portions."""
        found = [
            postings.find(keys)
            for postings, keys in zip(self._postings, self._keys(queries), strict=True)
        ]
        sizes = np.stack([ranges.sizes for ranges in found]).sum(axis=0)
        for start, stop in _portions(sizes):
            joined = [ranges.expand(start, stop) for ranges in found]
            query = np.concatenate([each[0] for each in joined])
            listed = np.concatenate([each[1] for each in joined])
            codes = np.unique(query << 32 | listed)
            yield codes >> 32, codes & 0xFFFFFFFF


def _portions(sizes: Int[np.ndarray, " query"]) -> Iterator[tuple[int, int]]:
    """Yield ranges of queries with about `_MAX_PAIRS` pairs each, or a single query."""
    portion = np.cumsum(sizes) // _MAX_PAIRS
    starts = np.flatnonzero(np.diff(portion, prepend=-1))
    yield from pairwise([*starts.tolist(), len(sizes)])


class _Postings:
    """Positions grouped by key: one array, and the range of each key."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._codes = {key: code for code, key in enumerate(dict.fromkeys(filter(None, keys)))}
        codes = np.fromiter((self._codes.get(key, -1) for key in keys), np.int64, len(keys))
        order = np.argsort(codes, kind="stable")
        self._positions = order[np.searchsorted(codes[order], 0) :]
        self._starts = np.searchsorted(codes[self._positions], np.arange(len(self._codes) + 1))

    def find(self, keys: Sequence[str]) -> "_Ranges":
        codes = np.fromiter((self._codes.get(key, -1) for key in keys), np.int64, len(keys))
        known: Bool[np.ndarray, " query"] = codes >= 0
        starts = np.where(known, self._starts[codes], 0)
        stops = np.where(known, self._starts[codes + 1], 0)
        return _Ranges(self._positions, starts, stops - starts)


@dataclass(frozen=True)
class _Ranges:
    """The range of positions that share the block of each query."""

    positions: Int[np.ndarray, " position"]
    starts: Int[np.ndarray, " query"]
    sizes: Int[np.ndarray, " query"]

    def expand(
        self, start: int, stop: int
    ) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
        sizes = self.sizes[start:stop]
        query = np.repeat(np.arange(start, stop), sizes)
        within = np.arange(len(query)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return query, self.positions[np.repeat(self.starts[start:stop], sizes) + within]
