"""The store of jobs: nothing that was accepted is lost, and nothing is done twice."""

import random
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from auralith.errors import InvalidRequest
from auralith.jobs.accepting import KEY_SECONDS
from auralith.jobs.database import StorageFull
from auralith.jobs.estimates import Estimate
from auralith.jobs.making import LEASE_SECONDS
from auralith.jobs.records import FINAL, InUse, Job, KeyReused, Limits, QueueFull, Unknown
from auralith.jobs.sqlite import SqliteDatabase
from auralith.jobs.store import JobStore
from tests.jobs.conftest import OpenStore
from tests.jobs.stores import Clock, add, claimed, make_output


def kinds(store: JobStore, job: Job) -> list[tuple[str, object]]:
    return [(one.kind, one.data.get("status")) for one in store.events(job.id)]


def test_a_job_runs_through_its_states(store: JobStore) -> None:
    job = add(store)
    assert job.status == "queued" and store.estimate(job) == Estimate(0, None)
    running = claimed(store)
    assert running.id == job.id and running.status == "running" and store.claim() is None
    assert store.step(running, {"step": 1, "of": 2})
    assert store.job(job.id).progress == {"step": 1, "of": 2}
    output = make_output(store, running)
    assert store.output(output).path.read_bytes() == b"sound"
    assert store.finish(running, "succeeded")
    assert kinds(store, job) == [
        ("state", "queued"),
        ("state", "running"),
        ("output", None),
        ("end", "succeeded"),
    ]


def test_a_lost_claim_says_nothing(store: JobStore, clock: Clock) -> None:
    add(store)
    first = claimed(store)
    clock.now += LEASE_SECONDS - 1
    assert store.renew(first) and store.claim() is None
    clock.now += LEASE_SECONDS + 1
    second = claimed(store)
    assert second.id == first.id and second.claim != first.claim
    assert store.renew(first) is None and store.step(first, {}) is None
    assert store.finish(first, "failed") is None and store.release(first, "") is None
    assert store.finish(second, "succeeded") and store.finish(second, "failed") is None
    assert store.job(first.id).status == "succeeded"


def test_what_ran_is_queued_again_at_the_next_start(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    jobs = [add(store, str(i)) for i in range(4)]
    done, cut, cancelled = claimed(store), claimed(store), claimed(store)
    kept = make_output(store, done)
    store.finish(done, "succeeded")
    (store.sounds / f"{cut.id}-0.wav").write_bytes(b"without a row")
    (store.uploads / "half").write_bytes(b"without a row")
    store.step(cut, {"step": 1})
    store.cancel(cancelled.id)
    store.close()
    store = JobStore(tmp_path)
    assert [store.job(job.id).status for job in jobs] == [
        "succeeded",
        "queued",
        "cancelled",
        "queued",
    ]
    assert [path.stem for path in store.sounds.iterdir()] == [kept]
    assert not list(store.uploads.iterdir())
    again = claimed(store)
    assert again.id == cut.id and again.request == cut.request and again.progress is None
    store.close()


CRASHING = """
import os, sys
from auralith.jobs.estimates import Estimate
from auralith.jobs.store import JobStore
store = JobStore(sys.argv[1])
for i in range(100):
    job, _ = store.accept({"prompt": str(i)}, 1.0, key=("", str(i)))
    os.write(1, (job.id + "\\n").encode())
    if i % 3 == 0:
        store.claim()
    if i == int(sys.argv[2]):
        os.kill(os.getpid(), 9)
"""


def test_what_was_accepted_outlives_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CRASHING, str(tmp_path), "17"]
    done = subprocess.run(command, capture_output=True, text=True)
    accepted = done.stdout.split()
    assert done.returncode == -9 and len(accepted) == 18
    store = JobStore(tmp_path)
    assert [job.id for job in reversed(store.jobs())] == accepted
    assert store.count("queued") == 18
    assert add(store, "5", key=("", "5")).id == accepted[5]
    store.close()


def test_two_servers_do_not_share_a_folder(tmp_path: Path) -> None:
    store = JobStore(tmp_path)
    with pytest.raises(InvalidRequest, match="another process works on"):
        JobStore(tmp_path)
    store.close()


