"""p-values and the false discovery rate: by the definition, uniform under the null, and none without one."""

import numpy as np
import pytest

from auralith.memorization.significance import benjamini_hochberg, p_values, verdicts


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


def test_the_rate_of_false_discoveries() -> None:
    rng = np.random.default_rng(2)
    shares = []
    for _ in range(200):
        truth = np.arange(200) < 30
        statistics = rng.standard_normal(200) + 6 * truth
        found = verdicts(statistics.tolist(), rng.standard_normal(2_000).tolist())
        assert found is not None
        flagged = np.array(found.flagged)
        shares.append((flagged & ~truth).sum() / max(1, flagged.sum()))
        assert (flagged & truth).sum() >= 25
    assert np.mean(shares) <= 0.05 + 3 * np.std(shares) / np.sqrt(200)


def test_no_verdict_without_a_null() -> None:
    assert verdicts([1.0, 2.0], None) is None
    assert verdicts([1.0, 2.0], []) is None


def test_a_small_null_says_so() -> None:
    found = verdicts([9.0] + [0.0] * 99, [0.0] * 50)
    assert found is not None and not any(found.flagged)
    assert found.fewest_flagged == 40
    assert sum(verdicts([9.0] * 40 + [0.0] * 60, [0.0] * 50).flagged) == 40  # type: ignore[union-attr]
    assert not any(verdicts([9.0] * 39 + [0.0] * 61, [0.0] * 50).flagged)  # type: ignore[union-attr]


def test_what_has_no_statistic_is_not_suspicious() -> None:
    found = verdicts([float("nan"), 5.0], [float("nan")] * 3 + [1.0] * 96)
    assert found is not None
    assert found.p_values == (1.0, 0.01)
    assert found.null_quantiles["0.5"] == pytest.approx(1.0)
