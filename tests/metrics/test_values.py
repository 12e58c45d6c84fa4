"""Values by id: counts, intervals that cover the mean as often as they say, and pairs."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from auralith.errors import InvalidRequest
from auralith.metrics.alignment import alignment_score
from auralith.metrics.values import bootstrap, paired_interval, values_of


def test_intervals_cover_the_mean() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for i in range(200):
        found = bootstrap(rng.exponential(1.0, 80), seed=i, resamples=400)
        covered += found.low <= 1.0 <= found.high
    assert 0.88 * 200 <= covered <= 0.99 * 200


def test_intervals_have_a_seed_and_shrink() -> None:
    values = np.random.default_rng(1).standard_normal(2_000)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap(values) != bootstrap(values, seed=1)
    wide, narrow = bootstrap(values[:50]), bootstrap(values)
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    expected = 2 * 1.96 * values.std() / np.sqrt(2_000)
    assert narrow.high - narrow.low == pytest.approx(expected, rel=0.1)
    for bad in ([1.0], [1.0, float("nan")]):
        with pytest.raises(InvalidRequest):
            bootstrap(bad)


def test_pairs_see_what_single_intervals_do_not() -> None:
    rng = np.random.default_rng(2)
    base = rng.standard_normal(100) * 10
    first = {str(i): v for i, v in enumerate(base)}
    second = {str(i): v - 0.2 + 0.1 * rng.standard_normal() for i, v in enumerate(base)}
    found = paired_interval(first, dict(reversed(second.items())))
    assert 0.15 < found.low < 0.2 < found.high < 0.25
    single = bootstrap(list(first.values()))
    assert single.high - single.low > 20 * (found.high - found.low)
    with pytest.raises(InvalidRequest, match="same ids"):
        paired_interval(first, {"1": 0.0, "2": 0.0})


def test_failures_are_counted() -> None:
    def compute(id: str) -> float:
        if id == "bad":
            raise ValueError("it is bad")
        return float(id)

    found = values_of(["1", "2", "bad", "nan", "3"], compute)
    assert (found.mean, found.expected, found.used) == (2.0, 5, 3)
    assert found.failed == {"bad": "it is bad", "nan": "the value is not finite"}
    assert json.loads(json.dumps(asdict(found), allow_nan=False))["by_id"] == {
        "1": 1,
        "2": 2,
        "3": 3,
    }
    with pytest.raises(InvalidRequest, match="it is bad"):
        values_of(["bad"], compute)
    with pytest.raises(InvalidRequest, match="'1' comes twice"):
        values_of(["1", "1"], compute)


def test_alignment() -> None:
    rng = np.random.default_rng(3)
    text = {str(i): rng.standard_normal(16) for i in range(20)}
    audio = {id: 5 * row + rng.standard_normal((3, 16)) for id, row in text.items()}
    del audio["4"]
    audio["5"] = np.zeros((3, 16))
    audio["6"] = np.zeros((0, 16))
    found = alignment_score(audio, text, list(text))
    used = [id for id in text if id not in "456"]
    assert set(found.values.failed) == {"4", "5", "6"} and found.values.used == 17
    table = np.array(
        [
            [a @ text[i] / np.linalg.norm(a) / np.linalg.norm(text[i]) for a in audio[i]]
            for i in used
        ]
    )
    assert found.values.mean == pytest.approx(table.mean())
    assert found.draws == 3
    assert found.std_over_draws == pytest.approx(table.mean(0).std(ddof=1))
    one = alignment_score({i: audio[i][:1] for i in used}, text, used)
    assert one.std_over_draws is None and one.draws == 1
    with pytest.raises(InvalidRequest, match="don't fit"):
        alignment_score({"1": np.ones((1, 8))}, text, ["1"])
