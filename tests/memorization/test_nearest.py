"""Search: equal to brute force in exact arithmetic, whatever the blocks, with groups and ties."""

from fractions import Fraction

import numpy as np
import pytest

from auralith.memorization.search import distance_ratio, near_pairs, nearest


def unit(count: int, dim: int = 24, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def brute_force(
    queries: np.ndarray, rows: np.ndarray, groups: np.ndarray, k: int
) -> tuple[list[list[float]], list[list[int]]]:
    scores, places = [], []
    for query in queries:
        exact = [
            sum(
                (Fraction(float(a)) * Fraction(float(b)) for a, b in zip(query, row, strict=True)),
                Fraction(0),
            )
            for row in rows
        ]
        best: dict[int, int] = {}
        for i in sorted(range(len(rows)), key=lambda i: (-exact[i], i)):
            best.setdefault(int(groups[i]), i)
        chosen = list(best.values())[:k]
        scores.append([float(exact[i]) for i in chosen])
        places.append(chosen)
    return scores, places


@pytest.mark.parametrize(("row_block", "query_block"), [(1, 1), (3, 2), (64, 5), (1_000, 1_000)])
@pytest.mark.parametrize("kind", ["rows", "windows", "scattered", "one"])
def test_it_equals_brute_force(row_block: int, query_block: int, kind: str) -> None:
    rows, queries = unit(120), unit(6, seed=1)
    rows[40:80] = rows[7]  # more equals than candidates
    queries[2] = rows[7]
    queries[3] = rows[0]
    groups = {
        "rows": np.arange(120),
        "windows": np.arange(120) // 5,
        "scattered": np.random.default_rng(2).permutation(120) % 30,
        "one": np.zeros(120, int),
    }[kind]
    groups = np.unique(groups, return_inverse=True)[1]
    found = nearest(
        queries,
        rows,
        9,
        groups=None if kind == "rows" else groups,
        row_block=row_block,
        query_block=query_block,
    )
    scores, places = brute_force(queries, rows, groups, 9)
    for i in range(6):
        count = len(places[i])
        assert found.rows[i, :count].tolist() == places[i]
        assert found.scores[i, :count].tolist() == scores[i]
        assert (found.rows[i, count:] == -1).all() and np.isneginf(found.scores[i, count:]).all()


def test_pairs_are_those_of_nearest_rows() -> None:
    rows = unit(60, dim=4)
    rows[30:45] = rows[3]
    exact = rows.astype(np.float64) @ rows.astype(np.float64).T
    found = near_pairs(rows, 0.9, 5)
    assert [score for *_, score in found] == sorted((s for *_, s in found), reverse=True)
    assert all(i < j and score == exact[i, j] >= 0.9 for i, j, score in found)
    names = {(i, j) for i, j, _ in found}
    assert len(names) == len(found)
    for i in range(60):
        others = [j for j in np.lexsort((np.arange(60), -exact[i]))[:6] if j != i]
        expected = {(min(i, j), max(i, j)) for j in others if exact[i, j] >= 0.9}
        assert expected <= names
    assert {(3, j) for j in range(30, 45)} <= names  # one group, though each has 5 neighbors


def test_the_ratio_is_small_for_one_near_recording() -> None:
    scores = np.array([[0.99, 0.5, 0.5], [0.5, 0.5, 0.5], [1.0, 1.0, 1.0], [0.9, -np.inf, -np.inf]])
    found = distance_ratio(scores)
    assert found[0] == pytest.approx(0.02)
    assert found[1] == pytest.approx(1.0)
    assert np.isnan(found[2:]).all()
    assert np.isnan(distance_ratio(scores[:, :1])).all()
