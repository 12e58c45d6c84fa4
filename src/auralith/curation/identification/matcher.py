"""The built-in backend: landmarks of a sound against an index, each match with the probability of such an alignment.

Half a minute of the query at a time names the references that share surprisingly many hashes with it at one offset.
With each of them the whole query is aligned (`votes`); the probability is corrected for every offset and drift of every
reference. A reference may be there several times: of alignments that overlap in the query the surest is a match, and
what is left of the query is aligned again.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auralith.curation.identification.answers import found, untellable
from auralith.curation.identification.index import LandmarkIndex
from auralith.curation.identification.interface import (
    AudioRef,
    Fingerprint,
    Identification,
    Match,
    ProviderInfo,
)
from auralith.curation.identification.landmark import PARAMETERS, Landmarks, read_landmarks
from auralith.curation.identification.significance import corrected
from auralith.curation.identification.votes import (
    DRIFTS,
    Alignment,
    Hits,
    best_alignment,
    candidates,
)
from auralith.errors import AudioError

PROVIDER = "landmark"
_VERSION = 2
"""Goes up whenever the same sounds may get other answers."""
MIN_SECONDS = 3.0
_EDGE_SECONDS = 1.0
"""That the stretch which landmarks align may be shorter than the sound: none stands at its very ends."""
_WINDOW_FRAMES = PARAMETERS.segment_frames
_CANDIDATES = 100
"""References that are aligned, for each window of the query."""
_MOST_TIMES = 16
"""Matches of a query with one reference."""


@dataclass(frozen=True)
class MatchOptions:
    """When an alignment is a match."""

    alpha: float = 1e-9
    """Largest corrected probability."""
    min_seconds: float = MIN_SECONDS
    """Of the aligned stretch."""


class LandmarkIdentifier:
    """Identifies sounds by an index."""

    def __init__(self, index: Path, options: MatchOptions | None = None) -> None:
        """Raises `InvalidRequest` as `LandmarkIndex.open` does."""
        self.index, self.options = LandmarkIndex.open(index), options or MatchOptions()
        self.info = ProviderInfo(
            PROVIDER,
            f"{_VERSION}+{self.index.digest}",
            remote=False,
            min_seconds=self.options.min_seconds + _EDGE_SECONDS,
            deterministic=True,
        )

    def analyze(self, audio: AudioRef) -> Fingerprint:
        try:
            landmarks = read_landmarks(audio.path)
        except AudioError as error:
            return Fingerprint(audio.asset_id, 0.0, problem=error.reason_code)
        return Fingerprint(audio.asset_id, landmarks.seconds, landmarks)

    def identify(self, fingerprints: Sequence[Fingerprint]) -> list[Identification]:
        return [self._answer(fingerprint) for fingerprint in fingerprints]

    def _answer(self, fingerprint: Fingerprint) -> Identification:
        if unknown := untellable(self.info, fingerprint):
            return unknown
        return found(self.info, fingerprint.asset_id, tuple(self.matches(fingerprint.payload)))

    def matches(self, query: Landmarks) -> list[Match]:
        """The matches of a query, the surest first."""
        matches = [
            match
            for reference, hits in _by_reference(list(self._windows(query)))
            for match in self._with(hits, reference, query)
        ]
        return sorted(matches, key=lambda match: (match.p_value or 0.0, -match.score))

    def _windows(self, query: Landmarks) -> Iterator[Hits]:
        """Of each window what the query shares with the references that it names."""
        for start in range(0, query.num_frames, _WINDOW_FRAMES):
            size = min(_WINDOW_FRAMES, query.num_frames - start)
            window = slice(*np.searchsorted(query.frames, (start, start + size)))
            hashes, frames = query.hashes[window], query.frames[window]
            place, references, reference_frames = self.index.postings(hashes)
            hits = Hits(hashes[place], references, frames[place], reference_frames)
            named = candidates(hits, (start, size), self.index.num_frames, _CANDIDATES)
            yield hits.where(np.isin(references, named))

    def _with(self, hits: Hits, reference: int, query: Landmarks) -> Iterator[Match]:
        """The matches with one reference, whose hits these are."""
        lengths = query.num_frames, int(self.index.num_frames[reference])
        min_frames = math.ceil(self.options.min_seconds / PARAMETERS.seconds_per_frame)
        trials = len(DRIFTS) * int((query.num_frames + self.index.num_frames - 1).sum())
        max_log_p = math.log(self.options.alpha) - math.log(trials)
        for _ in range(_MOST_TIMES):
            best = best_alignment(hits, *lengths, min_frames, max_log_p)
            if best is None:
                return
            yield self._match(best, reference, corrected(best.log_p, trials))
            hits = hits.where((hits.query_frames < best.start) | (hits.query_frames >= best.stop))

    def _match(self, alignment: Alignment, reference: int, p_value: float) -> Match:
        seconds = PARAMETERS.seconds_per_frame
        return Match(
            ref_id=self.index.references[reference].ref_id,
            query_start_s=alignment.start * seconds,
            duration_s=(alignment.stop - alignment.start) * seconds,
            ref_start_s=max(0.0, alignment.reference_start * seconds),
            score=float(alignment.votes),
            p_value=p_value,
        )


def _by_reference(windows: Sequence[Hits]) -> Iterator[tuple[int, Hits]]:
    """Each reference and its hits, those of all windows."""
    if not windows:
        return
    columns = zip(*(vars(hits).values() for hits in windows), strict=True)
    hits = Hits(*(np.concatenate(column) for column in columns))
    hits = hits.where(np.argsort(hits.references, kind="stable"))
    different, starts, counts = np.unique(hits.references, return_index=True, return_counts=True)
    for reference, start, count in zip(different, starts, counts, strict=True):
        yield int(reference), hits.where(slice(start, start + count))
