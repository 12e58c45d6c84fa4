"""A full queue: who is refused, at what cost, and who is not."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from auralith.jobs.records import Job, Limits, QueueFull
from auralith.server.keys import Caller
from auralith.server.service import Service
from tests.serving import QUICK, Client, settings


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[Client]:
    """Makes nothing: jobs stay in its queue."""
    service = Service(settings(tmp_path / "data", limits=Limits(queue=2)))
    yield Client(service)
    service.store.close()


def test_who_comes_to_a_full_queue_costs_nothing(
    idle: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second refusal needs neither model nor database; bad requests and known keys get the answer they always get."""

    def post(key: str | None = None, **body: Any) -> int:
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = idle("POST", "/v1/audio/generations", json=QUICK | body, headers=headers)
        assert answer.status_code != 429 or answer.headers["retry-after"] == "10"
        return answer.status_code

    assert [post("k"), post(), post()] == [202, 202, 429]

    def untouched(*_: Any, **__: Any) -> Any:
        raise AssertionError

    with monkeypatch.context() as broken:
        broken.setattr(idle.service, "_resolved", untouched)
        broken.setattr(idle.service.store, "accept", untouched)
        assert post("new") == 429
        broken.setattr(idle.service.store._db, "execute", untouched)
        assert [post(), post(steps=0)] == [429, 422]
    assert [post("k"), post("k", steps=3)] == [202, 422]
    assert idle.service.store.claim() is not None
    assert [post("new"), post()] == [202, 429]


@pytest.mark.parametrize("seed", range(5))
def test_a_place_that_is_free_is_given_and_one_that_is_not_is_refused(
    idle: Client, seed: int
) -> None:
    """Whatever was refused before: jobs come, are taken, cancelled, and queued again, in any order."""
    draw, service, store = random.Random(seed), idle.service, idle.service.store
    taken: list[Job] = []
    for _ in range(60):
        match draw.choice(["come", "come", "come", "claim", "cancel", "release"]):
            case "come":
                try:
                    service.submit(service.read(QUICK, Caller(), draw.choice([None, "k"])))
                    assert store.count("queued") <= 2
                except QueueFull:
                    assert store.count("queued") >= 2
            case "claim" if job := store.claim():
                taken.append(job)
            case "cancel":
                for job in store.jobs("queued", 1):
                    store.cancel(job.id)
            case "release" if taken and store.count("queued") < 2:
                store.release(taken.pop(), "the disk is full")
