"""The server against the API in one process, and under more than it can take.

    python -m benchmarks.serve [--only throughput …] [--output serve.json]

Prints a row for each figure with what is wanted; each part takes less than three minutes on two cores. `page` needs Chromium and `make studio`. Losses under kill -9 are counted
by a test: SERVER_KILLS=50 pytest -m slow tests/server/test_serve.py -k kills.
"""

import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from auralith import GenerationRequest, load
from auralith.jobs.records import Limits
from auralith.jobs.store import JobStore
from benchmarks.flood import Flood

ROUNDS = 5
CLIENTS = 200
OVERLOAD_SECONDS = 20.0
HISTORY = 10_000
SOUND = {"prompt": "a drum loop at 120 bpm", "seconds": 6.0}
SHORT = {"prompt": "a kick drum", "seconds": 0.5, "steps": 2}


@dataclass(frozen=True)
class Figure:
    """A measured value and what is wanted of it."""

    what: str
    value: float
    unit: str
    wanted: str
    is_met: bool


@contextmanager
def server(
    *options: str, fill: Callable[[Path], None] | None = None
) -> Iterator[tuple[httpx.Client, int]]:
    """Give a client of a fresh server, whose folder is perhaps filled before, and its process."""
    with tempfile.TemporaryDirectory() as folder:
        if fill is not None:
            fill(Path(folder))
        command = [sys.executable, "-m", "auralith", "serve", "--data", folder, "--port", "0"]
        process = subprocess.Popen(
            [*command, "--preload", *options], stderr=subprocess.PIPE, text=True
        )
        try:
            assert process.stderr is not None
            url = next(
                filter(None, (re.search(r"serving on (\S+)", one) for one in process.stderr))
            )
            with httpx.Client(base_url=url[1], timeout=300) as client:
                _wait(lambda: client.get("/readyz").status_code == 200)
                yield client, process.pid
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def throughput() -> list[Figure]:
    """Return the time of two sounds by the API over that of the same jobs, in turns."""
    model, ratios = load(), []
    with server() as (client, _), tempfile.TemporaryDirectory() as folder:
        for number in range(4):
            own = _own_seconds(model, folder, SOUND, 2)
            served = _served_seconds(client, SOUND, 2)
            if number:  # the first round warms up
                ratios.append(own / served)
    ratio = statistics.median(ratios)
    return [
        Figure("throughput, API seconds / server seconds", ratio, "×", ">= 0.95", ratio >= 0.95)
    ]


def overhead() -> list[Figure]:
    """Return what a job costs besides its sound: what ten short ones take longer than by the API, in turns."""
    model, costs = load(), []
    with server() as (client, _), tempfile.TemporaryDirectory() as folder:
        for number in range(ROUNDS + 1):
            own = _own_seconds(model, folder, SHORT, 10)
            served = _served_seconds(client, SHORT, 10)
            if number:
                costs.append((served - own) / 10 * 1000)
    cost = statistics.median(costs)
    return [Figure("cost of a job besides its sound", cost, "ms", "<= 20", cost <= 20)]


def preview() -> list[Figure]:
    """Return the seconds from the first step of a 6 s sound to its first preview, or its end where it has none."""
    found = []
    with server() as (client, _):
        for seed in range(ROUNDS):
            job = client.post("/v1/audio/generations", json=SOUND | {"seed": seed}).json()["id"]
            first = None
            with client.stream("GET", f"/v1/jobs/{job}/events") as stream:
                for line in stream.iter_lines():
                    now = time.perf_counter()
                    if line == "event: step" and first is None:
                        first = now
                    if line in ("event: preview", "event: end"):
                        assert first is not None
                        found.append(now - first)
                        break
            _wait(lambda job=job: client.get(f"/v1/jobs/{job}").json()["status"] == "succeeded")
    value = statistics.median(found)
    return [Figure("first step to first preview, 6 s sound", value, "s", "<= 0.5", value <= 0.5)]


def overload() -> list[Figure]:
    """Return what 200 clients get that ask for much more than can be made, and what becomes of what was accepted."""
    with server("--queue", "16") as (client, pid):
        _served_seconds(client, SHORT, 5)
        before = _resident(pid)
        flood = _flood(str(client.base_url))
        peak, own = _resident(pid), _own_times(client.get("/metrics").text, 429)
        for status in ("queued", "running"):
            query = f"/v1/jobs?status={status}&limit=1"
            _wait(lambda query=query: client.get(query).json()["jobs"] == [], 120)
        accepted = flood.accepted
        jobs = [client.get(f"/v1/jobs/{one}").json() for one in accepted]
    done = sum(job["status"] == "succeeded" and len(job["outputs"]) == 1 for job in jobs)
    wrong = len(accepted) - done + len(accepted) - len(set(accepted))
    asked = len(flood.refused) + len(accepted)
    factor = asked / max(1, len(accepted))
    late = _high(flood.refused)
    grown = (peak - before) / 2**20
    return [
        Figure("requests over accepted ones", factor, "×", ">= 10", factor >= 10),
        Figure("requests in a second", asked / OVERLOAD_SECONDS, "", "", True),
        Figure("429 in the 99th percentile", late, "ms", "<= 100", late <= 100),
        Figure("429 in the median", statistics.median(flood.refused) * 1000, "ms", "", True),
        Figure("429 in the server itself, 99th percentile, at most", own, "ms", "", True),
        Figure("lateness of the clients, 99th percentile", _high(flood.late), "ms", "", True),
        Figure("accepted jobs not done once", float(wrong), "", "0", wrong == 0),
        Figure("growth of the server's memory", grown, "MiB", "<= 100", grown <= 100),
    ]


