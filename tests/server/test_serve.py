"""`auralith serve` as a process that is killed: every accepted job is done exactly once, with the bytes it would have had.

SERVER_KILLS says how many kills there are, KILL_SEED which ones.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from auralith.cli.main import run
from auralith.jobs.store import JobStore
from tests.conftest import GOLDEN

TINY = str(GOLDEN / "sao_tiny")
KILLS = int(os.environ.get("SERVER_KILLS", "1"))
SEED = int(os.environ.get("KILL_SEED", "0"))
JOBS = [
    {
        "prompt": "a drum",
        "seconds": 0.3,
        "window": "fit",
        "steps": 40 + 10 * i,
        "seed": i,
        "n": 1 + i % 3,
    }
    for i in range(6)
]


class Server:
    """A server in a process of its own."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        self.folder, self._options, self._environment = folder, options, environment
        self.process: subprocess.Popen[str] | None = None
        self.client = httpx.Client(timeout=30)
        self.log = ""

    def start(self, port: int = 0) -> None:
        """Start at a port, or at a free one, and wait until requests are taken; with --preload, until jobs are made at once."""
        command = [
            sys.executable,
            "-m",
            "auralith",
            "serve",
            "--data",
            str(self.folder),
            "--port",
            str(port),
        ]
        command += ["--model", TINY, "--device", "cpu", "--dtype", "float32", *self._options]
        environment = os.environ | self._environment
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        assert self.process.stderr is not None
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if found := re.search(r"serving on (\S+)", line):
                self.client.base_url = found[1]
                if "--preload" in self._options:
                    until(lambda: self.client.get("/readyz").status_code == 200, 300)
                return
        raise AssertionError("".join(lines))

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Return the exit code of a server that ends."""
        assert self.process is not None
        code = self.process.wait(30)
        assert self.process.stderr is not None
        self.log = self.process.stderr.read()
        self.process.stderr.close()
        self.client.close()  # its connections lead nowhere now
        self.client = httpx.Client(timeout=30, headers=self.client.headers)
        return code

    def workers(self) -> list[int]:
        """Return the processes that the server has started."""
        assert self.process is not None
        pid = self.process.pid
        children = "".join(
            path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")
        )
        return [int(child) for child in children.split()]

    def post(self, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        """Return the job of a request."""
        answer = self.client.post("/v1/audio/generations", json=body, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job."""
        return self.client.get(f"/v1/jobs/{job_id}").json()


