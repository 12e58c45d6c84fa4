"""Fréchet distance: closed forms, invariances, one pass against batch, and figures of published statistics.

AURALITH_STATISTICS names a folder with `fma_pop.npz` of the fadtk 1.1.0 package, whose figures are tested there.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from auralith.errors import InvalidRequest
from auralith.metrics.frechet import frechet_distance, frechet_infinity
from auralith.metrics.gaussian import Gaussian, GaussianStatistics, gaussian_of
from auralith.metrics.references import read_statistics

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics" / "fma_pop_16.npz"
STATISTICS = Path(os.environ.get("AURALITH_STATISTICS", "")) / "fma_pop.npz"


def frames(count: int, dim: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((count, dim)) @ rng.standard_normal((dim, dim)) + rng.random(dim)


def rotation(dim: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(9).standard_normal((dim, dim)))[0]


def value(first: Gaussian, second: Gaussian) -> float:
    return frechet_distance(first, second).value


@pytest.mark.parametrize("dim", [1, 5, 64])
@pytest.mark.parametrize("seed", range(3))
def test_distributions_that_commute(dim: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b, delta = rng.random(dim) + 0.1, rng.random(dim) + 0.1, rng.standard_normal(dim)
    turned = rotation(dim)
    first = Gaussian(np.zeros(dim), turned @ np.diag(a) @ turned.T)
    second = Gaussian(delta, turned @ np.diag(b) @ turned.T)
    expected = np.square(np.sqrt(a) - np.sqrt(b)).sum() + delta @ delta
    assert value(first, second) == pytest.approx(expected, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize(("m", "n", "dim"), [(200, 300, 12), (20, 30, 48), (20, 300, 48)])
def test_invariances(m: int, n: int, dim: int) -> None:
    x, y = frames(m, dim, 1), frames(n, dim, 2)
    first, second = gaussian_of(x), gaussian_of(y)
    found = value(first, second)
    scale = np.trace(first.covariance) + np.trace(second.covariance)
    turned, moved = rotation(dim), np.arange(dim)
    assert value(second, first) == pytest.approx(found, abs=1e-10 * scale)
    assert value(gaussian_of(x + moved), gaussian_of(y + moved)) == pytest.approx(
        found, abs=1e-10 * scale
    )
    assert value(gaussian_of(x @ turned), gaussian_of(y @ turned)) == pytest.approx(
        found, abs=1e-10 * scale
    )
    assert value(gaussian_of(3 * x), gaussian_of(3 * y)) == pytest.approx(9 * found, rel=1e-9)
    assert value(first, first) == pytest.approx(0, abs=1e-10 * scale)
    assert found > 1e-3 * scale


@pytest.mark.parametrize(("m", "n"), [(10, 14), (60, 80), (10, 80)])
def test_few_frames_give_the_nuclear_norm(m: int, n: int) -> None:
    dim = 96
    x, y = frames(m, dim, 1), frames(n, dim, 2)
    a, b = ((v - v.mean(0)) / np.sqrt(len(v) - 1) for v in (x, y))
    trace = np.linalg.norm(a @ b.T, "nuc")
    expected = np.square(x.mean(0) - y.mean(0)).sum() + (a**2).sum() + (b**2).sum() - 2 * trace
    found = frechet_distance(gaussian_of(x), gaussian_of(y))
    assert found.value == pytest.approx(expected, rel=1e-9)
    assert (found.frames, found.reference_frames) == (m, n)


def test_one_pass_equals_the_batch() -> None:
    x = frames(1_000, 7) + 1e4  # a mean that sums of squares would drown in
    expected = np.cov(x.T)
    for sizes in ([1_000], [1] * 1_000, [999, 1], [3, 500, 497], [0, 1_000]):
        parts = np.split(x, np.cumsum(sizes)[:-1])
        whole = gaussian_of(parts)
        assert whole.count == 1_000
        assert np.allclose(whole.mean, x.mean(0), rtol=1e-13)
        assert np.allclose(whole.covariance, expected, rtol=1e-9)
    one, other = GaussianStatistics(7), GaussianStatistics(7)
    one.add(x[:300])
    other.add(x[300:])
    other.merge(GaussianStatistics(7))
    one.merge(other)
    assert np.allclose(one.gaussian().covariance, expected, rtol=1e-9)


def test_bad_frames_are_refused() -> None:
    statistics = GaussianStatistics(3)
    statistics.add(np.ones((2, 3)))
    for bad in (np.ones((2, 4)), np.full((2, 3), np.nan), np.full((1, 3), np.inf)):
        with pytest.raises(InvalidRequest):
            statistics.add(bad)
    assert statistics.count == 2 and (statistics.mean == 1).all()
    with pytest.raises(InvalidRequest, match="at least 2"):
        gaussian_of(np.ones((1, 3)))
    with pytest.raises(InvalidRequest, match="dimensions"):
        frechet_distance(gaussian_of(frames(9, 2)), gaussian_of(frames(9, 3)))
    broken = Gaussian(np.full(2, np.nan), np.eye(2))
    with pytest.raises(InvalidRequest, match="finite"):
        frechet_distance(broken, broken)


def test_the_limit_is_below_the_distance_of_few_frames() -> None:
    """Of one distribution, so the true distance is 0; theory has the bias fall as 1/n."""
    rng = np.random.default_rng(0)
    reference = Gaussian(np.zeros(16), np.eye(16), 10**6)
    x = rng.standard_normal((4_000, 16))
    found = frechet_infinity(x, reference)
    plain = value(gaussian_of(x), reference)
    assert len(found.sizes) == len(found.distances) == 25
    assert (found.sizes[0], found.sizes[-1]) == (500, 4_000)
    assert found.slope > 0 and found.r_squared > 0.8
    assert found.value == pytest.approx(plain, abs=0.1)  # drawn with replacement, x is the truth
    assert found == frechet_infinity(x, reference)
    assert found != frechet_infinity(x, reference, seed=1)
    assert json.loads(json.dumps(asdict(found)))["frames"] == 4_000
    with pytest.raises(InvalidRequest, match="FD∞"):
        frechet_infinity(x[:400], reference)


@pytest.mark.parametrize(
    ("other", "expected"),
    [("clap-laion-music", 0.019044728152207285), ("clap-2023", 19.609009443852784)],
)
def test_figures_of_sqrtm(other: str, expected: float) -> None:
    """The first 16 dimensions of fadtk's statistics, by scipy.linalg.sqrtm."""
    first, second = (
        read_statistics(GOLDEN, f"{name}.mu", f"{name}.cov") for name in ("clap-laion-audio", other)
    )
    assert value(first, second) == pytest.approx(expected, rel=1e-9)


@pytest.mark.skipif(not STATISTICS.is_file(), reason="AURALITH_STATISTICS has no fma_pop.npz")
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("clap-laion-audio", "clap-laion-music", 1.475601),
        ("MERT-v1-95M-1", "MERT-v1-95M-11", 65.869458),
        ("clap-2023", "dac-44kHz", 6794.016318),
    ],
)
def test_figures_of_fadtk(first: str, second: str, expected: float) -> None:
    one, other = (
        read_statistics(STATISTICS, f"{name}.mu", f"{name}.cov") for name in (first, second)
    )
    assert value(one, other) == pytest.approx(expected, abs=2e-6)
    assert value(one, one) == pytest.approx(0, abs=1e-6 * np.trace(one.covariance))
