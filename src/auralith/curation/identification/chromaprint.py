"""The Chromaprint backend: items of 32 bits, eight a second, against those of references.

A query is looked up a half minute at a time; every offset at which a reference has the most items in common with one
is compared along the whole overlap. So a long recording finds each of the pieces that play in it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt32

from auralith.curation.identification.alignment import (
    FEWEST_CHANGES,
    FEWEST_ITEMS,
    Stretch,
    best_offsets,
    changes,
    stretches,
)
from auralith.curation.identification.answers import answer, found, untellable
from auralith.curation.identification.fingerprints import FingerprintIndex
from auralith.curation.identification.fpcalc import DELAY_SECONDS, ITEM_SECONDS, Fpcalc
from auralith.curation.identification.interface import (
    AudioRef,
    Fingerprint,
    Identification,
    Match,
    ProviderInfo,
)
from auralith.errors import AudioError

PROVIDER = "chromaprint"
_WINDOW = 256
"""Items of the query that are looked up at a time."""
_CANDIDATES = 64
"""References that are compared for each window: those with the most hits at one offset."""


class ChromaprintIdentifier:
    """Identifies sounds by stored fingerprints (`build_fingerprints`)."""

    def __init__(self, index: Path, fpcalc: Fpcalc, min_seconds: float = 0.0) -> None:
        """`min_seconds` is the shortest stretch of sound that counts; it is 4.6 s at least."""
        self.index, self._fpcalc = FingerprintIndex.open(index), fpcalc
        self.info = ProviderInfo(
            PROVIDER,
            f"1+{self.index.digest}",
            remote=False,
            min_seconds=max(min_seconds, _covered(FEWEST_ITEMS)),
            deterministic=True,
        )

    def analyze(self, audio: AudioRef) -> Fingerprint:
        try:
            items, seconds = self._fpcalc.items(audio.path)
        except AudioError as error:
            return Fingerprint(audio.asset_id, 0.0, problem=error.reason_code)
        return Fingerprint(audio.asset_id, seconds, items)

    def identify(self, fingerprints: Sequence[Fingerprint]) -> list[Identification]:
        return [self._answer(fingerprint) for fingerprint in fingerprints]

    def _answer(self, fingerprint: Fingerprint) -> Identification:
        if (untold := untellable(self.info, fingerprint)) is not None:
            return untold
        asset, items = fingerprint.asset_id, fingerprint.payload
        if _covered(len(items)) < self.info.min_seconds:
            return answer(self.info, asset, "indeterminate", "too_short")
        if changes(items).sum() < FEWEST_CHANGES:
            return answer(self.info, asset, "indeterminate", "too_plain")
        return found(self.info, asset, tuple(self.matches(items)))

    def matches(self, query: UInt32[np.ndarray, " item"]) -> list[Match]:
        """The matches of a query, the surest first. Their score is the share of bits that agree."""
        compared = [
            self._match(reference, stretch)
            for reference, offset in self._candidates(query)
            for stretch in stretches(query, self.index.items(reference), offset)
            if _covered(stretch.num_items) >= self.info.min_seconds
        ]
        compared.sort(key=lambda one: (-one.score, one.ref_id, one.query_start_s, one.ref_start_s))
        kept: list[Match] = []
        for match in compared:
            if not any(_same(match, other) for other in kept):
                kept.append(match)
        return kept

    def _candidates(self, query: UInt32[np.ndarray, " item"]) -> list[tuple[int, int]]:
        """The references and offsets that are worth a comparison."""
        new = np.flatnonzero(changes(query))
        worth: set[tuple[int, int]] = set()
        for start in range(0, len(query), _WINDOW):
            places = new[np.searchsorted(new, start) : np.searchsorted(new, start + _WINDOW)]
            hit, reference, place = self.index.hits(query[places])
            worth.update(best_offsets(reference, place - places[hit], _CANDIDATES))
        return sorted(worth)

    def _match(self, reference: int, stretch: Stretch) -> Match:
        return Match(
            ref_id=self.index.references[reference],
            query_start_s=stretch.query_start * ITEM_SECONDS,
            duration_s=_covered(stretch.num_items),
            ref_start_s=stretch.reference_start * ITEM_SECONDS,
            score=1 - stretch.bits / 32,
        )


def _covered(num_items: int) -> float:
    """Seconds of sound that so many items look at."""
    return num_items * ITEM_SECONDS + DELAY_SECONDS


def _same(match: Match, better: Match) -> bool:
    """Whether most of a match is one that is surer, at an offset beside it."""
    if match.ref_id != better.ref_id:
        return False
    ends = [one.query_start_s + one.duration_s for one in (match, better)]
    overlap = min(ends) - max(match.query_start_s, better.query_start_s)
    return overlap > match.duration_s / 2
