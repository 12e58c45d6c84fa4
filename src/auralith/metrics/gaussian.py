"""Count, mean and scatter matrix of frames, gathered in one pass over any number of blocks (float64)."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from auralith.errors import InvalidRequest

Frames = Float[np.ndarray, "frame dim"]
_BLOCK = 8_192
"""Frames that are centered at a time; more are split, so that a copy in float64 stays small."""


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution fitted to frames."""

    mean: Float[np.ndarray, " dim"]
    covariance: Float[np.ndarray, "dim dim"]
    """Covariance with divisor n − 1."""
    count: int | None = None
    """Number of frames; None where a published file doesn't say."""

    @property
    def dim(self) -> int:
        return len(self.mean)

    @property
    def has_full_rank(self) -> bool:
        """Return whether there are more frames than dimensions, as far as that is known."""
        return self.count is None or self.count > self.dim

    @cached_property
    def factor(self) -> Float[np.ndarray, "dim rank"]:
        """Return F with Σ = FFᵀ, without the directions in which Σ is nothing but rounding."""
        values, vectors = np.linalg.eigh(self.covariance)
        kept = values > values[-1] * self.dim * np.finfo(np.float64).eps
        return vectors[:, kept] * np.sqrt(values[kept])


class GaussianStatistics:
    """Statistics that grow by blocks of frames; three arrays are all it holds."""

    def __init__(self, dim: int) -> None:
        self.count = 0
        self.mean = np.zeros(dim)
        self.scatter = np.zeros((dim, dim))
        """Sum of the outer products of centered frames."""

    def add(self, frames: Frames) -> None:
        """Take a block of frames, of any floating-point type.

        Raises:
            InvalidRequest: they have another dimension, or one is not finite; nothing of the block is taken then.
        """
        frames = np.asarray(frames)
        if frames.ndim != 2 or frames.shape[1] != len(self.mean):
            raise InvalidRequest(
                f"frames of shape {frames.shape} don't fit statistics of {len(self.mean)} dimensions"
            )
        if not np.isfinite(frames).all():
            raise InvalidRequest(
                "a frame is not finite; leave its sound out, and count it as failed"
            )
        for start in range(0, len(frames), _BLOCK):
            block = frames[start : start + _BLOCK].astype(np.float64)
            mean = block.mean(axis=0)
            block -= mean
            self._merge(len(block), mean, block.T @ block)

    def merge(self, other: "GaussianStatistics") -> None:
        """Take all frames of `other`, which must have the same dimension."""
        if len(other.mean) != len(self.mean):
            raise InvalidRequest(
                f"statistics of {len(other.mean)} and {len(self.mean)} dimensions can't be merged"
            )
        if other.count:
            self._merge(other.count, other.mean, other.scatter)

    def _merge(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        """Merge as Chan, Golub and LeVeque do (Updating Formulae, 1979, equation 2.1)."""
        total = self.count + count
        delta = mean - self.mean
        self.scatter += scatter
        self.scatter += np.outer(delta, delta * (self.count * count / total))
        self.mean = self.mean + delta * (count / total)
        self.count = total

    def gaussian(self) -> Gaussian:
        """Return the distribution. Raises `InvalidRequest` below two frames, which have no covariance."""
        if self.count < 2:
            raise InvalidRequest(f"there are {self.count} frames; a distribution needs at least 2")
        return Gaussian(self.mean.copy(), self.scatter / (self.count - 1), self.count)


def gaussian_of(blocks: Iterable[Float[np.ndarray, "_ _"]] | Frames) -> Gaussian:
    """Return the distribution of frames in one array, or in blocks. Raises `InvalidRequest` as `GaussianStatistics`."""
    statistics = None
    for block in [blocks] if isinstance(blocks, np.ndarray) else blocks:
        statistics = statistics or GaussianStatistics(block.shape[-1])
        statistics.add(block)
    return (statistics or GaussianStatistics(0)).gaussian()


def equal_dims(first: Any, second: Any) -> None:
    """Raise `InvalidRequest` unless two distributions, or two arrays of frames, have one dimension."""
    one, other = (getattr(v, "dim", None) or v.shape[-1] for v in (first, second))
    if one != other:
        raise InvalidRequest(
            f"frames of {one} and {other} dimensions can't be compared; use one embedder for both"
        )
