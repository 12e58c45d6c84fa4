"""The metadata search: similarity of two tracks, the tiers A–E that follow from it, and the step "metadata" of a curation.

    A  artist and title equal
    B  both nearly equal
    C  artist equal, title not
    D  title nearly equal and distinctive (three words, or a rare one), artist similar
    E  artist and album equal

Scores are of rapidfuzz, from 0 to 100. No title matches alone: every rule has a condition on the artist. Artists with the
same words in another order are equal. Every match goes to people, whatever its tier; none removes a recording. A recording
without an artist, or without a title and with an artist that is not listed, is "indeterminate" and goes to people too.
Recordings of other sources are skipped.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int

from auralith.curation.metadata.catalogue import (
    Blocks,
    Catalogue,
    Spelling,
    Work,
    file_sha256,
    read_catalogue,
    sorted_words,
    spellings,
)
from auralith.curation.metadata.normalize import normalize
from auralith.curation.stage import Finding, Row
from auralith.extras import require
from auralith.numbers import check_integer

Tier = Literal["A", "B", "D", "E", "C"]
TIERS: tuple[Tier, ...] = get_args(Tier)
"""Tiers from the strongest to the weakest, which is the order of review."""
_SAME_DURATION_SECONDS = 3.0
_NOTHING = [np.zeros(0, dtype) for dtype in (np.int64, np.int64, np.float64, np.float64, np.int64)]
_RULES_VERSION = "1"
"""Changes whenever the same catalogue would give other matches."""


@dataclass(frozen=True)
class TierOptions:
    """Thresholds of the rules, for scores from 0 to 100."""

    near: float = 90.0
    """Tier B: least `ratio` of both artist and title."""
    near_title: float = 95.0
    """Tier D: least `ratio` of the title."""
    min_title_words: int = 3
    """Tier D: least number of words of the title, unless it has a rare word."""
    idf_cut: float = 9.0
    """Tier D: least log(titles / titles with the word) of a rare word; 9 means one title in 8,103."""
    similar_artist: float = 60.0
    """Tier D: least `token_set_ratio` of the artist."""


@dataclass(frozen=True, slots=True)
class TrackMatch:
    """A track of the catalogue that a recording may be, with the evidence for it."""

    ref_id: str
    tier: Tier
    artist_score: float
    title_score: float
    duration_delta_s: float | None
    """Duration of the reference minus that of the recording; None unless both state one."""
    flags: tuple[str, ...]
    """"same_duration" (within 3 s), and parts that were moved aside in either title: "query_live", "ref_remaster"."""
    ref_title: str
    ref_artist: str
    ref_album: str

    @property
    def score(self) -> float:
        """Return the mean of both scores, 0 to 100."""
        return round((self.artist_score + self.title_score) / 2, 2)


@dataclass(frozen=True)
class SearchResult:
    """Result of a search for one recording."""

    matches: list[TrackMatch]
    total: int
    """Number of all matches; `matches` may hold only the strongest."""


@dataclass(frozen=True)
class ScoredPairs:
    """Pairs of works that share a block, with the scores of their best spellings; sorted by query and reference."""

    query: Int[np.ndarray, " pair"]
    reference: Int[np.ndarray, " pair"]
    artist_score: Float[np.ndarray, " pair"]
    title_score: Float[np.ndarray, " pair"]
    rank: Int[np.ndarray, " pair"]
    """Position in `TIERS`, or `len(TIERS)` if no rule holds."""


@dataclass
class Searcher:
    """A catalogue prepared for searching; takes about 3 KB per track."""

    catalogue: Catalogue
    options: TierOptions = field(default_factory=TierOptions)

    def __post_init__(self) -> None:
        listed = spellings(self.catalogue.works)
        self._blocks = Blocks(listed)
        self._listed = _Columns.of(listed)
        self._distinctive = np.array(
            [self._is_distinctive(one.title) for one in listed], dtype=bool
        )

    def _is_distinctive(self, title: str) -> bool:
        words = len(title.split())
        return words >= self.options.min_title_words or (
            words > 0 and self._blocks.words.idf(title) >= self.options.idf_cut
        )

    def search(self, works: Sequence[Work], limit: int | None = None) -> list[SearchResult]:
        """Return the matches of each work, at most `limit` each, the strongest first and ties in the catalogue's order."""
        pairs = self.pairs(works)
        scores = pairs.artist_score + pairs.title_score
        order = np.lexsort((pairs.reference, -scores, pairs.rank, pairs.query))
        order = order[pairs.rank[order] < len(TIERS)]
        totals = np.bincount(pairs.query[order], minlength=len(works))
        starts = np.cumsum(totals) - totals
        return [
            SearchResult(
                [self._match(work, pairs, int(i)) for i in order[start : start + total][:limit]],
                int(total),
            )
            for work, start, total in zip(works, starts, totals, strict=True)
        ]

    def _match(self, work: Work, pairs: ScoredPairs, i: int) -> TrackMatch:
        reference = self.catalogue.works[pairs.reference[i]]
        delta = duration_delta(work, reference)
        return TrackMatch(
            ref_id=reference.id,
            tier=TIERS[pairs.rank[i]],
            artist_score=round(float(pairs.artist_score[i]), 2),
            title_score=round(float(pairs.title_score[i]), 2),
            duration_delta_s=delta,
            flags=match_flags(work, reference, delta),
            ref_title=reference.title,
            ref_artist=reference.artist,
            ref_album=reference.album,
        )

    def pairs(self, works: Sequence[Work]) -> ScoredPairs:
        """Return every pair that shares a block, whatever its scores."""
        listed = spellings(works)
        queries = _Columns.of(listed)
        portions = [self._score(queries, *pairs) for pairs in self._blocks.pairs(listed)]
        columns = [np.concatenate(column) for column in zip(*portions, strict=True)] or _NOTHING
        return _best_spelling(*columns)

    def _score(
        self,
        queries: "_Columns",
        query: Int[np.ndarray, " pair"],
        listed: Int[np.ndarray, " pair"],
    ) -> tuple[np.ndarray, ...]:
        """Return works, scores and rank of each pair of spellings; one pair of works may have several."""
        left, right = queries.at(query), self._listed.at(listed)
        artist = np.maximum(
            _ratio(left.artist, right.artist), _ratio(left.sorted_artist, right.sorted_artist)
        )
        title = _ratio(left.title, right.title)
        album_equal = (left.album == right.album) & (left.album != "")
        similar = self._similar_artists(left, right, title)
        rank = self._rank(artist, title, album_equal, similar & self._distinctive[listed])
        return left.work, right.work, artist, title, rank

    def _similar_artists(
        self, left: "_Columns", right: "_Columns", title: Float[np.ndarray, " pair"]
    ) -> Bool[np.ndarray, " pair"]:
        """Return where the artist fulfills tier D; computed only where the title does."""
        fuzz = require("rapidfuzz.fuzz", "curate")
        similar = np.zeros(len(title), dtype=bool)
        near = np.flatnonzero(title >= self.options.near_title)
        scores = _scores(left.artist[near], right.artist[near], fuzz.token_set_ratio)
        similar[near] = scores >= self.options.similar_artist
        return similar

    def _rank(
        self,
        artist: Float[np.ndarray, " pair"],
        title: Float[np.ndarray, " pair"],
        album_equal: Bool[np.ndarray, " pair"],
        distinctive_title: Bool[np.ndarray, " pair"],
    ) -> Int[np.ndarray, " pair"]:
        artist_equal, title_equal = artist == 100, title == 100
        near = (artist >= self.options.near) & (title >= self.options.near)
        rules = [
            artist_equal & title_equal,
            near,
            distinctive_title,
            artist_equal & album_equal,
            artist_equal,
        ]
        return np.select(rules, list(range(len(TIERS))), default=len(TIERS))


