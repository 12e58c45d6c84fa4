"""Kernel audio distance against its formula written out in loops."""

import math

import numpy as np
import pytest

from auralith.errors import InvalidRequest
from auralith.metrics.kernel import kernel_distance, median_distance


def written_out(x: np.ndarray, y: np.ndarray, width: float) -> float:
    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(-float(((a - b) ** 2).sum()) / (2 * width**2))

    m, n = len(x), len(y)
    xx = sum(kernel(x[i], x[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    yy = sum(kernel(y[i], y[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    xy = sum(kernel(a, b) for a in x for b in y) / (m * n)
    return 100 * (xx + yy - 2 * xy)


@pytest.mark.parametrize("block", [1, 7, 1_000])
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_the_formula(block: int, offset: float) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 5)) + 0.3 + offset, rng.standard_normal((41, 5)) + offset
    found = kernel_distance(x, y, block=block)
    distances = np.sort([np.linalg.norm(y[i] - y[j]) for i in range(41) for j in range(i)])
    assert found.bandwidth == pytest.approx(distances[(len(distances) - 1) // 2], rel=1e-6)
    assert found.value == pytest.approx(written_out(x, y, found.bandwidth), abs=1e-9)
    assert (found.frames, found.reference_frames) == (30, 41)
    assert kernel_distance(x, y, bandwidth=2.0).value == pytest.approx(
        written_out(x, y, 2.0), abs=1e-9
    )


@pytest.mark.parametrize("count", [2, 3, 4, 50, 51])
def test_the_median_needs_no_list_of_distances(count: int) -> None:
    y = np.random.default_rng(count).standard_normal((count, 3)).round(1)  # with ties
    distances = np.sort([np.linalg.norm(y[i] - y[j]) for i in range(count) for j in range(i)])
    for block in (1, 4, 64):
        assert median_distance(y, block=block) == pytest.approx(
            distances[(len(distances) - 1) // 2], rel=1e-6
        )


def test_it_is_unbiased() -> None:
    rng = np.random.default_rng(0)
    found = [
        kernel_distance(rng.standard_normal((20, 3)), rng.standard_normal((20, 3))).value
        for _ in range(200)
    ]
    assert abs(np.mean(found)) < 3 * np.std(found) / math.sqrt(200)
    assert min(found) < 0 < max(found)


def test_bad_frames_are_refused() -> None:
    good = np.random.default_rng(0).standard_normal((4, 2))
    for bad in (good[:1], good[:, :1], np.full((4, 2), np.nan)):
        with pytest.raises(InvalidRequest):
            kernel_distance(bad, good)
        with pytest.raises(InvalidRequest):
            kernel_distance(good, bad)
    with pytest.raises(InvalidRequest, match="bandwidth"):
        kernel_distance(good, np.ones((5, 2)))
