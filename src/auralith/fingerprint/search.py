"""Find the references of an index that a query contains, each with the probability that chance aligns as much.

The query is cut into windows of half a minute; each window names the references that share surprisingly many hashes with
it at one offset. The whole query is then aligned with each of them (`votes`), and the probability is corrected for every
offset and drift of every reference. A reference may occur several times: the best alignment becomes an occurrence, and
the rest of the query is aligned again.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from auralith.fingerprint.index import LandmarkIndex
from auralith.fingerprint.landmark import PARAMETERS, Landmarks
from auralith.fingerprint.significance import corrected
from auralith.fingerprint.votes import DRIFTS, Alignment, Hits, best_alignment, candidates

_WINDOW_FRAMES = PARAMETERS.segment_frames
_CANDIDATES = 100
"""References that are aligned for each window of the query."""
_MAX_OCCURRENCES = 16
"""Occurrences of one reference in a query."""


@dataclass(frozen=True)
class SearchOptions:
    """Settings that decide when an alignment counts as an occurrence."""

    alpha: float = 1e-9
    """Largest corrected probability."""
    min_seconds: float = 3.0
    """Shortest aligned stretch."""


@dataclass(frozen=True)
class Occurrence:
    """A stretch of a query that is a stretch of a reference; times and durations are in seconds."""

    ref_id: str
    query_start_s: float
    duration_s: float
    reference_start_s: float
    votes: int
    """Anchor frames that agree."""
    p_value: float
    """Probability that chance aligns as much anywhere in the index."""


def search(
    index: LandmarkIndex, query: Landmarks, options: SearchOptions | None = None
) -> list[Occurrence]:
    """Return the occurrences of references in a query, the least probable under chance first.

    Raises:
        InvalidRequest: the index is damaged.
    """
    options = options or SearchOptions()
    occurrences = [
        occurrence
        for reference, hits in _by_reference(list(_windows(index, query)))
        for occurrence in _occurrences(index, query, reference, hits, options)
    ]
    return sorted(occurrences, key=lambda one: (one.p_value, -one.votes))


def _windows(index: LandmarkIndex, query: Landmarks) -> Iterator[Hits]:
    """Yield, for each window of the query, its hits with the window's candidates."""
    for start in range(0, query.num_frames, _WINDOW_FRAMES):
        size = min(_WINDOW_FRAMES, query.num_frames - start)
        window = slice(*np.searchsorted(query.frames, (start, start + size)))
        hashes, frames = query.hashes[window], query.frames[window]
        place, references, reference_frames = index.postings(hashes)
        hits = Hits(hashes[place], references, frames[place], reference_frames)
        named = candidates(hits, (start, size), index.num_frames, _CANDIDATES)
        yield hits.where(np.isin(references, named))


def _by_reference(windows: Sequence[Hits]) -> Iterator[tuple[int, Hits]]:
    """Yield each reference with its hits in all windows."""
    if not windows:
        return
    columns = zip(*(vars(hits).values() for hits in windows), strict=True)
    hits = Hits(*(np.concatenate(column) for column in columns))
    hits = hits.where(np.argsort(hits.references, kind="stable"))
    different, starts, counts = np.unique(hits.references, return_index=True, return_counts=True)
    for reference, start, count in zip(different, starts, counts, strict=True):
        yield int(reference), hits.where(slice(start, start + count))


def _occurrences(
    index: LandmarkIndex, query: Landmarks, reference: int, hits: Hits, options: SearchOptions
) -> Iterator[Occurrence]:
    """Yield the occurrences of one reference, whose hits these are."""
    lengths = query.num_frames, int(index.num_frames[reference])
    min_frames = math.ceil(options.min_seconds / PARAMETERS.seconds_per_frame)
    trials = len(DRIFTS) * int((query.num_frames + index.num_frames - 1).sum())
    max_log_p = math.log(options.alpha) - math.log(trials)
    ref_id = index.references[reference].ref_id
    for _ in range(_MAX_OCCURRENCES):
        best = best_alignment(hits, *lengths, min_frames, max_log_p)
        if best is None:
            return
        yield _occurrence(ref_id, best, corrected(best.log_p, trials))
        hits = hits.where((hits.query_frames < best.start) | (hits.query_frames >= best.stop))


def _occurrence(ref_id: str, alignment: Alignment, p_value: float) -> Occurrence:
    seconds = PARAMETERS.seconds_per_frame
    return Occurrence(
        ref_id=ref_id,
        query_start_s=alignment.start * seconds,
        duration_s=(alignment.stop - alignment.start) * seconds,
        reference_start_s=max(0.0, alignment.reference_start * seconds),
        votes=alignment.votes,
        p_value=p_value,
    )
