"""KL divergence: published values, the order of the arguments, trivial baselines, and what is counted as failed."""

from itertools import permutations

import numpy as np
import pytest

from auralith.errors import InvalidRequest
from auralith.metrics.divergence import baselines, divergence, kl_divergence

P = np.array([0.05, 0.1, 0.2, 0.05, 0.15, 0.25, 0.08, 0.12])
Q = np.array([0.3, 0.1, 0.2, 0.1, 0.1, 0.02, 0.08, 0.1])


def rows(count: int, classes: int = 9, seed: int = 0) -> dict[str, np.ndarray]:
    found = np.random.default_rng(seed).dirichlet(np.full(classes, 0.3), size=count)
    return {str(i): row.astype(np.float32) for i, row in enumerate(found)}


def test_published_values() -> None:
    assert kl_divergence(P, Q) == pytest.approx(0.5898663401603699, abs=1e-7)
    p, q = np.array([0.1, 0.4, 0.5]), np.array([0.8, 0.15, 0.05])
    assert kl_divergence(p, q) == pytest.approx(1.335667371749878, abs=1e-7)
    exact = float((P * np.log(P / Q)).sum())
    assert exact == pytest.approx(0.589885181619163, abs=1e-14)
    assert kl_divergence(P, Q) < exact  # 1e-6 stands at the second


def test_the_direction_has_a_name() -> None:
    generated, reference = {"a": P}, {"a": Q}
    there = divergence(generated, reference, ["a"])
    back = divergence(generated, reference, ["a"], "reference_to_generated")
    assert there.direction == "generated_to_reference"
    assert there.values.mean == kl_divergence(P, Q)
    assert back.values.mean == kl_divergence(Q, P) != there.values.mean
    assert there.values.interval is None


def test_the_offset_makes_equal_distributions_negative() -> None:
    assert -1e-5 * 527 < kl_divergence(np.full(527, 1 / 527), np.full(527, 1 / 527)) < 0
    assert kl_divergence(np.eye(4)[0], np.eye(4)[0]) == pytest.approx(-1e-6, rel=1e-5)


def test_what_has_no_value_is_counted() -> None:
    generated, reference = rows(10), rows(10, seed=1)
    del generated["3"]
    generated["4"] = np.full(9, np.nan, np.float32)
    generated["5"] = np.full(9, 1.0, np.float32)
    generated["6"] = np.full(8, 0.125, np.float32)
    generated["7"] = np.array([1.5, -0.5, *np.zeros(7)])
    ids = [*map(str, range(10)), "none"]
    found = divergence(generated, reference, ids).values
    assert (found.expected, found.used) == (11, 5)
    assert set(found.failed) == {"3", "4", "5", "6", "7", "none"}
    assert set(found.by_id) == {"0", "1", "2", "8", "9"}
    assert found.mean == pytest.approx(
        np.mean([kl_divergence(generated[i], reference[i]) for i in found.by_id])
    )
    with pytest.raises(InvalidRequest, match="twice"):
        divergence(generated, reference, ["1", "2", "1"])
    with pytest.raises(InvalidRequest, match="none of 1"):
        divergence(generated, reference, ["3"])


def test_baselines() -> None:
    reference = rows(6)
    table = np.stack(list(reference.values())).astype(np.float64)
    found = baselines(reference)

    def mean(answers: np.ndarray) -> float:
        return float(
            np.mean(
                [
                    (g * np.log(np.where(g > 0, g, 1) / (r + 1e-6))).sum()
                    for g, r in zip(answers, table, strict=True)
                ]
            )
        )

    average = table.mean(0)
    one = np.eye(9)[average.argmax()]
    assert found["reference"] == pytest.approx(mean(table), abs=1e-7)
    assert found["reference"] < 0
    assert found["mean"] == pytest.approx(mean(np.tile(average, (6, 1))), abs=1e-6)
    assert found["previous"] == pytest.approx(mean(table[[5, 0, 1, 2, 3, 4]]))
    assert found["one_class"] == pytest.approx(mean(np.tile(one, (6, 1))))
    assert found["uniform"] == pytest.approx(mean(np.full((6, 9), 1 / 9)))
    assert found["shuffled"] in [
        pytest.approx(mean(table[list(order)])) for order in permutations(range(6))
    ]
    backwards = baselines(reference, "reference_to_generated")
    assert backwards.keys() == found.keys() and backwards["uniform"] != found["uniform"]
    with_it = divergence(rows(6, seed=2), reference, list(reference))
    assert with_it.baselines == found
