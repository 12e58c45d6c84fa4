"""The client: what the network loses is sent and fetched again, and nothing is made twice."""

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from auralith.cli.main import run
from auralith.client import AsyncClient, Client, Event, ServerError
from auralith.edits import EDITS
from auralith.errors import InvalidRequest
from auralith.jobs.names import KINDS
from auralith.provenance import read_provenance
from tests.serving import QUICK, TINY, serving


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("served")) as found:
        yield found


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr("auralith.client.time.sleep", found.append)
    return found


class Broken(httpx.BaseTransport):
    """A network that loses what `loses` says, the answer to a request that arrived."""

    def __init__(self, loses: Callable[[httpx.Request, int], bool]) -> None:
        self._inner, self._loses, self.sent = httpx.HTTPTransport(), loses, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.sent += 1
        answer = self._inner.handle_request(request)
        if self._loses(request, self.sent):
            answer.read()
            raise httpx.ReadError("lost")
        return answer


def answering(*answers: httpx.Response) -> httpx.MockTransport:
    """A server that gives these answers, the last one for ever."""
    left = list(answers)
    return httpx.MockTransport(lambda _: left.pop(0) if len(left) > 1 else left[0])


def problem(status: int, detail: str = "no", **more: Any) -> httpx.Response:
    headers = more.pop("headers", {})
    return httpx.Response(
        status, json={"status": status, "detail": detail, **more}, headers=headers
    )


def test_a_sound_is_made(url: str) -> None:
    seen: list[Event] = []
    with Client(url) as client:
        sounds = client.generate(on_event=seen.append, seed=7, n=2, **QUICK)
    assert [one.facts["seed"] for one in sounds] == [7, 8]
    for one in sounds:
        assert hashlib.sha256(one.data).hexdigest() == one.facts["sha256"]
    kinds = [event.kind for event in seen]
    assert kinds[0] == "state" and kinds[-1] == "end" and kinds.count("output") == 2


def test_asyncio_makes_several_at_once(url: str) -> None:
    async def make() -> list[Any]:
        async with AsyncClient(url) as client:
            jobs = (client.generate(seed=seed, **QUICK) for seed in (1, 2, 1))
            return await asyncio.gather(*jobs)

    first, second, again = asyncio.run(make())
    assert first[0].data == again[0].data != second[0].data


def test_a_wait_that_is_broken_off_cancels_its_job(url: str) -> None:
    async def leave() -> dict[str, Any]:
        async with AsyncClient(url) as client:
            long = asyncio.create_task(client.generate("a drum", seconds=0.3, steps=10_000))
            while not (jobs := (await client.get("/v1/jobs?status=running"))["jobs"]):
                await asyncio.sleep(0.05)
            long.cancel()
            with pytest.raises(asyncio.CancelledError):
                await long
            with pytest.raises(ServerError, match="cancelled"):
                await client.wait(jobs[0]["id"])
            return await client.job(jobs[0]["id"])

    assert asyncio.run(leave())["status"] == "cancelled"


def test_a_lost_answer_makes_no_second_job(url: str, pauses: list[float]) -> None:
    network = Broken(lambda request, sent: request.method == "POST" and sent < 3)
    with Client(url, transport=network) as client:
        before = len(client.get("/v1/jobs")["jobs"])
        job = client.submit(QUICK)
        assert len(client.get("/v1/jobs")["jobs"]) == before + 1
        assert client.wait(job["id"])["outputs"] and pauses == [0.2]


