"""p-values and the false discovery rate: by the definition, uniform under the null, none without one; and of all sounds together."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from auralith.memorization.significance import (
    benjamini_hochberg,
    combined_p_values,
    p_values,
    set_test,
    statistic_test,
    verdicts,
)

Draw = Callable[[np.random.Generator, int], np.ndarray]


def test_p_values_by_the_definition() -> None:
    null = np.array([1.0, 2.0, 2.0, 5.0])
    found = p_values(np.array([0.0, 2.0, 3.0, 9.0]), null)
    assert found.tolist() == [1.0, 0.8, 0.4, 0.2]


def test_false_positives_stay_within_alpha() -> None:
    rng = np.random.default_rng(0)
    for alpha in (0.01, 0.05, 0.2):
        rates = [
            (p_values(rng.standard_normal(50), rng.standard_normal(199)) <= alpha).mean()
            for _ in range(300)
        ]
        assert np.mean(rates) <= alpha + 3 * np.std(rates) / np.sqrt(300)


def test_benjamini_hochberg_by_the_definition() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        p = np.concatenate([rng.random(20), rng.random(5) * 0.01]).round(3)
        ordered = np.sort(p)
        largest = max((i for i in range(1, 26) if ordered[i - 1] <= 0.05 * i / 25), default=0)
        expected = p <= ordered[largest - 1] if largest else np.zeros(25, bool)
        assert (benjamini_hochberg(p) == expected).all()
    assert not benjamini_hochberg(np.zeros(0)).any()


def correlated(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return three statistics of each sound: two that go together, and one that is 0 for most, as landmarks are."""
    common = rng.standard_normal((count, 1))
    values = common + 0.5 * rng.standard_normal((count, 3))
    values[:, 0] = np.maximum(0, values[:, 0] - 1.5)
    return values.round(1)  # with ties


def test_combined_p_values_by_the_definition() -> None:
    rng = np.random.default_rng(3)
    null, items = correlated(rng, 30), correlated(rng, 8)
    items[0] = -np.inf
    for item, p in zip(items, combined_p_values(items, null), strict=True):
        pool = np.vstack([null, item])
        best = [min((pool[:, t] >= one[t]).sum() for t in range(3)) for one in pool]
        assert p == pytest.approx(np.mean(np.array(best) <= best[-1]))
    assert combined_p_values(items, null)[0] == 1.0


@pytest.mark.parametrize("draw", [correlated, lambda rng, n: rng.standard_normal((n, 3))])
@pytest.mark.parametrize("size", [19, 199])
def test_false_positives_of_all_tests_together_stay_within_alpha(draw: Draw, size: int) -> None:
    rng = np.random.default_rng(4)
    found = np.array([combined_p_values(draw(rng, 20), draw(rng, size)) for _ in range(400)])
    for alpha in (0.01, 0.05, 0.2):
        rates = (found <= alpha).mean(1)  # sounds of a draw share its null
        assert rates.mean() <= alpha + 3 * rates.std() / np.sqrt(400)
    assert (found <= 0.2).mean() > 0.1


def test_the_rate_of_false_discoveries() -> None:
    rng = np.random.default_rng(2)
    shares = []
    for _ in range(60):
        truth = np.arange(200) < 30
        statistics = correlated(rng, 200) + 6 * truth[:, None]
        found = verdicts(statistics, correlated(rng, 1_000))
        assert found is not None
        flagged = np.array(found.flagged)
        shares.append((flagged & ~truth).sum() / max(1, flagged.sum()))
        assert (flagged & truth).sum() >= 25
    assert np.mean(shares) <= 0.05 + 3 * np.std(shares) / np.sqrt(60)


def test_a_set_without_copies_is_rarely_called_nearer() -> None:
    rng = np.random.default_rng(5)
    for sounds in (4, 12):
        found = [
            [set_test(*pair).p_value for pair in zip(a.T.tolist(), b.T.tolist(), strict=True)]
            for a, b in ((correlated(rng, sounds), correlated(rng, 40)) for _ in range(150))
        ]
        rate = np.mean(3 * np.min(found, axis=1) <= 0.05)
        assert rate <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)


def test_the_set_by_the_definition() -> None:
    """All draws of as many, ties too, and the normal approximation for more than can be counted."""
    rng = np.random.default_rng(6)
    for _ in range(20):
        values, null = rng.integers(0, 5, 3) / 4, rng.integers(0, 4, 9) / 4
        pool = np.concatenate([values, null])

        def wins(places: tuple[int, ...], pool: np.ndarray = pool) -> float:
            chosen, rest = pool[list(places), None], np.delete(pool, list(places))
            return float((chosen > rest).sum() + 0.5 * (chosen == rest).sum())

        drawn = np.array([wins(places) for places in combinations(range(12), 3)])
        found, own = set_test(values.tolist(), null.tolist()), wins((0, 1, 2))
        assert found.p_value == pytest.approx(np.mean(drawn >= own))
        assert found.share == pytest.approx(own / 27)
    values, null = rng.normal(0.3, 1, 20).tolist(), rng.normal(0, 1, 150).tolist()
    exact = set_test(values, null).p_value
    assert set_test(values * 8, null * 8).p_value < exact / 10
    assert exact == pytest.approx(
        stats.mannwhitneyu(values, null, alternative="greater").pvalue, rel=0.1
    )


def test_a_set_that_is_nearer_is_found() -> None:
    """Four sounds that a twentieth of the null reaches: too few for a verdict on any, not on all of them."""
    null = np.linspace(0, 1, 120)
    found = set_test([0.95, 0.96, 0.94, 0.95], null.tolist())
    assert found.p_value < 0.002 and found.share > 0.93 and found.sounds == 4
    beside = verdicts(np.full((4, 1), 0.95), null[:, None])
    assert beside is not None and not any(beside.flagged)
    assert set_test([float("nan")] * 4, null.tolist()).p_value > 0.99
    assert set_test([0.0] * 4, [0.0] * 20).p_value == 1.0
    assert set_test([], null.tolist()).p_value == 1.0


def test_no_verdict_without_a_null() -> None:
    assert verdicts(np.ones((2, 3)), np.ones((0, 3))) is None


def test_a_small_null_says_so() -> None:
    null = np.zeros((50, 1))
    for copies, flagged in ((1, 0), (39, 0), (40, 40)):
        found = verdicts(9.0 * (np.arange(100) < copies)[:, None], null)
        assert found is not None and sum(found.flagged) == flagged
        assert found.fewest_flagged == 40


def test_what_has_no_statistic_is_not_suspicious() -> None:
    nan, null = float("nan"), [float("nan")] * 3 + [1.0] * 96
    test = statistic_test([nan, 5.0], null)
    assert test.p_values == (1.0, 0.01)
    assert test.null_quantiles["0.5"] == pytest.approx(1.0)
    assert statistic_test([1.0], [nan, nan]).null_quantiles["0.5"] == 0.0
    found = verdicts(np.array([[nan], [5.0]]), np.array(null)[:, None])
    assert found is not None and found.p_values == (1.0, 0.01)
