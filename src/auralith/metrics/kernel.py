"""Kernel audio distance (Chung et al. 2025): the unbiased squared MMD of two sets of frames, times 100.

The kernel is exp(−d²/(2b²)); b is the median distance of two frames of the reference. Everything is computed in blocks of
rows, in float64, so that memory doesn't grow with the square of the frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from auralith.errors import InvalidRequest
from auralith.metrics.gaussian import Frames, equal_dims

Others = Float[np.ndarray, "other_frame other_dim"]

SCALE = 100.0
_BLOCK = 1_024
_HALF = 1 << 16


@dataclass(frozen=True)
class KernelDistance:
    """A distance, with its bandwidth and the numbers of frames. An unbiased estimate may be below 0."""

    value: float
    bandwidth: float
    frames: int
    reference_frames: int


def kernel_distance(
    frames: Frames, reference: Others, *, bandwidth: float | None = None, block: int = _BLOCK
) -> KernelDistance:
    """Return the distance of frames from a reference; the bandwidth is the reference's if left out.

    Raises:
        InvalidRequest: dimensions differ, a value is not finite, a set has fewer than 2 frames, or half of the
            reference's pairs are equal frames, which leaves no bandwidth.
    """
    equal_dims(frames, reference)
    x, y = (_centered(one, reference) for one in (frames, reference))
    width = median_distance(reference, block=block) if bandwidth is None else bandwidth
    if not width > 0:
        raise InvalidRequest(
            "the bandwidth of the kernel is 0, since half of the reference's frames are equal; use more sounds"
        )
    m, n = len(x), len(y)
    within_x = (_kernel_sum(x, x, width, block) - m) / (m * (m - 1))
    within_y = (_kernel_sum(y, y, width, block) - n) / (n * (n - 1))
    between = _kernel_sum(x, y, width, block) / (m * n)
    return KernelDistance(SCALE * (within_x + within_y - 2 * between), width, m, n)


def median_distance(frames: Frames, *, block: int = _BLOCK) -> float:
    """Return the median distance of two different rows, in float32; of an even number of pairs, the lower middle one.

    Bits of floats above 0 are in their order, so counting the upper and then the lower half of them finds the median
    exactly without keeping a distance.
    """
    x = _centered(frames, frames)
    rank = (len(x) * (len(x) - 1) // 2 - 1) // 2
    upper, rank = _selected(_bits(x, block), rank, 16)
    lower, _ = _selected((b[b >> np.uint32(16) == upper] for b in _bits(x, block)), rank, 0)
    return float(np.array([upper << 16 | lower], np.uint32).view(np.float32)[0])


def _selected(parts: Iterator[np.ndarray], rank: int, shift: int) -> tuple[int, int]:
    """Return the 16 bits at `shift` of the value at a rank, and its rank among those that share them."""
    counts = np.zeros(_HALF, np.int64)
    for bits in parts:
        half = bits >> np.uint32(shift) & np.uint32(_HALF - 1)
        counts += np.bincount(half, minlength=_HALF)
    ends = np.cumsum(counts)
    found = int(np.searchsorted(ends, rank, side="right"))
    return found, rank - int(ends[found] - counts[found])


def _bits(x: Frames, block: int) -> Iterator[np.ndarray]:
    """Yield the distances of all pairs of rows, each pair once, as the bits of float32."""
    for start in range(0, len(x), block):
        rows = x[start : start + block]
        within = _squares(rows, rows)[np.triu_indices(len(rows), 1)]
        for squares in (within, _squares(rows, x[start + block :]).ravel()):
            yield np.sqrt(squares).astype(np.float32).view(np.uint32)


def _kernel_sum(x: Frames, y: Others, width: float, block: int) -> float:
    total = 0.0
    for start in range(0, len(x), block):
        total += float(np.exp(_squares(x[start : start + block], y) / (-2 * width**2)).sum())
    return total


def _squares(x: Frames, y: Others) -> Float[np.ndarray, "frame other_frame"]:
    """Return the squared distance of each row from each other one; rounding below 0 becomes 0."""
    products = x @ y.T
    products *= -2
    products += np.square(x).sum(1)[:, None]
    products += np.square(y).sum(1)
    return np.maximum(products, 0, out=products)


def _centered(frames: Frames, reference: Others) -> Frames:
    """Return frames in float64 around the reference's mean, since distances are differences of squares of these."""
    if len(frames) < 2:
        raise InvalidRequest(f"there are {len(frames)} frames; a kernel distance needs at least 2")
    moved = np.asarray(frames, np.float64) - np.asarray(reference, np.float64).mean(0)
    if not np.isfinite(moved).all():
        raise InvalidRequest("a frame is not finite; leave its sound out, and count it as failed")
    return moved