def test_events_go_on_after_the_last_one(url: str, pauses: list[float]) -> None:
    class Cut(httpx.SyncByteStream):
        def __init__(self, data: bytes) -> None:
            self._data = data

        def __iter__(self) -> Iterator[bytes]:
            yield self._data
            raise httpx.ReadError("cut off")

    class Cutting(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            answer = super().handle_request(request)
            if "last-event-id" not in request.headers:
                return answer
            events = answer.read().split(b"\n\n")
            if len(events) < 3:
                return httpx.Response(200, content=b"\n\n".join(events))
            return httpx.Response(200, stream=Cut(events[0] + b"\n\n" + events[1][:9]))

    with Client(url) as client:
        job = client.submit(QUICK | {"n": 2})
        client.wait(job["id"])
        whole = list(client.events(job["id"]))
        assert list(client.events(job["id"], whole[1].number)) == whole[2:]
        assert list(client.events(job["id"], whole[-1].number)) == []
    with Client(url, transport=Cutting()) as client:
        assert list(client.events(job["id"])) == whole


def test_a_busy_server_is_asked_when_it_says(pauses: list[float]) -> None:
    job = httpx.Response(202, json={"id": "x"})
    busy = problem(429, headers={"Retry-After": "7"})
    with Client(transport=answering(busy, problem(503), job)) as client:
        assert client.submit({"prompt": "x"}) == {"id": "x"}
    assert pauses == [7.0, 0.4]
    with (
        Client(transport=answering(busy), patience=5.0) as client,
        pytest.raises(ServerError) as found,
    ):
        client.submit({"prompt": "x"})
    assert found.value.status == 429 and pauses == [7.0, 0.4]


def test_a_server_that_is_none_is_said_to_be_none(pauses: list[float]) -> None:
    with Client("http://127.0.0.1:9") as client, pytest.raises(ServerError, match="can't be reach"):
        client.job("x")
    assert len(pauses) == 4
    for answer in (httpx.Response(200, text="<html>"), httpx.Response(404, text="<html>")):
        with Client(transport=answering(answer)) as client, pytest.raises(ServerError) as found:
            client.job("x")
        assert "not as a server of Auralith" in str(found.value)
    with pytest.raises(InvalidRequest, match="not the URL"):
        Client("file:///etc/passwd")


def test_a_damaged_sound_is_refused() -> None:
    answer = httpx.Response(200, content=b"RIFF", headers={"ETag": '"0"'})
    with Client(transport=answering(answer)) as client, pytest.raises(ServerError, match="damaged"):
        client.download("x")


def test_a_key_is_sent_to_its_server(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(f"{request.headers.get('authorization')} {request.url.raw_path.decode()}")
        return httpx.Response(200, json={})

    monkeypatch.setenv("AURALITH_API_KEY", "first, second")
    for key in (None, "own"):
        with Client(key=key, transport=httpx.MockTransport(answer)) as client:
            client.job("../x?y")
    path = "/v1/jobs/..%2Fx%3Fy"
    assert seen == [f"Bearer first {path}", f"Bearer own {path}"]


def test_no_network_is_loaded_for_it() -> None:
    code = "import sys, auralith.client, auralith.cli.remote; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.slow
def test_a_command_makes_the_same_file_here_and_there(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    here = ["--model", TINY, "--device", "cpu", "--dtype", "float32"]
    words = ["generate", "a drum", "--seconds", "0.3", "--window", "fit", "--steps", "2"]
    assert run([*words, "--seed", "7", "-o", "here.wav", *here]) == 0
    printed = capsys.readouterr()
    assert run([*words, "--seed", "7", "-o", "there.wav", "--png", "--server", url]) == 0
    assert capsys.readouterr().err == printed.err == "seed 7\n"
    assert Path("here.wav").read_bytes() == Path("there.wav").read_bytes()
    assert Path("there.png").read_bytes().startswith(b"\x89PNG")
    edits = {
        "vary": ["vary", "here.wav", "a snare", "--strength", "0.3", "--subtype", "pcm24"],
        "inpaint": ["inpaint", "here.wav", "--range", "0.1-0.2", "--passes", "1"],
        "extend": ["extend", "here.wav", "--seconds", "0.4", "--prompt", "0.35:thunder"],
        "loop": ["loop", "a drum", "--bpm", "240", "--bars", "1", "--format", "flac"],
    }
    assert {
        task: edit.kind for task, edit in EDITS.items()
    } == KINDS and edits.keys() == KINDS.keys()
    for task, arguments in edits.items():
        assert run([*arguments, "--steps", "2", "--seed", "3", "--server", url]) == 0
        made = read_provenance(capsys.readouterr().out.strip())
        assert made.edit is not None and made.edit.kind == KINDS[task] and made.settings.seed == 3
    assert_made_again(url, capsys)
    assert Path("here variation-3.wav").exists() or list(Path().glob("here-variation-3.wav"))


def assert_made_again(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each sound that lies here comes again from the server, with the same bytes; an edit from the file that its tags name."""
    for path in sorted(Path().glob("*-3.*")):
        again = ["generate", "--from", str(path), "--server", url, "-o", f"again{path.suffix}"]
        if read_provenance(path).source is not None:
            assert run(again) == 2 and "allow that with --yes" in capsys.readouterr().err
            again.append("--yes")
        if path.name.startswith("here-variation"):
            again += ["--subtype", "pcm24"]
        assert run(again) == 0
        assert "warning" not in capsys.readouterr().err
        assert Path(f"again{path.suffix}").read_bytes() == path.read_bytes()
    assert run(["generate", "another", "--from", "here.wav", "--server", url, "-o", "b.wav"]) == 0
    origin = read_provenance("b.wav")
    assert (origin.settings.prompt, origin.settings.seed) == ("another", 7)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--steps 0", "--steps is 0; it must be from 1 to 10000"),
        ("--cfg 101", "--cfg is 101; it must be at most 100"),
        ("--seconds 0", "--seconds is 0 s; it must be above 0"),
        ("--seconds 99", "99 s are asked for; this model makes at most"),
        ("--n 17", "--n is 17; it must be from 1 to 16"),
        ("--adapter x:0.5", "--adapter: 'x' is unknown"),
        ("--model x", "--model 'x' is unknown"),
        ("--device cpu", "--device is the server's to choose; leave it out with --server"),
        ("--from x.wav", "x.wav"),
        ("--format aac", "--format is 'aac'; choose one of"),
        ("--subtype pcm32", "--subtype: WAV files can't be pcm32"),
        ("-o no/such/folder.wav", "no/such"),
    ],
)
def test_refusals_name_the_options(
    arguments: str,
    line: str,
    url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Any,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["generate", "rain", *arguments.split(), "--server", url]) == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_member_of_an_error_is_a_field() -> None:
    entry = {"field": "steps", "value": 0, "remedy": "more"}
    refused = problem(422, "steps is 0; more", errors=[entry])
    with Client(transport=answering(refused)) as client, pytest.raises(ServerError) as found:
        client.submit({})
    found.value.rename(lambda field: f"--{field}")
    assert str(found.value) == "--steps is 0; more"
    assert json.dumps(found.value.problem["errors"]) == json.dumps([entry])
