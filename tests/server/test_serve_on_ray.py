"""`auralith serve --ray`: replicas on a cluster of Ray that is started for the test, which takes half a minute."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from auralith.cli.main import run
from auralith.errors import ResourceError
from auralith.server import cluster
from auralith.server.run import Address
from auralith.server.service import ServiceSettings
from tests.jobs.postgres import Cluster
from tests.server.test_serve import JOBS, Server, all_done, hashes, needs_proc, until
from tests.serving import MODEL


@pytest.fixture
def server(tmp_path: Path, schema_url: str) -> Server:
    pytest.importorskip("ray.serve")
    replicas = ("--ray", "local", "--replicas", "2", "--database", schema_url)
    return Server(tmp_path / "data", *replicas, "--grace", "0")


def connections(postgres: Cluster) -> int:
    """Return how many servers are connected to the database."""
    import psycopg

    with psycopg.connect(postgres.url()) as connection:
        found = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'auralith'"
        ).fetchone()
    assert found is not None
    return found[0]


@pytest.fixture
def started(server: Server) -> Iterator[Server]:
    """A server that takes requests."""
    try:
        server.start()
        yield server
    finally:
        with suppress(ProcessLookupError):
            if server.process is not None and server.process.poll() is None:
                server.end(signal.SIGTERM)


def descendants(pid: int) -> Iterator[int]:
    """Yield the processes that a process has started, and those that they have."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, path.read_text().split()):
                yield child
                yield from descendants(child)


def stat_of(pid: int) -> list[str]:
    """Return the fields of a process from its state on: [1] is its parent, [11] its ticks of computing."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def busy_worker(server: Server) -> int:
    """Return the worker that computes."""
    assert server.process is not None
    pids = [
        pid
        for pid in descendants(server.process.pid)
        if b"auralith.jobs.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    before = {pid: int(stat_of(pid)[11]) for pid in pids}
    time.sleep(0.5)
    return max(pids, key=lambda pid: int(stat_of(pid)[11]) - before[pid])


def steps_done(server: Server, job: str) -> int:
    """Return the steps that a job has had; 0 while nobody answers, as when the replica is gone that was asked."""
    try:
        answer = server.client.get(f"/v1/jobs/{job}")
    except httpx.HTTPError:
        return 0
    found = answer.json() if answer.status_code == 200 else {}
    return (found.get("progress") or {}).get("step", 0)


@pytest.mark.slow
@needs_proc
def test_what_a_killed_replica_was_making_is_made_by_another(
    started: Server, postgres: Cluster
) -> None:
    body = JOBS[0] | {"steps": 3_000}
    undisturbed = started.post(body)["id"]
    until(lambda: all_done(started, [undisturbed]), 300)
    hit = started.post(body)["id"]
    until(lambda: steps_done(started, hit) > 10)
    os.kill(busy_worker(started), signal.SIGKILL)
    until(lambda: steps_done(started, hit) < 10, 60)
    until(lambda: steps_done(started, hit) > 10, 60)
    os.kill(int(stat_of(busy_worker(started))[1]), signal.SIGKILL)
    until(lambda: connections(postgres) == 1, 60)
    until(lambda: connections(postgres) == 2, 120)  # Ray has started it again
    until(lambda: steps_done(started, hit) > 10, 60)  # its lease has ended
    until(lambda: all_done(started, [hit]), 300)
    assert hashes(started, [hit]) == hashes(started, [undisturbed])


@pytest.mark.slow
def test_two_replicas_share_their_jobs(server: Server, postgres: Cluster) -> None:
    try:
        server.start()
        assert connections(postgres) == 2
        first = [server.post(body)["id"] for body in JOBS[:3]]
        again = [server.post(body)["id"] for body in JOBS[:3]]
        for job in first:
            # in whichever replica this ends up
            text = server.client.get(f"/v1/jobs/{job}/events").text
            assert text.count("event: end") == 1 and "event: output" in text
        until(lambda: all_done(server, [*first, *again]))
        assert hashes(server, first) == hashes(server, again)
        sound = server.client.get(server.job(first[0])["outputs"][0]["url"])
        assert sound.headers["content-type"] == "audio/wav" and len(sound.content) > 1_000
        refused = server.client.get("/v1/jobs", headers={"Host": "evil.example"})
        assert refused.status_code == 403
        unfinished = server.post(JOBS[0] | {"steps": 10_000})["id"]
        until(lambda: server.job(unfinished)["status"] == "running")
        base = server.client.base_url
        begun = time.monotonic()
        assert server.end(signal.SIGTERM) == 128 + signal.SIGTERM
        assert time.monotonic() - begun < 20
        assert "drum" not in server.log
        with pytest.raises(httpx.ConnectError):
            httpx.get(base.join("/healthz"))
        until(lambda: connections(postgres) == 0, 10)
    finally:
        with suppress(ProcessLookupError):
            if server.process is not None and server.process.poll() is None:
                server.end(signal.SIGKILL)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--ray local", "--database is missing"),
        ("--ray local --database x --device cuda:1", "--device must be auto, cpu or cuda"),
        ("--ray local --database x --device cpu --device cpu", "--device must be"),
        ("--ray local --database x --device cpu --review .", "--review is for one server"),
        ("--ray local --database x --device cpu --host 0.0.0.0", "lets others in"),
        ("--replicas 2", "name it with --ray"),
    ],
)
def test_what_a_cluster_does_not_take_is_refused_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: str,
    reason: str,
) -> None:
    monkeypatch.delenv("AURALITH_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    assert run(["serve", *options.split()]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("auralith: error: ") and reason in message
    assert not list(tmp_path.iterdir())


def test_proxies_that_do_not_start_are_a_line(
    tmp_path: Path, schema_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[str] = []

    def start(**_: object) -> None:
        raise TimeoutError("the actor died")

    ray = SimpleNamespace(
        exceptions=SimpleNamespace(RayError=TimeoutError),
        cluster_resources=dict,
        shutdown=lambda: ended.append("ray"),
    )
    monkeypatch.setattr(cluster, "join_cluster", lambda _: ray)
    monkeypatch.setattr(cluster, "_serve_library", lambda: SimpleNamespace(start=start))
    settings = ServiceSettings(tmp_path, (MODEL,), ("cpu",), database=schema_url)
    with pytest.raises(ResourceError, match="proxies can't be started"):
        cluster.serve_on_cluster(settings, Address(), "local", 1, ended.append)
    assert ended == ["ray"]