def history() -> list[Figure]:
    """Return how long lists and searches of 10,000 jobs take."""
    figures = []
    with server(fill=_fill) as (client, _):
        for what, query in (
            ("list of the newest 50", "limit=50"),
            ("list from the middle", f"limit=50&cursor={HISTORY // 2}"),
            ("search of a word of one job", "limit=50&search=number7777"),
            ("search of a word of all", "limit=50&search=drum"),
        ):
            spent = []
            for _ in range(2 * ROUNDS + 1):
                start = time.perf_counter()
                assert client.get(f"/v1/jobs?{query}").status_code == 200
                spent.append((time.perf_counter() - start) * 1000)
            value = statistics.median(spent[1:])
            figures.append(Figure(f"{HISTORY} jobs, {what}", value, "ms", "<= 50", value <= 50))
    return figures


def page() -> list[Figure]:
    """Return how long the studio takes until its prompt can be written into."""
    from playwright.sync_api import sync_playwright

    with server() as (client, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        found = []
        for _ in range(ROUNDS):
            tab = browser.new_context().new_page()  # with an empty cache
            start = time.perf_counter()
            tab.goto(str(client.base_url))
            tab.get_by_label("Prompt", exact=True).wait_for()
            found.append(time.perf_counter() - start)
            tab.context.close()
        browser.close()
    value = statistics.median(found)
    return [Figure("page until its prompt is there", value, "s", "<= 1.5", value <= 1.5)]


def _own_seconds(model: Any, folder: str, sound: dict[str, Any], count: int) -> float:
    start = time.perf_counter()
    for seed in range(count):
        request = GenerationRequest(
            sound["prompt"], seconds_total=sound["seconds"], seed=seed, steps=sound.get("steps")
        )
        model.generate(request).save(Path(folder) / f"{seed}.wav")
    return time.perf_counter() - start


def _served_seconds(client: httpx.Client, sound: dict[str, Any], count: int) -> float:
    """Return the seconds from the first request to the end of the last of so many jobs."""
    start = time.perf_counter()
    jobs = []
    for seed in range(count):
        answer = client.post("/v1/audio/generations", json=sound | {"seed": seed})
        assert answer.status_code == 202, answer.text
        jobs.append(answer.json()["id"])
    with client.stream("GET", f"/v1/jobs/{jobs[-1]}/events") as stream:
        for line in stream.iter_lines():
            if line == "event: end":
                break
    spent = time.perf_counter() - start
    assert all(client.get(f"/v1/jobs/{one}").json()["status"] == "succeeded" for one in jobs)
    return spent


def _flood(base: str) -> Flood:
    """Return what the clients got, which are a process of their own."""
    body = json.dumps(SHORT | {"steps": 10})
    command = [sys.executable, "-m", "benchmarks.flood", base, str(CLIENTS), str(OVERLOAD_SECONDS)]
    done = subprocess.run([*command, body], stdout=subprocess.PIPE, check=True, timeout=170)
    return Flood(**json.loads(done.stdout))


def _own_times(metrics: str, status: int) -> float:
    """Return the bound in ms below which the server took for 99 % of its answers of a status."""
    pattern = rf'auralith_answer_seconds_bucket{{le="([^"]+)",status="{status}"}} (\S+)'
    counts = [(float(bound), float(count)) for bound, count in re.findall(pattern, metrics)]
    most = max(count for _, count in counts)
    return 1000 * min(bound for bound, count in counts if count >= 0.99 * most)


def _high(seconds: list[float]) -> float:
    """Return the 99th percentile in ms."""
    return sorted(seconds)[int(0.99 * len(seconds))] * 1000


def _fill(folder: Path) -> None:
    """Put a long history into a folder."""
    store = JobStore(folder, Limits(queue=HISTORY + 1))
    for number in range(HISTORY):
        request = {"prompt": f"a drum loop number{number}", "seed": number, "task": "text"}
        store.accept(request, 1.0)
        job = store.claim()
        assert job is not None
        store.finish(job, "succeeded")
    store.close()


def _resident(pid: int) -> int:
    """Return the bytes that a process has in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _wait(is_met: Callable[[], object], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not is_met():
        assert time.monotonic() < end
        time.sleep(0.1)


BENCHMARKS: dict[str, Callable[[], list[Figure]]] = {
    "throughput": throughput,
    "overhead": overhead,
    "preview": preview,
    "overload": overload,
    "history": history,
    "page": page,
}


def main(
    only: Annotated[list[str] | None, typer.Option(help="; ".join(BENCHMARKS))] = None,
    output: Annotated[Path | None, typer.Option(help="Figures as JSON.")] = None,
) -> None:
    """Print what is measured beside what is wanted."""
    table = Table("", "", "wanted", "")
    figures = []
    for name in only or BENCHMARKS:
        for figure in BENCHMARKS[name]():
            figures.append(figure)
            met = "" if figure.is_met else "not met"
            table.add_row(figure.what, f"{figure.value:.3g} {figure.unit}", figure.wanted, met)
    if output is not None:
        output.write_text(json.dumps([asdict(figure) for figure in figures]))
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
