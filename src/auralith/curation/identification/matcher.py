"""The built-in backend: landmarks of a sound against an index, each match with the probability of such an alignment.

For every reference the offset (reference frame minus query frame) with the most common hashes counts, its two neighbors
with it, as frames of the two sounds need not coincide. See `significance` for its probability. A match is confirmed
by the stretch that it aligns: it must be long enough, and its hashes alone must be as surprising.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auralith.curation.identification.index import LandmarkIndex
from auralith.curation.identification.interface import (
    AudioRef,
    Fingerprint,
    Identification,
    Match,
    ProviderInfo,
)
from auralith.curation.identification.landmark import PARAMETERS, Landmarks, read_landmarks
from auralith.curation.identification.significance import corrected, log_tail
from auralith.curation.sound import UnusableSound

PROVIDER = "landmark"
MIN_SECONDS = 3.0
_EDGE_SECONDS = 1.0
"""That the stretch which landmarks align may be shorter than the sound: none stands at its very ends."""
_CANDIDATES = 32
"""References that are looked at closely: those with the most votes at one offset."""


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
        self.index, self.options = LandmarkIndex.open(index), options or MatchOptions()
        self.info = ProviderInfo(
            PROVIDER,
            f"1+{self.index.digest}",
            remote=False,
            min_seconds=self.options.min_seconds + _EDGE_SECONDS,
            deterministic=True,
        )

    def analyze(self, audio: AudioRef) -> Fingerprint:
        try:
            found = read_landmarks(audio.path)
        except UnusableSound as error:
            return Fingerprint(audio.asset_id, 0.0, problem=error.reason_code)
        return Fingerprint(audio.asset_id, found.seconds, found)

    def identify(self, fingerprints: Sequence[Fingerprint]) -> list[Identification]:
        return [self._answer(fingerprint) for fingerprint in fingerprints]

    def _answer(self, fingerprint: Fingerprint) -> Identification:
        name, version = self.info.name, self.info.version
        asset = fingerprint.asset_id
        if fingerprint.problem is not None or fingerprint.payload is None:
            reason = fingerprint.problem or "no_fingerprint"
            return Identification(asset, "error", name, version, reason=reason)
        if fingerprint.seconds < self.info.min_seconds:
            return Identification(asset, "indeterminate", name, version, reason="too_short")
        matches = tuple(self.matches(fingerprint.payload))
        status = "match" if matches else "no_match"
        return Identification(asset, status, name, version, matches)

    def matches(self, query: Landmarks) -> list[Match]:
        """The matches of a query, the surest first."""
        place, reference, frame = self.index.postings(query.hashes)
        if not len(place):
            return []
        offset = frame - query.frames[place]
        found = [
            match
            for ref, at, votes, coincidences in self._candidates(reference, offset)
            if (
                match := self._confirmed(
                    query, place, reference, offset, ref, at, votes, coincidences
                )
            )
        ]
        return sorted(found, key=lambda match: (match.p_value or 0.0, -match.score))

    def _candidates(
        self, reference: np.ndarray, offset: np.ndarray
    ) -> list[tuple[int, int, int, int]]:
        """(reference, offset, votes, coincidences) of the best offset of the references with most votes."""
        key = reference << 32 | (offset + (1 << 31))
        keys, counts = np.unique(key, return_counts=True)
        votes = counts.copy()
        for neighbor in (-1, 1):
            at = np.searchsorted(keys, keys + neighbor)
            inside = at < len(keys)
            same = np.zeros(len(keys), bool)
            same[inside] = keys[at[inside]] == keys[inside] + neighbor
            votes[same] += counts[at[same]]
        refs = keys >> 32
        order = np.lexsort((keys, -votes, refs))
        first = np.flatnonzero(np.diff(refs[order], prepend=-1))
        best = order[first]
        best = best[np.argsort(-votes[best], kind="stable")][:_CANDIDATES]
        coincidences = np.bincount(reference)
        return [
            (
                int(refs[i]),
                int(keys[i] & 0xFFFFFFFF) - (1 << 31),
                int(votes[i]),
                int(coincidences[refs[i]]),
            )
            for i in best
        ]

    def _confirmed(
        self,
        query: Landmarks,
        place: np.ndarray,
        reference: np.ndarray,
        offset: np.ndarray,
        ref: int,
        at: int,
        votes: int,
        coincidences: int,
    ) -> Match | None:
        possible = query.num_frames + int(self.index.num_frames[ref]) - 1
        trials = int((query.num_frames + self.index.num_frames - 1).sum())
        p_value = corrected(log_tail(votes, 3 * coincidences / possible), trials)
        if p_value > self.options.alpha:
            return None
        aligned = (reference == ref) & (np.abs(offset - at) <= 1)
        frames = query.frames[place[aligned]]
        ends = frames + (query.hashes[place[aligned]] & 63) + 1  # its low bits: to the second peak
        start, stop = int(frames.min()), int(ends.max())
        seconds = (stop - start) * PARAMETERS.seconds_per_frame
        if seconds < self.options.min_seconds:
            return None
        return Match(
            ref_id=self.index.references[ref].ref_id,
            query_start_s=start * PARAMETERS.seconds_per_frame,
            duration_s=seconds,
            ref_start_s=max(0.0, (start + at) * PARAMETERS.seconds_per_frame),
            score=float(votes),
            p_value=p_value,
        )
