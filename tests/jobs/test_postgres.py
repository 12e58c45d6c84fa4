"""What only a database that servers share can do, and what it can do to them."""

import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from auralith.errors import InvalidRequest
from auralith.escaping import without_password
from auralith.jobs.database import Unreachable
from auralith.jobs.keeping import SWEEPING
from auralith.jobs.making import LEASE_SECONDS
from auralith.jobs.postgres import PAUSE_SECONDS, PostgresDatabase
from auralith.jobs.problems import problem
from auralith.jobs.records import Job, Limits, QueueFull
from auralith.jobs.store import ORPHAN_SECONDS, JobStore
from tests.jobs.postgres import GUARDED, Cluster
from tests.jobs.stores import Clock, add, claimed, made, make_output

Replica = Callable[..., JobStore]


@pytest.fixture
def replica(tmp_path: Path, clock: Clock, schema_url: str) -> Iterator[Replica]:
    """What opens another server's store of the same jobs."""
    with ExitStack() as stack:

        def replica(limits: Limits | None = None, *, folder: Path | None = None) -> JobStore:
            store = JobStore(folder or tmp_path / "data", limits, database=schema_url, clock=clock)
            stack.callback(store.close)
            return store

        yield replica


def until(is_met: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not is_met():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_server_that_starts_leaves_alone_what_another_one_makes(
    replica: Replica, clock: Clock
) -> None:
    first = replica()
    add(first)
    running = claimed(first)
    fresh, old = first.sounds / f"{running.id}-0.wav", first.sounds / "forgotten.wav"
    for path in (fresh, old):
        path.write_bytes(b"without a row")
    long_ago = time.time() - ORPHAN_SECONDS - 1
    os.utime(old, (long_ago, long_ago))
    second = replica()
    assert fresh.exists() and not old.exists()
    assert second.job(running.id).status == "running" and second.claim() is None
    assert first.finish(running, "succeeded")


def test_a_job_whose_server_is_gone_is_made_by_another_one(replica: Replica, clock: Clock) -> None:
    first, second = replica(), replica()
    job = add(first)
    lost = claimed(first)
    kept = make_output(first, lost)
    clock.now += LEASE_SECONDS + 1
    again = claimed(second)
    assert again.id == job.id and [one.id for one in second.outputs(job.id)] == [kept]
    assert first.step(lost, {"step": 2}) is None and first.finish(lost, "succeeded") is None
    assert second.finish(again, "succeeded") and first.job(job.id).status == "succeeded"


def test_what_one_does_the_others_see(replica: Replica) -> None:
    first, second = replica(), replica()
    rings: list[float] = []
    second.watchers.append(lambda: rings.append(time.monotonic()))
    own: list[str] = []
    second.listeners.append(lambda kind, job: own.append(kind))
    job = add(first)
    until(lambda: len(rings) == 1)
    running = claimed(first)
    first.step(running, {"step": 1, "of": 2})
    until(lambda: second.events(job.id)[-1:] and second.events(job.id)[-1].kind == "step")
    until(lambda: len(rings) > 1)
    assert second.job(job.id).progress == {"step": 1, "of": 2}
    second.cancel(job.id)
    renewed = first.renew(running)
    assert renewed is not None and renewed.is_cancelled
    first.finish(running, "succeeded")
    assert second.events(job.id)[-1].data == {"status": "cancelled"}
    assert own == []  # told by who made the change, once


def test_replicas_do_each_job_once(replica: Replica) -> None:
    stores = [replica() for _ in range(3)]
    done: list[str] = []

    def work(store: JobStore) -> None:
        while (job := store.claim()) is not None:
            store.step(job, {"step": 1})
            if store.finish(job, "succeeded"):
                done.append(job.id)

    wanted = [add(stores[0], str(i)).id for i in range(40)]
    run_at_once([lambda store=store: work(store) for store in stores])
    assert sorted(done) == sorted(wanted)
    for job in wanted:
        numbers = [event.number for event in stores[1].events(job)]
        assert len(numbers) == 3 and numbers == sorted(numbers)


def run_at_once(tasks: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_a_key_that_comes_to_two_at_once_gives_one_job(replica: Replica) -> None:
    stores = [replica() for _ in range(3)]
    found: list[tuple[Job, bool]] = []

    def ask(store: JobStore, key: str) -> None:
        found.append(store.accept({}, 1.0, key=("me", key), body_hash="a"))

    for key in "abcdef":
        run_at_once([lambda store=store, key=key: ask(store, key) for store in stores])
    assert len(found) == 18 and sum(is_new for _, is_new in found) == 6
    assert len({job.id for job, _ in found}) == 6 == stores[0].count("queued")


def test_the_queue_has_one_bound_for_all(replica: Replica) -> None:
    stores = [replica(Limits(queue=5)) for _ in range(3)]
    refused: list[QueueFull] = []

    def ask(store: JobStore) -> None:
        for _ in range(4):
            try:
                add(store)
            except QueueFull as error:
                refused.append(error)

    run_at_once([lambda store=store: ask(store) for store in stores])
    assert stores[0].count("queued") == 5 and len(refused) == 7


def test_one_sweeps_at_a_time(replica: Replica, clock: Clock) -> None:
    first, second = replica(), replica()
    made(first)
    clock.now += 1e9
    with second._db.task(SWEEPING) as is_mine:
        assert is_mine and first.sweep() == 0
    assert first.sweep() == 1


def test_the_clock_is_the_databases(tmp_path: Path, schema_url: str) -> None:
    store = JobStore(tmp_path, database=schema_url)
    before = time.time()
    found = add(store).created
    assert before - 1 < found < time.time() + 1
    store.close()


def test_a_folder_belongs_to_one_database(
    tmp_path: Path, replica: Replica, postgres: Cluster
) -> None:
    replica().close()
    with pytest.raises(InvalidRequest, match="is not the folder of the jobs"):
        replica(folder=tmp_path / "elsewhere")
    postgres.run("CREATE SCHEMA another")
    with pytest.raises(InvalidRequest, match="is not the folder of the jobs"):
        JobStore(tmp_path / "data", database=postgres.url("another"))
    with pytest.raises(InvalidRequest, match="in PostgreSQL; give its URL"):
        JobStore(tmp_path / "data")
    JobStore(tmp_path / "own").close()
    with pytest.raises(InvalidRequest, match="jobs of its own"):
        replica(folder=tmp_path / "own")
    assert len(replica().jobs()) == 0


KILLED = """
import os, sys
from auralith.jobs.store import JobStore
store = JobStore(sys.argv[1], database=sys.argv[2])
for i in range(20):
    job, _ = store.accept({"prompt": str(i)}, 1.0, key=("", str(i)))
    os.write(1, (job.id + "\\n").encode())
    if i % 3 == 0:
        store.claim()
    if i == 11:
        os.kill(os.getpid(), 9)
"""


def test_what_was_accepted_outlives_a_kill(
    tmp_path: Path, schema_url: str, replica: Replica, clock: Clock
) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "data"), schema_url]
    ended = subprocess.run(command, capture_output=True, text=True)
    accepted = ended.stdout.split()
    assert ended.returncode == -9 and len(accepted) == 12
    store = replica()
    assert [job.id for job in reversed(store.jobs())] == accepted
    assert store.count("running") == 4
    clock.now = time.time() + LEASE_SECONDS + 1
    assert claimed(store).id == accepted[0] and store.count("queued") == 11


