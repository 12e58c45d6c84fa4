"""Alignment of a query and a reference: the one that their common hashes vote for, and its probability under chance.

An alignment is an offset (reference frame minus query frame) and a drift, since a recording that plays 1 % faster shifts
by about half a frame every second. Hashes within one frame of it are its votes; the stretch in which votes are dense, by
likelihood against chance, is the common sound.

Music repeats: in two songs of one tempo, the same drum puts the same hash on every beat, and all of these agree at every
offset of a beat. A plain count of hashes calls 22 of 50 songs of the benchmark that aren't in the index known, at
p = 1e-9; the count used here calls 1 of 100. Each hash counts once in a stretch, at its first place: by chance, a hash
that the stretch shares n times with a reference of T frames votes with probability 1 - exp(-3 n / T). One stroke makes
several hashes at a time, so the evidence is the number of anchor frames; as in a compound Poisson process, the number
expected by chance is that of hashes divided by the mean number of hashes in a frame.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from auralith.fingerprint.significance import log_tail, log_tail_bound

DRIFTS = tuple(percent / 100 for percent in (0, 0.5, -0.5, 1, -1, 1.5, -1.5, 2, -2))
"""Relative speeds of the query that are tried; midway between two of them, votes stay together for 28 s."""
_WIDTH = 3
"""Neighboring offsets that vote together, since the frames of two sounds need not coincide."""
_ZERO = 1 << 31
"""Added to an offset in the low half of a key, so that it is never negative."""
_NEARLY = 0.9
"""Alignments whose log probability reaches this share of the surest one's count as nearly as sure."""
_TRIED = 8
"""Alignments of a reference that are evaluated: those with the most votes."""


@dataclass(frozen=True)
class Hits:
    """Hashes that a query shares with references, with the frames in both."""

    hashes: Int[np.ndarray, " hit"]
    references: Int[np.ndarray, " hit"]
    query_frames: Int[np.ndarray, " hit"]
    reference_frames: Int[np.ndarray, " hit"]

    def where(self, kept: Bool[np.ndarray, " hit"] | Int[np.ndarray, " kept"] | slice) -> "Hits":
        """Return a selection of the hits by a mask, by places or by a slice."""
        return Hits(*(column[kept] for column in vars(self).values()))


@dataclass(frozen=True)
class Alignment:
    """A stretch of the query, in frames, and where it lies in the reference."""

    start: int
    stop: int
    reference_start: float
    votes: int
    """Anchor frames that count."""
    hits: int
    """Hashes that agree, including repeated ones."""
    log_p: float
    """Natural logarithm of the probability of as many votes by chance, not corrected for offsets and drifts."""


def candidates(
    hits: Hits, window: tuple[int, int], reference_frames: Int[np.ndarray, " reference"], count: int
) -> Int[np.ndarray, " candidate"]:
    """Return the references with the most surprising number of hits at one offset, the most surprising first.

    The hits are those of a window of the query, given by its first frame and its number of frames.
    """
    start, size = window
    offsets = hits.reference_frames - (hits.query_frames - start)
    keys, votes = _votes(hits.references << 32 | (offsets + _ZERO))
    references, offsets = keys >> 32, (keys & 0xFFFF_FFFF) - _ZERO
    frames = reference_frames[references]
    overlap = np.minimum(size, frames - offsets) - np.maximum(0, -offsets)
    shared = np.bincount(hits.references)[references]
    bounds = log_tail_bound(votes, _WIDTH * shared * overlap / (size * frames))
    order = np.lexsort((keys, bounds))
    _, first = np.unique(references[order], return_index=True)
    return references[order[np.sort(first)[:count]]]


def best_alignment(
    hits: Hits, query_frames: int, reference_frames: int, min_frames: int, max_log_p: float
) -> Alignment | None:
    """Return the best alignment with one reference, whose hits these are, that is long and sure enough; None if none is.

    Among those nearly as sure as the surest, it is the one on which most hashes agree: a repeating loop adds no evidence
    the second time.
    """
    found = [
        alignment
        for drift, offset in _promising(hits)
        if (alignment := _aligned(hits, drift, offset, query_frames, reference_frames))
        and alignment.stop - alignment.start >= min_frames
        and alignment.log_p <= max_log_p
    ]
    surest = min((one.log_p for one in found), default=0.0)
    near = (one for one in found if one.log_p <= _NEARLY * surest)
    return max(near, key=lambda one: one.hits, default=None)


