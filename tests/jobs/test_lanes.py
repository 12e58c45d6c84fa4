"""Lanes and their worker processes: what a job costs when a process dies, is cancelled, or has no disk."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import auralith
from auralith.adapter_effect import AdapterEffect
from auralith.errors import InvalidRequest
from auralith.files import file_hash
from auralith.jobs.lanes import Attempts, Lanes
from auralith.jobs.orders import cost, read_order, resolved
from auralith.jobs.records import Job
from auralith.jobs.store import JobStore
from auralith.jobs.tasks import ModelPlace, WorkerSettings
from auralith.resolution import Resolver
from auralith.sound.reading import read
from tests.conftest import GOLDEN

TINY = str(GOLDEN / "sao_tiny")
SETTINGS = WorkerSettings((ModelPlace("tiny", TINY),), "cpu", "float32")


@pytest.fixture(scope="module")
def model() -> auralith.Auralith:
    return auralith.load(TINY, device="cpu", dtype="float32")


ROOM = [10**12]
"""Free bytes that the store of these tests sees."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JobStore]:
    folder = tmp_path_factory.mktemp("lanes") / "data"
    store = JobStore(folder, free_bytes=lambda _: ROOM[0])
    yield store
    store.close()


@pytest.fixture(scope="module")
def lanes(store: JobStore) -> Iterator[Lanes]:
    """One process for all tests: starting one takes seconds."""

    def find(order: dict[str, object]) -> tuple[tuple[str, AdapterEffect], ...]:
        if order.get("adapters"):
            raise InvalidRequest("the adapter is gone; choose another")
        return ()

    lanes = Lanes(store, [SETTINGS], find)
    lanes.start()
    yield lanes
    lanes.stop(0.0)


def add(store: JobStore, model: Resolver, **body: object) -> Job:
    base = {"prompt": "a drum", "seconds": 0.3, "window": "fit", "steps": 2, "model": "tiny"}
    order = resolved(read_order(base | body), model, None)
    return store.accept(order.to_json(), cost(order, model, None))[0]


def wait(store: JobStore, job: Job, is_met: Callable[[Job], object], seconds: float = 300.0) -> Job:
    end = time.monotonic() + seconds
    while not is_met(found := store.job(job.id)):
        assert time.monotonic() < end, found
        time.sleep(0.01)
    return found


def worker_pid(lanes: Lanes) -> int:
    worker = lanes._lanes[0]._worker
    assert worker is not None
    return worker._process.pid


def is_stepping(job: Job) -> bool:
    return job.is_final or (job.progress or {}).get("stage") == "denoising"


def test_sounds_are_those_of_the_api(
    store: JobStore, lanes: Lanes, model: auralith.Auralith, tmp_path: Path
) -> None:
    job = wait(store, add(store, model, n=2, seed=5), lambda job: job.is_final)
    assert job.status == "succeeded", job.error
    outputs = store.outputs(job.id)
    assert [one.facts["seed"] for one in outputs] == [5, 6]
    for one, request in zip(outputs, read_order(job.request).numbered(), strict=True):
        model.generate(request).save(tmp_path / "same.wav")
        assert one.path.read_bytes() == (tmp_path / "same.wav").read_bytes()
        assert one.facts["sha256"] == file_hash(one.path)
    kinds = [event.kind for event in store.events(job.id)]
    assert kinds == ["state", "state", "output", "output", "end"]


def test_cancelling_stops_at_a_step(
    store: JobStore, lanes: Lanes, model: auralith.Auralith
) -> None:
    job = wait(store, add(store, model, steps=10_000), is_stepping)
    pid = worker_pid(lanes)
    store.cancel(job.id)
    assert wait(store, job, lambda job: job.is_final, 2).status == "cancelled"
    assert wait(store, add(store, model), lambda job: job.is_final).status == "succeeded"
    assert worker_pid(lanes) == pid