KEY = {"AURALITH_API_KEY": "secret"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server with a key for all tests: with its worker it takes seconds to start."""
    folder = tmp_path_factory.mktemp("server") / "data"
    server = Server(folder, "--retries", "1000", "--grace", "0", **KEY)
    server.client.headers["Authorization"] = "Bearer secret"
    server.start()
    yield server
    with suppress(ProcessLookupError):
        if server.process is not None and server.process.poll() is None:
            server.end(signal.SIGKILL)


def until(is_met: Callable[[], object], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not is_met():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at /proc")


def hashes(server: Server, ids: list[str]) -> list[list[str]]:
    return [[one["sha256"] for one in server.job(job)["outputs"]] for job in ids]


def all_done(server: Server, ids: list[str]) -> bool:
    states = {server.job(one)["status"] for one in ids}
    assert states <= {"queued", "running", "succeeded"}
    return states == {"succeeded"}


@pytest.mark.slow
@needs_proc
def test_kills_lose_nothing_and_change_nothing(server: Server) -> None:
    """The server and its worker are killed at random moments while jobs come in, wait and run."""
    draw = random.Random(SEED)
    calm = [server.post(body)["id"] for body in JOBS]
    until(lambda: all_done(server, calm), 300)
    wanted = hashes(server, calm)
    shaken = [server.post(body, **{"Idempotency-Key": f"{i}"})["id"] for i, body in enumerate(JOBS)]
    for kill in range(KILLS):
        time.sleep(draw.uniform(0, 0.6))
        workers = server.workers()
        if kill % 2 and workers:
            with suppress(ProcessLookupError):
                os.kill(draw.choice(workers), signal.SIGKILL)
            continue
        server.end(signal.SIGKILL)
        until(lambda workers=workers: all(map(gone, workers)), 20)
        server.start()
        again = [
            server.post(body, **{"Idempotency-Key": f"{i}"})["id"] for i, body in enumerate(JOBS)
        ]
        assert again == shaken
    until(lambda: all_done(server, shaken), 300)
    assert hashes(server, shaken) == wanted
    sounds = server.folder / "audio"
    assert len(list(sounds.iterdir())) == 2 * sum(body["n"] for body in JOBS)
    for job in shaken:
        text = server.client.get(f"/v1/jobs/{job}/events").text
        assert text.count("event: end") == 1
        assert text.count("event: output") == len(server.job(job)["outputs"])


def test_it_is_not_open_to_others_without_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("AURALITH_API_KEY", raising=False)
    folder = tmp_path / "data"
    options = ["--data", str(folder), "--device", "cpu", "--model", TINY, "--port", "0"]
    assert run(["serve", *options, "--host", "0.0.0.0"]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("auralith: error: --host 0.0.0.0 lets others in")
    assert "--insecure" in message and not folder.exists()


def test_a_model_that_does_not_fit_is_refused_at_the_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(tmp_path / "data"), "--device", "cpu", "--model", TINY, "--port", "0"]
    assert run(["serve", *options, "--memory", "0.001"]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("auralith: error: --memory is 1.0 MiB; the weights of sao_tiny take")
    assert not (tmp_path / "data").exists()


NODE = shutil.which("node", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
"""Node, where `make studio` or the system has brought it."""
LANGUAGES = {"python": [sys.executable, "-"], "js": [NODE, "--input-type=module"] if NODE else []}
"""Programs that run the examples of a language from their input; none where there is no such program."""


def check_examples(
    page: str, language: str, command: list[str], server: Server, folder: Path
) -> None:
    """Run the blocks of a language, against a server with a key."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert blocks
    if not command:
        print(f"no program runs the examples in {language}")
        return
    address = str(server.client.base_url).rstrip("/")
    done = subprocess.run(
        command,
        input="".join(blocks).replace("http://127.0.0.1:8765", address),
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | KEY,
        timeout=120,
    )
    assert done.returncode == 0 and done.stdout, done.stdout + done.stderr


@needs_proc
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_the_examples_of_the_page_run(server: Server, tmp_path: Path) -> None:
    """Every block of curl in docs/serving.md, in one shell, against a server with a key."""
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    script = "".join(block for block in blocks if "curl" in block)
    assert script.count("curl") >= 8
    script = script.replace("http://127.0.0.1:8765", str(server.client.base_url).rstrip("/"))
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | KEY,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "drum.wav").stat().st_size > 1_000
    for language, command in LANGUAGES.items():
        check_examples(page, language, command, server, tmp_path)
    check_a_client_that_goes(server)
    check_a_polite_end(server)


def check_a_client_that_goes(server: Server) -> None:
    """The job of a call that waits for its bytes is cancelled when nobody waits any more."""
    with suppress(httpx.ReadTimeout):
        body = JOBS[0] | {"steps": 10_000, "n": 1}
        server.client.post("/v1/audio/generate", json=body, timeout=0.5)
    newest = server.client.get("/v1/jobs?limit=1").json()["jobs"][0]["id"]
    until(lambda: server.job(newest)["status"] == "cancelled", 10)


def check_a_polite_end(server: Server) -> None:
    """Listeners get a last event, the job that runs is queued again, and nothing told what was asked for."""
    secret = "marmalade " * 300  # the text encoder warns of what it cuts off
    job = server.post(JOBS[0] | {"prompt": secret, "steps": 10_000})["id"]
    with server.client.stream("GET", f"/v1/jobs/{job}/events") as stream:
        lines = stream.iter_lines()
        while next(lines) != "event: step":
            pass
        workers, begun = server.workers(), time.monotonic()
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        rest = list(lines)
    assert "event: shutdown" in rest and "event: end" not in rest
    assert server.wait() == 128 + signal.SIGTERM and time.monotonic() - begun < 10
    until(lambda: all(map(gone, workers)), 5)
    assert "terminated" in server.log or "interrupted" in server.log
    assert "marmalade" not in server.log and "drum" not in server.log
    assert "transformers" not in server.log and "torchao" not in server.log
    store = JobStore(server.folder)
    assert store.job(job).status == "queued"
    store.close()