def _promising(hits: Hits) -> Sequence[tuple[float, int]]:
    """Return the drifts and offsets with the most votes."""
    found: list[tuple[int, float, int]] = []
    for drift in DRIFTS:
        offsets, votes = _votes(_offsets(hits, drift))
        best = np.argsort(-votes, kind="stable")[:_TRIED]
        found += [(int(votes[i]), drift, int(offsets[i])) for i in best]
    found.sort(key=lambda one: -one[0])
    return [(drift, offset) for _, drift, offset in found[:_TRIED]]


def _aligned(
    hits: Hits, drift: float, offset: int, query_frames: int, reference_frames: int
) -> Alignment | None:
    """Return one alignment with its stretch; None if its anchor frames are not denser than chance."""
    votes = hits.where(np.abs(_offsets(hits, drift) - offset) <= _WIDTH // 2)
    frames = np.unique(votes.query_frames)
    overlap = min(query_frames, reference_frames - offset) - max(0, -offset)
    overlap = max(overlap, 1)  # a drift may leave none at its offset
    chance = _WIDTH * len(hits.hashes) / (query_frames * reference_frames)
    rate = len(frames) / overlap
    if rate <= chance:
        return None
    start, last = _densest(frames, rate, chance)
    votes = votes.where(_within(votes.query_frames, start, last))
    count, different = _evidence(votes)
    stop = int((votes.query_frames + (votes.hashes & 63)).max()) + 1  # low bits: to the other peak
    expected = _expected(hits.where(_within(hits.query_frames, start, last)), reference_frames)
    choices = 2 * math.log(max(1.0, overlap / (stop - start)))  # where it begins, how long it is
    log_p = log_tail(count, expected * count / different) + choices
    place = start * (1 + drift) + offset
    return Alignment(start, stop, place, count, len(votes.hashes), log_p)


def _densest(frames: Int[np.ndarray, " vote"], rate: float, chance: float) -> tuple[int, int]:
    """Return the first and last frame of the stretch whose votes best separate a rate (votes per frame) from chance."""
    gain, cost = math.log(rate / chance) / 2, math.sqrt(rate * chance) - chance
    score = gain * np.arange(len(frames)) - cost * frames
    lowest = np.minimum.accumulate(score)
    last = int(np.argmax(score - lowest))
    start = int(np.argmin(score[: last + 1]))
    return int(frames[start]), int(frames[last])


def _evidence(votes: Hits) -> tuple[int, int]:
    """Return the number of anchor frames at which a hash votes for the first time, and of different hashes."""
    order = np.argsort(votes.query_frames, kind="stable")
    different, first = np.unique(votes.hashes[order], return_index=True)
    return len(np.unique(votes.query_frames[order][first])), len(different)


def _expected(hits: Hits, reference_frames: int) -> float:
    """Return the number of different hashes of a stretch that vote by chance."""
    _, counts = np.unique(hits.hashes, return_counts=True)
    return float(-np.expm1(-_WIDTH * counts / reference_frames).sum())


def _offsets(hits: Hits, drift: float) -> Int[np.ndarray, " hit"]:
    return hits.reference_frames - np.rint(hits.query_frames * (1 + drift)).astype(np.int64)


def _within(frames: Int[np.ndarray, " hit"], start: int, last: int) -> Bool[np.ndarray, " hit"]:
    return (frames >= start) & (frames <= last)


def _votes(keys: Int[np.ndarray, " hit"]) -> tuple[np.ndarray, np.ndarray]:
    """Return the different keys, and how often each occurs together with its two neighbors."""
    different, counts = np.unique(keys, return_counts=True)
    votes = counts.copy()
    next_to = np.diff(different) == 1
    votes[1:][next_to] += counts[:-1][next_to]
    votes[:-1][next_to] += counts[1:][next_to]
    return different, votes