def test_the_next_job_is_begun_before_the_end_of_one_is_noted(
    store: JobStore, lanes: Lanes, model: auralith.Auralith, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that dies in between costs the next one an attempt, and the other nothing."""
    first = wait(store, add(store, model, steps=300), is_stepping)
    second, finish, seen = add(store, model), store.finish, list[str]()

    def killed(job: Job, *how: Any) -> Job | None:
        if not seen:
            os.kill(worker_pid(lanes), signal.SIGKILL)
        seen.append(store.job(second.id).status)
        return finish(job, *how)

    monkeypatch.setattr(store, "finish", killed)
    both = [wait(store, job, lambda job: job.is_final) for job in (first, second)]
    assert [(job.status, job.crashes) for job in both] == [("succeeded", 0), ("succeeded", 1)]
    assert seen[0] == "running"


def test_an_error_is_a_problem_and_an_adapter_may_be_gone(
    store: JobStore, lanes: Lanes, model: auralith.Auralith
) -> None:
    job, _ = store.accept({"prompt": "a", "model": "tiny", "adapters": [{"id": "x"}]}, 1.0)
    failed = wait(store, job, lambda job: job.is_final)
    assert failed.error is not None and failed.error["status"] == 422
    assert failed.error["detail"] == "the adapter is gone; choose another"


def test_jobs_wait_while_the_disk_is_full(
    store: JobStore, lanes: Lanes, model: auralith.Auralith
) -> None:
    full = wait(store, add(store, model, steps=300), is_stepping)
    waiting = add(store, model)
    ROOM[0] = 0
    wait(store, full, lambda job: job.is_final)
    time.sleep(0.3)
    assert store.job(waiting.id).status == "queued"
    ROOM[0] = 10**12
    assert wait(store, waiting, lambda job: job.is_final).status == "succeeded"


@pytest.mark.slow
def test_a_worker_that_hangs_or_dies_costs_an_attempt_and_then_the_job(
    store: JobStore, lanes: Lanes, model: auralith.Auralith
) -> None:
    calm = wait(store, add(store, model, seed=1, steps=1_000), lambda job: job.is_final)
    job, hopeless = add(store, model, seed=1, steps=1_000), add(store, model, steps=10_000)
    with store._db.write() as db:  # while it waits: a lane knows its job as it was claimed
        db.execute("UPDATE jobs SET crashes = 1 WHERE id = ?", (hopeless.id,))
    wait(store, job, is_stepping)
    os.kill(worker_pid(lanes), signal.SIGSTOP)
    (lane,) = lanes._lanes
    lane._attempts = Attempts(1, silent_seconds=1.0)
    wait(store, job, lambda job: job.crashes)
    lane._attempts = Attempts(1)
    again = wait(store, job, lambda job: job.is_final)
    assert again.status == "succeeded" and again.crashes == 1
    hashes = {one.facts["sha256"] for each in (calm, again) for one in store.outputs(each.id)}
    assert len(hashes) == 1
    reasons = [event.data.get("reason", "") for event in store.events(job.id)]
    assert any("said nothing for 1 s" in reason for reason in reasons)
    wait(store, hopeless, is_stepping)
    os.kill(worker_pid(lanes), signal.SIGKILL)
    failed = wait(store, hopeless, lambda job: job.is_final)
    assert failed.error is not None and "signal 9), 2 times" in failed.error["detail"]


def test_previews_are_told_of_and_go_with_the_job(
    store: JobStore, lanes: Lanes, model: auralith.Auralith
) -> None:
    job = add(store, model, steps=3_000)

    def heard(job: Job) -> list[dict[str, Any]]:
        assert not job.is_final
        return [event.data for event in store.events(job.id) if event.kind == "preview"]

    wait(store, job, heard)
    (first, *_) = heard(store.job(job.id))
    assert first["url"] == f"/v1/jobs/{job.id}/preview/1" and first["step"] < 3_000
    assert read(lanes.previews.file(job.id, 1))[0].shape[0] == 1
    assert lanes.models[0]["id"] == "tiny" and lanes.models[0]["device"] == "cpu"
    store.cancel(job.id)
    assert wait(store, job, lambda job: job.is_final).model_hash == model.checkpoint.model_hash
    assert {event.kind for event in store.events(job.id)} == {"state", "end"}
    assert lanes.previews.file(job.id, 1).is_file()  # who heard of it just before the end
    after = wait(store, add(store, model), lambda job: job.is_final)
    wait(store, after, lambda _: not list(lanes.previews.path.glob(f"{job.id}-*")))


def test_stopping_queues_what_runs(store: JobStore, lanes: Lanes, model: auralith.Auralith) -> None:
    job = wait(store, add(store, model, steps=10_000), lambda job: job.status == "running")
    lanes.stop(0.0)
    assert store.job(job.id).status == "queued"


def test_each_device_has_a_process_and_each_job_is_done_once(
    tmp_path: Path, model: auralith.Auralith
) -> None:
    store = JobStore(tmp_path / "data")
    lanes = Lanes(store, [replace(SETTINGS, preload=True)] * 2, lambda _: ())
    lanes.start()
    assert lanes.trouble == "models are being loaded on cpu"
    jobs = [add(store, model, steps=10_000) for _ in range(2)]
    for job in jobs:
        wait(store, job, is_stepping)
    assert lanes.trouble is None and [one["id"] for one in lanes.models] == ["tiny", "tiny"]
    for job in jobs:
        store.cancel(job.id)
    quick = [add(store, model, seed=seed) for seed in range(6)]
    for job in quick:
        assert wait(store, job, lambda job: job.is_final).status == "succeeded"
        kinds = [event.kind for event in store.events(job.id)]
        assert kinds.count("output") == kinds.count("end") == 1
    lanes.stop(0.0)
    store.close()
