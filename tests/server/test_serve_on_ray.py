"""`auralith serve --ray`: replicas on a cluster of Ray that is started for the test, which takes half a minute."""

import signal
import time
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
from tests.server.test_serve import JOBS, Server, all_done, hashes, until
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
