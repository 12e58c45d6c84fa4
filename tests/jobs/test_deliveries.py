"""Messages that a job has ended: noted with the end, whatever that is, and due until one is taken."""

import threading

import pytest

from auralith.jobs.delivering import PAUSES
from auralith.jobs.making import LEASE_SECONDS
from auralith.jobs.records import Delivery, Job
from auralith.jobs.store import JobStore
from tests.jobs.stores import Clock, add, claimed

URL = "https://example.com/told"


def end_succeeded(store: JobStore, clock: Clock, job: Job) -> None:
    assert store.finish(claimed(store), "succeeded")


def end_failed(store: JobStore, clock: Clock, job: Job) -> None:
    assert store.finish(claimed(store), "failed", {"detail": "it broke"})


def end_cancelled_while_it_waits(store: JobStore, clock: Clock, job: Job) -> None:
    store.cancel(job.id)


def end_cancelled_while_it_runs(store: JobStore, clock: Clock, job: Job) -> None:
    running = claimed(store)
    store.cancel(job.id)
    assert store.release(running, "the server stops")


def end_cancelled_with_its_lease(store: JobStore, clock: Clock, job: Job) -> None:
    claimed(store)
    store.cancel(job.id)
    clock.now += LEASE_SECONDS + 1
    assert store.claim() is None


@pytest.mark.parametrize(
    "end",
    [
        end_succeeded,
        end_failed,
        end_cancelled_while_it_waits,
        end_cancelled_while_it_runs,
        end_cancelled_with_its_lease,
    ],
)
def test_every_end_is_told_once(store: JobStore, clock: Clock, end: object) -> None:
    job = add(store, webhook=URL)
    assert job.webhook == URL and not store.take_deliveries()
    end(store, clock, job)  # type: ignore[operator]
    assert store.job(job.id).is_final
    (one,) = store.take_deliveries()
    assert one == Delivery(one.id, job.id, URL, 1) and one.id.startswith("msg_")
    assert not store.take_deliveries()
    store.delivered(one)
    clock.now += sum(PAUSES)
    assert not store.take_deliveries()


def test_a_job_without_a_url_tells_nobody(store: JobStore) -> None:
    store.cancel(add(store).id)
    assert not store.take_deliveries()


def test_attempts_are_further_and_further_apart_and_end(store: JobStore, clock: Clock) -> None:
    store.cancel(add(store, webhook=URL).id)
    ids = set()
    for attempt, pause in enumerate((*PAUSES, None), 1):
        (one,) = store.take_deliveries()
        ids.add(one.id)
        assert one.attempts == attempt and not store.take_deliveries()
        assert store.undelivered(one, "503") == (pause is not None)
        clock.now += (pause or 1e9) - 0.1
        assert not store.take_deliveries()
        clock.now += 0.1
    assert len(ids) == 1 and not store.take_deliveries()


def test_an_attempt_that_nobody_finished_is_made_again(store: JobStore, clock: Clock) -> None:
    store.cancel(add(store, webhook=URL).id)
    (lost,) = store.take_deliveries()
    clock.now += PAUSES[0]
    (again,) = store.take_deliveries()
    assert again.id == lost.id and again.attempts == 2
    store.undelivered(lost, "timed out")  # says nothing any more
    store.delivered(again)
    clock.now += 1e9
    assert not store.take_deliveries()


def test_two_who_send_never_take_the_same(store: JobStore) -> None:
    for _ in range(20):
        store.cancel(add(store, webhook=URL).id)
    taken: list[str] = []

    def send() -> None:
        while found := store.take_deliveries(1):
            taken.extend(one.id for one in found)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 20


def test_a_deleted_job_tells_nobody(store: JobStore) -> None:
    job = add(store, webhook=URL)
    store.cancel(job.id)
    store.delete(job.id)
    assert not store.take_deliveries()