def _best_spelling(
    query: np.ndarray,
    reference: np.ndarray,
    artist: np.ndarray,
    title: np.ndarray,
    rank: np.ndarray,
) -> ScoredPairs:
    order = np.lexsort((-(artist + title), rank, reference, query))
    query, reference = query[order], reference[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (query[1:] != query[:-1]) | (reference[1:] != reference[:-1])
    kept = order[first]
    return ScoredPairs(query[first], reference[first], artist[kept], title[kept], rank[kept])


@dataclass(frozen=True)
class _Columns:
    """Spellings as arrays (of strings, except `work`), to select from by position."""

    work: Int[np.ndarray, " spelling"]
    artist: np.ndarray
    sorted_artist: np.ndarray
    title: np.ndarray
    album: np.ndarray

    @classmethod
    def of(cls, listed: Sequence[Spelling]) -> "_Columns":
        return cls(
            np.array([one.work for one in listed], dtype=np.int64),
            np.array([one.artist for one in listed], dtype=object),
            np.array([sorted_words(one.artist) for one in listed], dtype=object),
            np.array([one.title for one in listed], dtype=object),
            np.array([one.album for one in listed], dtype=object),
        )

    def at(self, positions: Int[np.ndarray, " pair"]) -> "_Columns":
        return _Columns(*(column[positions] for column in vars(self).values()))


def _ratio(left: np.ndarray, right: np.ndarray) -> Float[np.ndarray, " pair"]:
    """Return the `ratio` of each pair, 0 if either side is empty: empty texts are not equal."""
    fuzz = require("rapidfuzz.fuzz", "curate")
    return np.where((left != "") & (right != ""), _scores(left, right, fuzz.ratio), 0.0)


def _scores(
    left: np.ndarray, right: np.ndarray, scorer: Callable[..., float]
) -> Float[np.ndarray, " pair"]:
    process = require("rapidfuzz.process", "curate")
    return process.cpdist(left.tolist(), right.tolist(), scorer=scorer, dtype=np.float64)


def duration_delta(work: Work, reference: Work) -> float | None:
    """Return the duration of the reference minus that of the work in seconds; None unless both have one."""
    if work.seconds is None or reference.seconds is None:
        return None
    return round(reference.seconds - work.seconds, 3)


def match_flags(work: Work, reference: Work, delta: float | None) -> tuple[str, ...]:
    """Return further evidence about a pair, for reviewers."""
    same = ["same_duration"] if delta is not None and abs(delta) < _SAME_DURATION_SECONDS else []
    query = [f"query_{flag}" for flag in normalize(work.title).flags]
    listed = [f"ref_{flag}" for flag in normalize(reference.title).flags]
    return (*same, *query, *listed)


@dataclass(frozen=True)
class MetadataSettings:
    """Settings of the metadata search."""

    sources: tuple[str, ...] = ("fma",)
    """Sources whose recordings are searched for."""
    max_matches: int = 20
    """Number of matches kept as evidence for a recording, the strongest first; all are counted."""
    tiers: TierOptions = field(default_factory=TierOptions)

    def __post_init__(self) -> None:
        check_integer(self, "max_matches", 1)


@dataclass
class MetadataStage:
    """The search as a step; each process reads the catalogue once, at the first call."""

    settings: MetadataSettings
    catalogue: Path
    """CSV file in the Spotify-tracks schema."""
    name: str = field(default="metadata", init=False)
    provider: str = field(default="catalogue", init=False)
    provider_version: str = field(init=False)
    """Version of the rules and of the list (the beginning of its SHA-256), wherever the list lies."""
    inputs: tuple[str, ...] = field(
        default=("source", "title", "author", "album", "duration_s"), init=False
    )

    def __post_init__(self) -> None:
        """Raise `ResourceError` if the catalogue can't be opened."""
        self.provider_version = f"{_RULES_VERSION}-{file_sha256(self.catalogue)[:12]}"

    @property
    def schema(self) -> pa.Schema:
        return pa.schema(
            [
                ("tier", pa.string()),
                ("ref_id", pa.string()),
                ("num_matches", pa.int32()),
                ("matches", pa.list_(pa.struct(_match_fields()))),
            ]
        )

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        """Return a finding for each row. Raises as `read_catalogue` does, before the first one."""
        searcher = _searcher(self.catalogue, self.provider_version, self.settings.tiers)
        works = [_work(row) for row in rows]
        asked = [i for i, row in enumerate(rows) if row["source"] in self.settings.sources]
        answers = searcher.search([works[i] for i in asked], self.settings.max_matches)
        found = dict(zip(asked, answers, strict=True))
        return [
            self._finding(works[i], found[i]) if i in found else Finding("skipped", "pass")
            for i in range(len(rows))
        ]

    def _finding(self, work: Work, found: SearchResult) -> Finding:
        columns = {
            "num_matches": found.total,
            "matches": [{**asdict(match), "flags": list(match.flags)} for match in found.matches],
        }
        if not found.matches:
            if work.title and work.artist:
                return Finding("ok", "pass", columns=columns)
            return Finding("indeterminate", "flag", "metadata_incomplete", columns=columns)
        best = found.matches[0]
        columns |= {"tier": best.tier, "ref_id": best.ref_id}
        return Finding("ok", "flag", f"metadata_{best.tier.lower()}", best.score, columns)


@lru_cache(maxsize=2)
def _searcher(catalogue: Path, version: str, options: TierOptions) -> Searcher:
    """Return the catalogue of a version, kept from slice to slice."""
    return Searcher(read_catalogue(catalogue), options)


def _work(row: Row) -> Work:
    return Work(
        id=row.get("rec_id") or "",
        title=(row["title"] or "").strip(),
        artist=(row["author"] or "").strip(),
        album=(row["album"] or "").strip(),
        seconds=row["duration_s"],
    )


def _match_fields() -> list[tuple[str, pa.DataType]]:
    kinds = {
        **dict.fromkeys(("ref_id", "tier"), pa.string()),
        **dict.fromkeys(("artist_score", "title_score", "duration_delta_s"), pa.float64()),
        "flags": pa.list_(pa.string()),
        **dict.fromkeys(("ref_title", "ref_artist", "ref_album"), pa.string()),
    }
    return list(kinds.items())