def test_a_key_gives_its_job_for_a_day(store: JobStore, clock: Clock) -> None:
    job, is_new = store.accept({}, 1.0, key=("me", "k"), body_hash="a")
    assert is_new
    claimed(store)
    again, is_new = store.accept({}, 1.0, key=("me", "k"), body_hash="a")
    assert again.id == job.id and again.status == "running" and not is_new
    assert store.accept({}, 1.0, key=("you", "k"), body_hash="b")[1]
    with pytest.raises(KeyReused, match="new key"):
        store.accept({}, 1.0, key=("me", "k"), body_hash="b")
    clock.now += KEY_SECONDS + 1
    assert store.accept({}, 1.0, key=("me", "k"), body_hash="b")[1]


def test_the_queue_is_bounded(open_store: OpenStore, clock: Clock) -> None:
    store = open_store(Limits(queue=2))
    add(store)
    running = claimed(store)
    clock.now += 20
    store.finish(running, "succeeded")
    assert store.estimate(add(store)) == Estimate(0, 20.0)
    claimed(store)
    keyed = add(store, key=("", "k"))
    add(store)
    with pytest.raises(QueueFull) as caught:
        add(store)
    assert caught.value.retry_after == 20
    assert add(store, key=("", "k")).id == keyed.id


def test_cancelling(store: JobStore) -> None:
    waiting, job = add(store, "a"), add(store, "b")
    assert store.cancel(waiting.id).status == "cancelled"
    running = claimed(store)
    assert running.id == job.id
    assert store.cancel(job.id).status == "running"
    renewed = store.renew(running)
    assert renewed is not None and renewed.is_cancelled
    finished = store.finish(running, "failed", {"detail": "stopped"})
    assert finished is not None and finished.status == "cancelled" and finished.error is None
    assert store.cancel(job.id).status == "cancelled"
    with pytest.raises(Unknown):
        store.cancel("no such id")


def test_deleting_takes_the_files_and_spares_what_is_needed(store: JobStore) -> None:
    add(store)
    job = claimed(store)
    with pytest.raises(InUse, match="not finished"):
        store.delete(job.id)
    output = make_output(store, job)
    store.finish(job, "succeeded")
    user = add(store, source=output)
    with pytest.raises(InUse, match="starts from"):
        store.delete(job.id)
    store.cancel(user.id)
    add(store)  # it starts from nothing
    store.delete(job.id)
    assert not list(store.sounds.iterdir())
    for look in (lambda: store.job(job.id), lambda: store.sound(output)):
        with pytest.raises(Unknown):
            look()
    with pytest.raises(Unknown):
        add(store, source=output)


def test_old_and_too_many_sounds_are_deleted(open_store: OpenStore, clock: Clock) -> None:
    store = open_store(Limits(keep_days=1.0, keep_bytes=250))
    made = []
    for _ in range(4):
        add(store)
        job = claimed(store)
        made.append(make_output(store, job, bytes(100)))
        store.finish(job, "succeeded")
        clock.now += 10
    (store.uploads / "asset").write_bytes(b"a")
    store.add_asset("asset", {})
    user = add(store, source="asset")
    assert store.sweep() == 2
    assert sorted(path.stem for path in store.sounds.iterdir()) == sorted(made[2:])
    clock.now += 86_400
    assert store.sweep() == 2 and store.sound("asset")
    store.cancel(user.id)
    clock.now += 1
    assert store.sweep() == 1 and not list(store.uploads.iterdir())


def test_a_full_disk_refuses_whole(tmp_path: Path) -> None:
    room = [10**12]
    store = JobStore(tmp_path, free_bytes=lambda _: room[0])
    kept = add(store)
    room[0] = 0
    with pytest.raises(StorageFull, match="disk space"):
        add(store)
    room[0] = 10**12
    db = store._db
    assert isinstance(db, SqliteDatabase)
    pages = db._number("page_count")
    db._connection.execute(f"PRAGMA max_page_count={pages}")
    accepted = [kept.id]

    def fill() -> None:
        for _ in range(1_000):
            accepted.append(add(store, "rain" * 100).id)
            store.cancel(accepted[-1])

    with pytest.raises(StorageFull, match="disk space"):
        fill()
    assert [job.id for job in reversed(store.jobs(limit=2_000))] == accepted
    db._connection.execute(f"PRAGMA max_page_count={pages + 1_000}")
    assert add(store).id and store.count("queued") >= 2
    store.close()


