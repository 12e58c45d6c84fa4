"""Sets that a server makes: the same files as here, gone on with, and no more of the server than there is for others."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from auralith.checkpoints import AdapterConfig, AdapterMetadata, add_adapter, save_adapter
from auralith.cli.main import run
from auralith.client import Client, ServerError
from auralith.errors import InvalidRequest
from auralith.jobs.records import Limits
from auralith.sets import Made, Problem, ServerModel, SetSettings, make_set, read_rows
from auralith.sound.writing import write
from tests.conftest import open_tiny
from tests.serving import QUICK, TINY, serving

DEFAULTS = {"seconds_total": 0.3, "window": "fit", "steps": 2}
HERE = ["--model", TINY, "--device", "cpu", "--dtype", "float32"]
OPTIONS = ["--seconds", "0.3", "--window", "fit", "--steps", "2"]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapters")
    config, base = AdapterConfig(rank=2), open_tiny("sao_tiny")
    add_adapter(base.dit, config, np.random.default_rng(0))
    save_adapter(folder / "warm.safetensors", base.dit, AdapterMetadata(config))
    return folder


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory, adapters: Path) -> Iterator[str]:
    """A server that lets two sounds of a set wait at a time."""
    folder = tmp_path_factory.mktemp("served")
    with serving(folder, adapters=adapters, limits=Limits(queue=4)) as found:
        yield found


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def rows() -> str:
    """A table with a variation, a row that no model can make, one for two sounds, and a plain one."""
    time = np.arange(13_000) / 44_100
    write("tone.wav", np.sin(2 * np.pi * 440 * time).astype(np.float32), 44_100)
    write("long.wav", np.zeros(44_100 * 5, np.float32), 44_100)
    text = "prompt,init_audio,n\nrain,,2\nwind,tone.wav,\nhail,long.wav,\nsnow,,\n"
    Path("prompts.csv").write_text(text)
    return "prompts.csv"


def plain(count: int = 3) -> str:
    Path("plain.txt").write_text("".join(f"drum {number}\n" for number in range(count)))
    return "plain.txt"


def contents(folder: str) -> dict[str, Any]:
    lines = Path(folder, "manifest.jsonl").read_text().splitlines()
    sounds = {
        path.name: path.read_bytes()
        for path in Path(folder).glob("*.*")
        if path.suffix in (".wav", ".flac")
    }
    return sounds | {"manifest": sorted(map(json.loads, lines), key=lambda one: one["file"])}  # fmt: skip


def make(url: str, folder: str, table: str, client: Client | None = None) -> list[Made | Problem]:
    model = ServerModel(client or Client(url))
    return list(make_set(model, read_rows(table), folder, SetSettings(defaults=DEFAULTS)))


@pytest.mark.slow
def test_a_server_makes_the_files_that_are_made_here(
    url: str, adapters: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["batch", rows(), *OPTIONS, "--format", "flac"]
    assert run([*words, "-o", "here", *HERE, "--adapter", f"{adapters}/warm.safetensors:0.5"]) == 3
    here = capsys.readouterr()
    assert run([*words, "-o", "there", "--server", url, "--adapter", "warm:0.5"]) == 3
    there = capsys.readouterr()
    assert contents("here") == contents("there")
    assert len(list(Path("there").glob("*.flac"))) == 4
    assert "made 4, already there 0, rows left out 1" in there.err
    assert "long.wav" in here.err and "5.00 s long; this takes at most" in there.err
    kept = {path: path.stat().st_mtime_ns for path in Path("there").glob("*.flac")}
    assert run([*words, "-o", "there", "--server", url, "--adapter", "warm:0.5"]) == 3
    assert "made 0, already there 4, rows left out 1" in capsys.readouterr().err
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_what_a_server_had_accepted_is_not_made_again(url: str) -> None:
    first = make(url, "one", plain())
    with Client(url) as client:
        jobs = {job["id"] for job in client.get("/v1/jobs?limit=200")["jobs"]}
        Path("two/one").mkdir(parents=True)  # a lost folder of the same name
        again = make(url, "two/one", plain())
        assert {job["id"] for job in client.get("/v1/jobs?limit=200")["jobs"]} == jobs
        named = client.get("/v1/jobs?search=one")["jobs"]
    assert [event.entry for event in first if isinstance(event, Made)] == [
        event.entry for event in again if isinstance(event, Made)
    ]
    assert {job["request"]["label"] for job in named} == {"one"}


class Counting(Client):
    """Counts the jobs of it that are not fetched."""

    now = most = 0

    def submit(self, *given: Any, **options: Any) -> Any:
        job = super().submit(*given, **options)
        self.now += 1
        self.most = max(self.most, self.now)
        return job

    def download(self, sound_id: str) -> bytes:
        self.now -= 1
        return super().download(sound_id)


def test_half_of_the_queue_is_left_to_others(url: str) -> None:
    client = Counting(url)
    assert len(make(url, "set", plain(5), client)) == 5
    assert client.most == 2
    client.close()


class Refusing(httpx.HTTPTransport):
    """A network whose server has no room for the requests of some numbers."""

    def __init__(self, *numbers: int) -> None:
        super().__init__()
        self._numbers, self.times = numbers, list[float]()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.times.append(time.monotonic())
            if len(self.times) in self._numbers:
                problem = {"status": 429, "detail": "full"}
                return httpx.Response(429, json=problem, headers={"Retry-After": "1"})
        return super().handle_request(request)


def test_a_full_queue_is_waited_for(url: str) -> None:
    """What is in flight is fetched meanwhile; without any, the server is asked when it says."""
    network = Refusing(1, 3)
    with Client(url, transport=network) as client:
        assert all(isinstance(event, Made) for event in make(url, "full", plain(2), client))
    first, second, third, fourth = network.times
    assert (
        second - first >= 1.0
        and fourth - third >= 1.0
        and len(list(Path("full").glob("*.wav"))) == 2
    )
    with (
        Client(url, patience=0.5, transport=Refusing(1, 2, 3)) as client,
        pytest.raises(ServerError, match="full") as found,
    ):
        client.submit(QUICK)
    assert found.value.retry_after == 1.0


def test_an_end_before_its_time_cancels_what_waits(url: str) -> None:
    Path("long.csv").write_text("prompt,steps\nsnow,2\nfog,10000\nhail,10000\n")
    model = ServerModel(Client(url))
    settings = SetSettings(defaults=DEFAULTS)
    events = make_set(model, read_rows("long.csv"), "ended", settings)
    assert isinstance(next(events), Made)
    events.close()
    with Client(url) as client:
        jobs = client.get("/v1/jobs?search=ended")["jobs"]
        assert len(jobs) >= 2
        for job in jobs:
            if job["request"]["steps"] == 10_000:
                with pytest.raises(ServerError, match="cancelled"):
                    client.wait(job["id"])


def test_a_sound_that_was_not_planned_is_left_out(url: str) -> None:
    model = ServerModel(Client(url))
    model.model_hash = "0" * 64  # the server has the model of another time
    settings = SetSettings(defaults=DEFAULTS)
    (event,) = make_set(model, read_rows(plain(1)), "set", settings)
    assert isinstance(event, Problem) and "its model or an adapter was replaced" in event.reason
    assert not list(Path("set").glob("*.wav"))


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--device cpu", "--device is the server's to choose"),
        ("--batch-size 2", "--batch-size is the server's to choose"),
        ("--model x", "--model 'x' is not on the server; choose one of tiny"),
        ("--adapter x", "there is no adapter of this name"),
        ("--adapter warm:99", "strength is 99"),
        ("--subtype pcm16 --format ogg", "--subtype"),
    ],
)
def test_refusals_name_the_options(
    arguments: str, line: str, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["batch", plain(), "-o", "set", "--server", url, *arguments.split()]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1
    assert not list(Path().glob("set/*.wav"))


def test_a_stranger_is_told_apart() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"models": [{"id": "x"}]})

    with (
        Client(transport=httpx.MockTransport(answer)) as client,
        pytest.raises((ServerError, InvalidRequest), match="not what a server of Auralith has"),
    ):
        ServerModel(client)


@pytest.mark.slow
def test_an_evaluation_has_its_sounds_made_by_a_server(url: str) -> None:
    Path("list.csv").write_text("id,prompt\na,a kick drum at 120 bpm\n")
    words = ["evaluate", "--prompts", "list.csv", "--controls", *OPTIONS]
    assert run([*words, "-o", "report", "--model", "tiny", "--server", url]) == 0
    report = json.loads(Path("report/report.json").read_text())
    assert "tiny" in json.dumps(report)
    assert len(list(Path("report/sounds/tiny").glob("*.wav"))) == 1
