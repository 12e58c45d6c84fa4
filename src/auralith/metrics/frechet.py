"""Fréchet distance of two sets of frames (Heusel et al. 2017; FAD, Kilgour et al. 2019), and its limit FD∞.

|μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁Σ₂)^½ of normal distributions fitted to both. With Σ₂ = FFᵀ, the trace of the root is the sum
of the roots of the eigenvalues of FᵀΣ₁F: real by construction. With fewer frames than dimensions small eigenvalues are
rounding, whose roots are not small; there it is the nuclear norm of F₁ᵀF₂, both of low rank.

Few frames make the distance too large: two sets of 600 from one normal distribution in 256 dimensions are 55 apart. So
both counts stand in the result, and FD∞ extrapolates (Chong and Forsyth 2020, section 3).
"""

from dataclasses import dataclass

import numpy as np

from auralith.errors import InvalidRequest
from auralith.metrics.gaussian import Frames, Gaussian, equal_dims, gaussian_of

FEWEST, NUM_SIZES = 500, 25
"""Smallest number of frames of FD∞, and how many numbers it fits."""


@dataclass(frozen=True)
class FrechetDistance:
    """A distance, with the numbers of frames that it depends on."""

    value: float
    frames: int | None
    reference_frames: int | None
    """None where a published file doesn't say."""


@dataclass(frozen=True)
class FrechetInfinity:
    """FD∞: the intercept of a line through distances of n frames over 1/n."""

    value: float
    slope: float
    r_squared: float
    frames: int
    reference_frames: int | None
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


def frechet_distance(first: Gaussian, reference: Gaussian) -> FrechetDistance:
    """Return the distance of two distributions.

    Raises:
        InvalidRequest: they have different dimensions, or a value is not finite.
    """
    return FrechetDistance(_distance(first, reference), first.count, reference.count)


def frechet_infinity(
    frames: Frames, reference: Gaussian, *, seed: int = 0, fewest: int = FEWEST
) -> FrechetInfinity:
    """Return FD∞ of frames, 25 sizes from `fewest` to all of them, each drawn with replacement.

    Raises:
        InvalidRequest: there are no more than `fewest` frames, or `frechet_distance` raises.
    """
    if not 2 <= fewest < len(frames):
        raise InvalidRequest(
            f"FD∞ draws from {fewest} frames upward, and there are {len(frames)}; generate more"
        )
    rng = np.random.default_rng(seed)
    sizes = np.linspace(fewest, len(frames), NUM_SIZES).astype(int)
    distances = np.array(
        [
            _distance(gaussian_of(frames[rng.integers(len(frames), size=n)]), reference)
            for n in sizes
        ]
    )
    slope, intercept = np.polyfit(1 / sizes, distances, 1)
    residual = distances - (intercept + slope / sizes)
    spread = np.square(distances - distances.mean()).sum()
    r_squared = 1 - np.square(residual).sum() / spread if spread > 0 else 1.0
    return FrechetInfinity(
        float(intercept),
        float(slope),
        float(r_squared),
        len(frames),
        reference.count,
        tuple(sizes.tolist()),
        tuple(distances.tolist()),
    )


def _distance(first: Gaussian, second: Gaussian) -> float:
    equal_dims(first, second)
    both = (first.mean, second.mean, first.covariance, second.covariance)
    if not all(np.isfinite(one).all() for one in both):
        raise InvalidRequest("a mean or covariance is not finite; compute the statistics again")
    of_full_rank = first.has_full_rank and second.has_full_rank
    trace = _trace_of_root(first, second) if of_full_rank else _nuclear_norm(first, second)
    spread = np.trace(first.covariance) + np.trace(second.covariance)
    # rounding may bring the distance of equal distributions below 0
    return max(0.0, float(np.square(first.mean - second.mean).sum() + spread - 2 * trace))


def _trace_of_root(first: Gaussian, second: Gaussian) -> float:
    product = second.factor.T @ first.covariance @ second.factor
    eigenvalues = np.linalg.eigvalsh((product + product.T) / 2)
    return float(np.sqrt(eigenvalues.clip(min=0)).sum())


def _nuclear_norm(first: Gaussian, second: Gaussian) -> float:
    return float(np.linalg.norm(first.factor.T @ second.factor, "nuc"))
