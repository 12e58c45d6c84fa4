"""Servers that share their jobs: whoever is asked answers, whoever makes them."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from auralith.jobs.database import Unreachable
from auralith.jobs.store import JobStore
from auralith.server.service import Service
from tests.jobs.postgres import Cluster
from tests.server.test_app import QUICK, Client, settings
from tests.server.test_serve import until

pytestmark = pytest.mark.slow


@pytest.fixture
def replicas(tmp_path: Path, schema_url: str) -> Iterator[tuple[Client, Client]]:
    """A server that makes jobs, and one that doesn't."""
    maker, other = (Service(settings(tmp_path, database=schema_url)) for _ in range(2))
    maker.start()
    yield Client(maker), Client(other)
    maker.stop(0.0)
    other.store.close()


def test_a_job_is_followed_where_it_is_not_made(
    replicas: tuple[Client, Client], postgres: Cluster
) -> None:
    maker, other = replicas
    job = other("POST", "/v1/audio/generations", json=QUICK | {"steps": 200, "seed": 3}).json()
    stream = other("GET", f"/v1/jobs/{job['id']}/events").text
    kinds = [line.removeprefix("event: ") for line in stream.splitlines() if line[:6] == "event:"]
    assert kinds[0] == "state" and kinds[-2:] == ["output", "end"]
    steps = [json.loads(line[6:]) for line in stream.splitlines() if '"stage": "denoising"' in line]
    assert len(steps) >= 2 and [one["step"] for one in steps] == sorted(
        one["step"] for one in steps
    )
    found = other("GET", f"/v1/jobs/{job['id']}").json()
    assert found == maker("GET", f"/v1/jobs/{job['id']}").json()
    assert found["status"] == "succeeded"
    sounds = [client("GET", found["outputs"][0]["url"]).content for client in replicas]
    assert sounds[0] == sounds[1] and len(sounds[0]) > 1_000
    check_waiting_and_cancelling(other)
    check_a_pause_of_the_database(maker, postgres)


def check_waiting_and_cancelling(other: Client) -> None:
    """A call that waits hears of the end at once, and a job is cancelled by whoever is asked."""
    assert other.make(seed=4).json()["status"] == "succeeded"
    long = other("POST", "/v1/audio/generations", json=QUICK | {"steps": 10_000}).json()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(other, "GET", f"/v1/jobs/{long['id']}/events")
        assert other("DELETE", f"/v1/jobs/{long['id']}").status_code == 202
        assert waiting.result(20).text.rstrip().endswith('{"status": "cancelled"}')


def check_a_pause_of_the_database(maker: Client, postgres: Cluster) -> None:
    """A job that runs goes on while the database is started anew, and is not begun again."""
    store = maker.service.store
    job = maker("POST", "/v1/audio/generations", json=QUICK | {"steps": 1_500}).json()["id"]
    until(lambda: store.job(job).progress)
    started = store.job(job).started
    postgres.stop()
    time.sleep(0.5)
    postgres.start()
    until(lambda: is_over(store, job))
    assert store.job(job).status == "succeeded" and store.job(job).started == started


def is_over(store: JobStore, job: str) -> bool:
    try:
        return store.job(job).is_final
    except Unreachable:
        return False


def test_without_the_database_it_says_so(
    tmp_path: Path, schema_url: str, postgres: Cluster
) -> None:
    service = Service(settings(tmp_path, database=schema_url))
    client = Client(service)
    assert client("GET", "/readyz").status_code == 200
    postgres.stop()
    try:
        for method, path in (
            ("GET", "/readyz"),
            ("GET", "/v1/jobs"),
            ("POST", "/v1/audio/generations"),
        ):
            answer = client(method, path, json=QUICK)
            assert answer.status_code == 503, answer.text
            assert answer.json()["type"] == "urn:auralith:problem:database-unreachable"
        assert client("GET", "/healthz").status_code == 200
    finally:
        postgres.start()
        service.store.close()