def test_who_reads_does_not_wait_for_a_change(tmp_path: Path) -> None:
    """It sees what was committed before, and the change once that is."""
    store = JobStore(tmp_path)
    job = add(store)
    with ThreadPoolExecutor(1) as others, store._db.write() as db:
        db.execute("UPDATE jobs SET cost = 7.0")
        assert others.submit(store.job, job.id).result(5).cost == job.cost != 7.0
        assert store.job(job.id).cost == 7.0
    assert store.job(job.id).cost == 7.0
    store.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The database of many jobs."""
    store = JobStore(tmp_path_factory.mktemp("filled"))
    for i in range(40):
        add(store, f"{i} " * 500)
    store.close()
    return (store.folder / "jobs.sqlite").read_bytes()


def damage(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "text":
        data = bytearray(b"not a database at all, but long enough to be one " * 20)
    elif how == "cut":
        del data[len(data) // 2 :]
    elif how == "bytes":
        for place in random.Random(1).sample(range(4096, len(data)), 4_000):
            data[place] ^= 0xFF
    path.write_bytes(data)
    if how in ("foreign", "newer"):
        pragma = "application_id=5" if how == "foreign" else "user_version=99"
        other = sqlite3.connect(path)
        other.execute(f"PRAGMA {pragma}")
        other.close()


@pytest.mark.parametrize(
    ("how", "remedy"),
    [
        ("text", "backup"),
        ("cut", "backup"),
        ("bytes", "backup"),
        ("foreign", "another folder"),
        ("newer", "update"),
    ],
)
def test_a_damaged_database_is_refused_and_left_as_it_is(
    tmp_path: Path, filled: bytes, how: str, remedy: str
) -> None:
    path = tmp_path / "jobs.sqlite"
    path.write_bytes(filled)
    damage(path, how)
    before = path.read_bytes()
    with pytest.raises(InvalidRequest, match=remedy) as caught:
        JobStore(tmp_path)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_many_threads_do_each_job_once(store: JobStore) -> None:
    done: list[str] = []

    def work() -> None:
        while (job := store.claim()) is not None:
            store.step(job, {"step": 1})
            if store.finish(job, "succeeded"):
                done.append(job.id)

    wanted = [add(store, str(i)).id for i in range(40)]
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == sorted(wanted)


@pytest.mark.parametrize("seed", range(5))
def test_any_order_of_operations_keeps_the_books(
    open_store: OpenStore, clock: Clock, seed: int
) -> None:
    """Random operations with restarts: a final job stays as it is, and every event log has one end at most."""
    draw = random.Random(seed)
    store = open_store(Limits(queue=100))
    final: dict[str, str] = {}
    claims: list[Job] = []
    ids: list[str] = []
    for _ in range(120):
        match draw.choice(
            ("add", "add", "claim", "claim", "finish", "release", "cancel", "wait", "restart")
        ):
            case "add":
                ids.append(add(store).id)
            case "claim" if job := store.claim():
                claims.append(job)
            case "finish" if claims:
                store.finish(
                    claims.pop(draw.randrange(len(claims))), draw.choice(("succeeded", "failed"))
                )
            case "release" if claims:
                store.release(claims.pop(draw.randrange(len(claims))), "asked", crashed=True)
            case "cancel" if ids:
                store.cancel(draw.choice(ids))
            case "wait":
                clock.now += LEASE_SECONDS * draw.random()
            case "restart":
                store.close()
                store = open_store(Limits(queue=100))
        for job in store.jobs(limit=1_000):
            assert final.setdefault(job.id, job.status) == job.status or job.id not in final
            if not job.is_final:
                del final[job.id]
    assert len(store.jobs(limit=1_000)) == len(ids)
    for one in ids:
        ends = [event for event in store.events(one) if event.kind == "end"]
        assert len(ends) == (store.job(one).status in FINAL)