def cut(store: JobStore, postgres: Cluster) -> None:
    """Cut the connection of a store, as a server does that is restarted."""
    (row,) = store._db.execute("SELECT pg_backend_pid() AS pid")
    postgres.run(f"SELECT pg_terminate_backend({row['pid']}, 5000)")


def test_a_lost_connection_is_made_again(replica: Replica, postgres: Cluster) -> None:
    store = replica()
    job = add(store)
    cut(store, postgres)
    assert store.job(job.id).status == "queued"
    cut(store, postgres)
    running = claimed(store)
    cut(store, postgres)
    assert store.step(running, {"step": 1}) and store.finish(running, "succeeded")


def test_a_change_that_is_cut_off_is_none(replica: Replica, postgres: Cluster) -> None:
    store = replica()

    def change() -> None:
        with store._db.write() as db:
            db.execute("INSERT INTO assets (id, num_bytes, facts, created) VALUES ('a', 1, '', 1)")
            cut(store, postgres)
            db.execute("SELECT 1")

    with pytest.raises(Unreachable) as caught:
        change()
    assert problem(caught.value)["status"] == 503
    assert store._db.execute("SELECT id FROM assets") == []
    add(store)


def test_a_server_that_stops_and_comes_back(
    tmp_path: Path, clock: Clock, postgres: Cluster
) -> None:
    postgres.run("CREATE SCHEMA stopping")
    store = JobStore(tmp_path / "data", database=postgres.url("stopping"), clock=clock)
    job = add(store)
    running = claimed(store)
    postgres.stop()
    try:
        for call in (lambda: add(store), lambda: store.job(job.id), lambda: store.renew(running)):
            with pytest.raises(Unreachable, match="PostgreSQL postgres at /tmp") as caught:
                call()
            assert "\n" not in str(caught.value)
        begun = time.monotonic()
        for _ in range(10):
            with pytest.raises(Unreachable):
                store.jobs()
        assert time.monotonic() - begun < PAUSE_SECONDS + 1
    finally:
        postgres.start()
    until(lambda: is_back(store))
    assert store.job(job.id).status == "running" and store.finish(running, "succeeded")
    store.close()


