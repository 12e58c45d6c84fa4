"""The built-in backend: a search by landmarks in an index of reference recordings."""

from collections.abc import Sequence
from pathlib import Path

from auralith.curation.identification.answers import found, untellable
from auralith.curation.identification.interface import (
    AudioRef,
    Fingerprint,
    Identification,
    Match,
    ProviderInfo,
)
from auralith.errors import AudioError
from auralith.fingerprint import LandmarkIndex, Landmarks, SearchOptions, read_landmarks, search

PROVIDER = "landmark"
_VERSION = 2
"""Goes up whenever the same sounds may get other answers."""
_EDGE_SECONDS = 1.0
"""Excess of a sound's length over the stretch that its landmarks align: none lies at its very ends."""


class LandmarkIdentifier:
    """Identify sounds by an index of reference recordings."""

    def __init__(self, index: Path, options: SearchOptions | None = None) -> None:
        """Open the index in a folder. Raises `InvalidRequest` as `LandmarkIndex.open` does."""
        self.index, self.options = LandmarkIndex.open(index), options or SearchOptions()
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
        """Return the matches of a query, the surest first."""
        return [
            Match(
                ref_id=one.ref_id,
                query_start_s=one.query_start_s,
                duration_s=one.duration_s,
                ref_start_s=one.reference_start_s,
                score=float(one.votes),
                p_value=one.p_value,
            )
            for one in search(self.index, query, self.options)
        ]
