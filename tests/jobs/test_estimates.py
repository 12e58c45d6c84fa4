"""Estimates: what a job takes is told from what others took."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auralith.jobs.estimates import LEAST_RATIO, LONGEST_SECONDS, UNKNOWN_SECONDS, Pace, fit
from auralith.jobs.records import QueueFull
from auralith.jobs.store import JobStore
from tests.jobs.stores import Clock, add, claimed

COSTS = st.floats(0.1, 1e4)
SECONDS = st.floats(0.0, 1e4)
MEASURED = st.lists(st.tuples(COSTS, SECONDS), min_size=1, max_size=20)


@given(st.lists(COSTS, min_size=2, max_size=20), st.floats(0, 100), st.floats(0, 100))
def test_a_line_is_found(costs: list[float], each: float, unit: float) -> None:
    costs = [*costs, max(costs) * LEAST_RATIO]
    pace = fit([(cost, each + unit * cost) for cost in costs])
    assert pace is not None
    for cost in (*costs, 10 * max(costs)):
        wanted = each + unit * cost
        # slopes are differences of seconds, so they end where those of 64 bits do
        assert pace.seconds(cost) == pytest.approx(wanted, rel=1e-6, abs=1e-6)


@given(st.floats(0.1, 100), st.floats(0.01, 100), st.lists(SECONDS, min_size=1, max_size=2))
def test_a_few_odd_jobs_make_no_difference(each: float, unit: float, odd: list[float]) -> None:
    calm = [(float(cost), each + unit * cost) for cost in range(1, 21)]
    shaken = [*calm[: 20 - len(odd)], *((5.5 + 7 * i, seconds) for i, seconds in enumerate(odd))]
    pace = fit(shaken)
    assert pace is not None
    assert pace.seconds(20.0) == pytest.approx(each + 20 * unit, rel=0.3)


@given(MEASURED)
def test_more_cost_never_takes_less(measured: list[tuple[float, float]]) -> None:
    pace = fit(measured)
    assert pace is not None and pace.each >= 0 and pace.unit >= 0
    assert pace.seconds(1.0) <= pace.seconds(2.0)


@given(MEASURED, st.floats(0.01, 100))
def test_a_machine_of_another_speed_takes_times_in_proportion(
    measured: list[tuple[float, float]], speed: float
) -> None:
    calm, scaled = fit(measured), fit([(cost, speed * seconds) for cost, seconds in measured])
    assert calm is not None and scaled is not None
    wanted = speed * calm.seconds(100.0)
    # the two may fall on either side of an intercept of zero, where both ways of telling meet only nearly
    if calm.each > 1e-6 and scaled.each > 1e-6:
        assert scaled.seconds(100.0) == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_equal_costs_are_in_proportion() -> None:
    assert fit([(2.0, 4.0), (2.5, 5.0), (2.0, 3.0)]) == Pace(0.0, 2.0)
    assert fit([]) is None and fit([(0.0, 3.0)]) is None


@pytest.fixture
def take(store: JobStore, clock: Clock) -> Callable[..., None]:
    """Return what makes a job of a cost in a time, with a time of loading before."""

    def take(cost: float, seconds: float, loading: float = 0.0) -> None:
        add(store, cost=cost)
        job = claimed(store)
        clock.now += loading
        assert store.loaded(job, None)
        clock.now += seconds
        assert store.finish(job, "succeeded")

    return take


def test_loading_a_model_is_no_part_of_it(store: JobStore, take: Callable[..., None]) -> None:
    take(1.0, 1.5, loading=60.0)
    take(10.0, 6.0)
    assert store.estimate(add(store, cost=100.0)).seconds == pytest.approx(51.0)


def test_another_model_says_nothing(store: JobStore, take: Callable[..., None]) -> None:
    take(1.0, 1.0)
    other = store.accept({"prompt": "rain", "model": "other"}, 1.0)[0]
    assert store.estimate(other).seconds is None


def test_jobs_that_run_count_by_what_is_left(
    store: JobStore, clock: Clock, take: Callable[..., None]
) -> None:
    take(10.0, 10.0)
    first, second, third = (add(store, cost=10.0 * n) for n in (1, 2, 3))
    assert [store.estimate(job).seconds for job in (first, second, third)] == [10.0, 30.0, 60.0]
    running = claimed(store)
    clock.now += 4
    found = [store.estimate(store.job(job.id)) for job in (first, second, third)]
    assert [one.position for one in found] == [0, 1, 2]
    assert [one.seconds for one in found] == [6.0, 26.0, 56.0]
    clock.now += 20  # longer than it should
    assert store.estimate(store.job(running.id)).seconds == 0.0
    assert store.estimate(second).seconds == 20.0
    claimed(store)  # on another device
    assert store.estimate(third).seconds == (0.0 + 20.0) / 2 + 30.0


def test_who_finds_the_queue_full_hears_when_to_come_again(
    store: JobStore, clock: Clock, take: Callable[..., None]
) -> None:
    def told() -> int:
        with pytest.raises(QueueFull) as caught:
            add(store, owner="me", owner_queue=0)
        return caught.value.retry_after

    assert told() == UNKNOWN_SECONDS
    take(10.0, 10.0)
    add(store, cost=30.0)
    claimed(store)
    assert told() == 30
    clock.now += 29.9
    assert told() == 1
    add(store, cost=1e6)
    store.finish(store.jobs("running")[0], "succeeded")
    claimed(store)
    assert told() == LONGEST_SECONDS