def is_back(store: JobStore) -> bool:
    try:
        return store.count("running") == 1
    except Unreachable:
        return False


def refusal(url: str) -> str:
    """Return the line that says why a database is refused; no trace of the error says more."""
    with pytest.raises((InvalidRequest, Unreachable)) as caught:
        PostgresDatabase(url)
    told = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in told and "hunt%z" not in told
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:hunter2@host/name",
        "jobs.sqlite",
        "",
        "postgresql://me:hunt%zzer2@host/name",
        "postgresql://me:hunter2@host/name?sslmoed=hunter2",
        "postgresql://[::1/hunter2",
    ],
)
def test_what_is_no_url_is_refused(url: str) -> None:
    pytest.importorskip("psycopg")
    assert "write it as postgresql://" in refusal(url)


@pytest.mark.parametrize(
    "place",
    [
        "127.0.0.1:9/name",
        "no-such-host.invalid/name",
        "127.0.0.1:99999/name",
        "127.0.0.1:port/name",
    ],
)
def test_nobody_answers(place: str) -> None:
    pytest.importorskip("psycopg")
    assert "can't be used (" in refusal(f"postgresql://me:hunter2@{place}")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://me:hunter2@host/name", "postgresql://me:…@host/name"),
        ("postgresql://:hunt@r2@host:1/name?a=b", "postgresql://:…@host:1/name?a=b"),
        ("postgres://me@host/name?password=hunter2&a=b", "postgres://me@host/name?password=…&a=b"),
        ("--database=postgresql://me:hunter2@host", "--database=postgresql://me:…@host"),
        ("postgresql://me@host:5432/a:b@c", "postgresql://me@host:5432/a:b@c"),
        ("a drum: loud @ 120 bpm", "a drum: loud @ 120 bpm"),
    ],
)
def test_a_command_is_shown_without_its_password(text: str, shown: str) -> None:
    assert without_password(text) == shown


def test_a_user_who_may_not(postgres: Cluster) -> None:
    postgres.run(f"CREATE ROLE {GUARDED} LOGIN PASSWORD 'right'")
    url = postgres.url(user=f"{GUARDED}:hunter2")
    assert "authentication failed" in refusal(url)
    assert "no password supplied" in refusal(postgres.url(user=GUARDED))
    right = url.replace("hunter2", "right")
    assert "grant it the rights" in refusal(right)
    postgres.run("CREATE SCHEMA guarded AUTHORIZATION guarded")
    postgres.run("ALTER ROLE guarded SET default_transaction_read_only = on")
    assert "read only" in refusal(right)
    postgres.run("ALTER ROLE guarded RESET default_transaction_read_only")
    PostgresDatabase(right).close()


def test_databases_that_are_not_ours(postgres: Cluster, schema_url: str) -> None:
    assert "does not exist" in refusal(postgres.url(database="nowhere"))
    assert "no schema" in refusal(postgres.url("nowhere"))
    postgres.run("CREATE SCHEMA foreign_one CREATE TABLE jobs (id TEXT)")
    assert "another program" in refusal(postgres.url("foreign_one"))
    postgres.run("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    assert "keeps text as LATIN1" in refusal(postgres.url(database="latin"))
    db = PostgresDatabase(schema_url)
    with db.write():
        db.execute("UPDATE auralith SET version = 99")
    db.close()
    assert "newer version" in refusal(schema_url)


def test_servers_that_start_together_make_one_set_of_tables(schema_url: str) -> None:
    opened: list[PostgresDatabase] = []
    run_at_once([lambda: opened.append(PostgresDatabase(schema_url)) for _ in range(4)])
    assert len(opened) == 4
    assert len(opened[0].execute("SELECT version FROM auralith")) == 1
    for db in opened:
        db.close()
