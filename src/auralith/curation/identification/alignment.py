"""Where two sequences of Chromaprint items are the same sound, in numpy.

At one offset the items of both are compared bit by bit. The differing bits, smoothed, jump where the one sound ends and
another begins: there the overlap is cut, and a stretch counts by its mean difference (Chromaprint's own method). The shorter
it is, the less it may differ, as chance alone makes short stretches alike. What doesn't change (silence, a hum) has
the same items everywhere and says nothing, so a stretch must hold enough that do.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt32

_MOST_BITS = 10.0
"""Of 32: a stretch whose items differ by as many on average is another sound."""
_UNRELATED_BITS, _SPREAD = 14.9, 15.2
"""Of unrelated music: mean, and standard deviation times the root of the number of items (1.0 over half a minute)."""
_SURENESS = 3.0
"""Standard deviations that a stretch must lie below that mean."""
FEWEST_ITEMS = 16
"""Shortest stretch that counts: 2 s, for which 4.6 s of sound are needed."""
FEWEST_CHANGES = 8
"""Items of it that differ from the one before."""
_BOXES = (15, 15, 17)
"""Three box filters that together are about a Gaussian of σ = 8 items."""
_STEEPEST = 0.15
"""Bits per item; where the smoothed difference changes faster, something begins or ends."""
_SAME_BITS = 0.7
"""Neighboring stretches whose means differ by no more are one."""
_ONES = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)


@dataclass(frozen=True)
class Stretch:
    """Items of a query that are those of a reference."""

    query_start: int
    reference_start: int
    num_items: int
    bits: float
    """Mean of the differing bits, 0 … 32."""


def stretches(
    query: UInt32[np.ndarray, " item"], reference: UInt32[np.ndarray, " other"], offset: int
) -> list[Stretch]:
    """The same sound in both, where item i of the query lies upon item i + `offset` of the reference."""
    start = max(0, -offset)
    stop = min(len(query), len(reference) - offset)
    if stop - start < FEWEST_ITEMS:
        return []
    bits = differing_bits(query[start:stop], reference[start + offset : stop + offset])
    new = changes(query)[start:stop] & changes(reference)[start + offset : stop + offset]
    return [
        Stretch(start + first, start + first + offset, last - first, mean)
        for first, last, mean in _merged(bits, [0, *_cuts(bits), len(bits)])
        if mean < most_bits(last - first)
        and last - first >= FEWEST_ITEMS
        and new[first:last].sum() >= FEWEST_CHANGES
    ]


def most_bits(num_items: int) -> float:
    """The mean difference that a stretch of so many items must stay below: 3.5 of 32 for 2 s, 10 from 11 s on."""
    return min(_MOST_BITS, _UNRELATED_BITS - _SURENESS * _SPREAD / math.sqrt(num_items))


def differing_bits(
    one: UInt32[np.ndarray, " item"], other: UInt32[np.ndarray, " item"]
) -> Float[np.ndarray, " item"]:
    """How many of the 32 bits differ."""
    bits = one ^ other
    return (_ONES[bits & 0xFFFF] + _ONES[bits >> 16]).astype(np.float64)


def changes(items: UInt32[np.ndarray, " item"]) -> Bool[np.ndarray, " item"]:
    """Whether an item differs from the one before; the first one does."""
    return np.concatenate((np.ones(min(1, len(items)), bool), items[1:] != items[:-1]))


def _cuts(bits: Float[np.ndarray, " item"]) -> list[int]:
    """Where the smoothed difference rises or falls most steeply."""
    smooth = bits
    for width in _BOXES:
        smooth = _box_mean(smooth, width)
    steepness = np.abs(np.gradient(smooth))
    inner = steepness[1:-1]
    is_peak = (inner > _STEEPEST) & (inner >= steepness[:-2]) & (inner > steepness[2:])
    return [int(place) + 1 for place in np.flatnonzero(is_peak)]


def _box_mean(values: Float[np.ndarray, " item"], width: int) -> Float[np.ndarray, " item"]:
    """The mean of so many values around each; at the ends of those there are."""
    total = np.concatenate(([0.0], np.cumsum(values)))
    place = np.arange(len(values))
    first = np.maximum(place - width // 2, 0)
    last = np.minimum(place + width // 2 + 1, len(values))
    return (total[last] - total[first]) / (last - first)


def _merged(
    bits: Float[np.ndarray, " item"], edges: Sequence[int]
) -> Iterator[tuple[int, int, float]]:
    """(first, end, mean bits) of the parts between edges, those that are alike made one."""
    first, last = edges[0], edges[1]
    for end in edges[2:]:
        if abs(bits[first:last].mean() - bits[last:end].mean()) > _SAME_BITS:
            yield first, last, float(bits[first:last].mean())
            first = last
        last = end
    yield first, last, float(bits[first:last].mean())


def best_offsets(
    references: Int[np.ndarray, " hit"], offsets: Int[np.ndarray, " hit"], most: int
) -> list[tuple[int, int]]:
    """(reference, offset) with the most hits, more than one, of each of the `most` best references."""
    keys, counts = np.unique(references << 32 | (offsets + (1 << 31)), return_counts=True)
    keys, counts = keys[counts > 1], counts[counts > 1]
    order = np.lexsort((keys, -counts, keys >> 32))
    of_each = order[np.flatnonzero(np.diff(keys[order] >> 32, prepend=-1))]
    best = of_each[np.argsort(-counts[of_each], kind="stable")][:most]
    return [(int(key >> 32), int(key & 0xFFFFFFFF) - (1 << 31)) for key in keys[best]]
