"""Where a query and a reference run alongside: the alignment that their common hashes vote for, and how sure it is.

An alignment is an offset (reference frame minus query frame) and a drift, since a record played 1 % faster leaves its
offset behind by a frame every second. Hashes within one frame of it are its votes; the stretch in which they are
dense, by likelihood against chance, is what the two have in common.

Music repeats: in two songs at one tempo the same drum puts the same hash on every beat, and all of them agree at every
offset of a beat. Counted as they are, hashes call 22 of 50 songs of the benchmark that aren't in the index known, at
p = 1e-9; counted as here, 1 of 100. Each hash counts once in a stretch, at its first place: by chance a hash that the
stretch shares n times with a reference of T frames gets there with probability 1 - exp(-3 n / T). And since one stroke
makes several hashes at a time, what counts is anchor frames; as in a compound Poisson process, as many of them are
expected by chance as hashes, divided by how many of those there are to a frame.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from auralith.fingerprint.significance import log_tail, log_tail_bound

DRIFTS = tuple(percent / 100 for percent in (0, 0.5, -0.5, 1, -1, 1.5, -1.5, 2, -2))
"""How much faster the query may run than the reference; midway between two of them votes stay together for 28 s."""
_WIDTH = 3
"""Offsets that vote together, as the frames of two sounds need not coincide."""
_ZERO = 1 << 31
"""Of offsets as the low half of a key, which is never negative."""
_NEARLY = 0.9
"""Share of the surest's logarithm that is nearly as sure."""
_TRIED = 8
"""Alignments of a reference that are looked at closely: those with most votes."""


@dataclass(frozen=True)
class Hits:
    """Hashes that a query shares with references; of each the frames in both."""

    hashes: Int[np.ndarray, " hit"]
    references: Int[np.ndarray, " hit"]
    query_frames: Int[np.ndarray, " hit"]
    reference_frames: Int[np.ndarray, " hit"]

    def where(self, kept: Bool[np.ndarray, " hit"] | Int[np.ndarray, " kept"] | slice) -> "Hits":
        """Some of them: by a mask, by their places or by a slice."""
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
    """Hashes that agree, repeated ones too."""
    log_p: float
    """Natural logarithm of the probability of so many votes by chance, not corrected for the offsets and drifts."""


def candidates(
    hits: Hits, window: tuple[int, int], reference_frames: Int[np.ndarray, " reference"], count: int
) -> Int[np.ndarray, " candidate"]:
    """The references with the most surprising number of hits at one offset, the most surprising first.

    The hits are those of a window of the query: its first frame and how many it has.
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
    """The best alignment with one reference, whose hits these are, that is long and sure enough.

    Of those nearly as sure as the surest it is the one on which most hashes agree: a loop that repeats gives no more
    evidence the second time.
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
    """The drifts and offsets with the most votes."""
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
    """The stretch of one alignment; None if its anchor frames are no denser than chance."""
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
    """First and last frame of the stretch whose votes best tell a rate (votes per frame) from chance."""
    gain, cost = math.log(rate / chance) / 2, math.sqrt(rate * chance) - chance
    score = gain * np.arange(len(frames)) - cost * frames
    lowest = np.minimum.accumulate(score)
    last = int(np.argmax(score - lowest))
    start = int(np.argmin(score[: last + 1]))
    return int(frames[start]), int(frames[last])


def _evidence(votes: Hits) -> tuple[int, int]:
    """Anchor frames at which a hash votes that hasn't before, and the different hashes."""
    order = np.argsort(votes.query_frames, kind="stable")
    different, first = np.unique(votes.hashes[order], return_index=True)
    return len(np.unique(votes.query_frames[order][first])), len(different)


def _expected(hits: Hits, reference_frames: int) -> float:
    """How many different hashes of a stretch are votes by chance."""
    _, counts = np.unique(hits.hashes, return_counts=True)
    return float(-np.expm1(-_WIDTH * counts / reference_frames).sum())


def _offsets(hits: Hits, drift: float) -> Int[np.ndarray, " hit"]:
    return hits.reference_frames - np.rint(hits.query_frames * (1 + drift)).astype(np.int64)


def _within(frames: Int[np.ndarray, " hit"], start: int, last: int) -> Bool[np.ndarray, " hit"]:
    return (frames >= start) & (frames <= last)


def _votes(keys: Int[np.ndarray, " hit"]) -> tuple[np.ndarray, np.ndarray]:
    """The different keys, and how often each and its two neighbors are there."""
    different, counts = np.unique(keys, return_counts=True)
    votes = counts.copy()
    next_to = np.diff(different) == 1
    votes[1:][next_to] += counts[:-1][next_to]
    votes[:-1][next_to] += counts[1:][next_to]
    return different, votes
