"""Strangers on a socket: slow, endless, malformed or too many. Each gets a clear answer, and the others theirs."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from auralith.jobs.records import Limits
from auralith.server import protocol
from auralith.server.app import make_app
from auralith.server.guard import Guard, Rules
from auralith.server.routes import jobs as job_routes
from auralith.server.service import Service
from tests.serving import QUICK, RULES, listening, settings


@contextmanager
def idle_server(folder: Path, rules: Rules) -> Iterator[tuple[str, Service, Guard]]:
    """Give the URL of a server that makes nothing."""
    service = Service(settings(folder, limits=Limits(queue=100)))
    app = make_app(service, rules)
    assert isinstance(app, Guard)
    with listening(app) as url:
        yield url, service, app
        service.bell.close()
    service.store.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    rules = replace(RULES, body_seconds=0.4)
    with idle_server(tmp_path_factory.mktemp("idle"), rules) as (found, _, _):
        yield found


def connect(url: str) -> socket.socket:
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None
    return socket.create_connection((parts.hostname, parts.port), timeout=10)


def answer_to(connection: socket.socket, data: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of the answer to what is sent, after which the server closes."""
    if data:
        connection.sendall(data)
    received = b""
    while piece := _received(connection):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split(" ")[1]), headers, body


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65_536)
    except ConnectionResetError:  # it had not read all that was sent
        return b""


def head(
    target: str = "/v1/jobs", method: str = "GET", host: str = "127.0.0.1", **more: str
) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def still_answers(url: str) -> None:
    assert httpx.get(f"{url}/healthz").json() == {"status": "alive"}


def test_a_slow_head_is_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEADER_SECONDS", 0.3)
    for start in (b"", b"GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "):
        with connect(url) as connection:
            status, headers, body = answer_to(connection, start)
        assert status == 408 and headers["connection"] == "close"
        assert json.loads(body)["type"].endswith("too-slow")
    with connect(url) as connection:  # a drop now and then does not help
        begun = time.monotonic()
        for letter in b"GET / HT":
            if time.monotonic() - begun > 0.25:
                break
            connection.sendall(bytes([letter]))
            time.sleep(0.1)
        assert answer_to(connection)[0] == 408
    still_answers(url)


def test_a_slow_body_is_not_waited_for(url: str) -> None:
    for path in ("/v1/audio/generations", "/v1/assets"):
        kind = "multipart/form-data; boundary=x"
        with connect(url) as connection:
            data = head(path, "POST", Content_Length="50", Content_Type=kind) + b"--x\r\n"
            status, _, body = answer_to(connection, data)
        assert status == 408 and b"did not arrive" in body
    still_answers(url)


def test_an_endless_body_ends(url: str) -> None:
    sent = 0
    with connect(url) as connection:
        connection.sendall(head("/v1/audio/generations", "POST", Transfer_Encoding="chunked"))
        try:
            while sent < 200 * 2**20:
                connection.sendall(b"10000\r\n" + b"a" * 65_536 + b"\r\n")
                sent += 65_536
        except OSError:  # it has closed
            pass
        answer = _received(connection)  # if it outlives that the server did not read all
    assert sent < 100 * 2**20
    assert not answer or (b" 413 " in answer and b"too-large" in answer)
    still_answers(url)


def test_a_body_that_says_it_is_large_is_not_read(url: str) -> None:
    for size in ("5368709120", "9" * 20):
        with connect(url) as connection:
            status, _, body = answer_to(
                connection, head("/v1/audio/generations", "POST", Content_Length=size)
            )
        assert status == 413 and json.loads(body)["type"].endswith("too-large")


@pytest.mark.parametrize(
    "data",
    [
        head(Content_Length="5", Transfer_Encoding="chunked") + b"0\r\n\r\n",
        head(Content_Length="-1"),
        head(Content_Length="9" * 30),
        head(Content_Length="1, 2"),
        b"GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nX\0: 1\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\n X: folded\r\n\r\n",
        b"GET /v1/jobs HTTP/1.1\r\nHost : 127.0.0.1\r\n\r\n",
        b"GET /v1/jobs\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        head(X="a" * 100_000),
        head("/v1/jobs", Transfer_Encoding="gzip, chunked"),
    ],
)
def test_what_is_no_request_is_refused(url: str, data: bytes) -> None:
    with connect(url) as connection:
        connection.settimeout(2)
        connection.sendall(data)
        try:
            received = connection.recv(65_536)
        except TimeoutError:
            received = b"HTTP/1.1 400 "  # it waits for the rest, for a while
        except ConnectionResetError:
            received = b"HTTP/1.1 400 "
    assert received[:13] in [b"HTTP/1.1 %d " % status for status in (400, 403, 431, 501)], received[
        :80
    ]
    still_answers(url)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (head("http://evil.example/v1/jobs", host="evil.example"), 403),
        (head(host="evil.example"), 403),
        (head(host="127.0.0.1.evil.example"), 403),
        (head(host="127.0.0.1@evil.example"), 403),
        (head(host="127\u00b70\u00b70\u00b71"), 403),
        (head(host=""), 403),
        (head(Origin="http://evil.example"), 403),
        (head(Origin="http://[::1"), 403),
        (head("//evil.example/v1/jobs"), 404),
        (head("/v1/jobs/../../etc/passwd"), 404),
        (head("/v1/jobs/%2e%2e%2f%2e%2e%2fjobs.sqlite"), 404),
        (head("/v1/jobs/%ff%fe"), 404),
        (head("/v1/jobs/%zz"), 404),
        (head("/v1/jobs?limit=%00"), 422),
        (head("/v1/jobs?search=%ff%27%22%25_!"), 200),
        (head(method="HEAD"), 405),
        (head(method="OPTIONS"), 405),
        (head(method="TRACE"), 405),
        (head(method="BREW"), 405),
        (head("127.0.0.1:80", method="CONNECT"), 404),
        (head(X_Forwarded_For="1.1.1.1", X_Forwarded_Host="evil.example"), 200),
        (head(Upgrade="websocket", Sec_WebSocket_Version="13"), 200),
        (head(Range="bytes=0-1", Last_Event_ID="9" * 40), 200),
    ],
)
def test_odd_requests_get_their_answer(url: str, data: bytes, status: int) -> None:
    with connect(url) as connection:
        found, headers, body = answer_to(connection, data)
    assert found == status
    assert headers["x-content-type-options"] == "nosniff" and headers["x-request-id"]
    if status != 200 and body:
        assert json.loads(body)["status"] == status


PART = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "multipart/form-data; boundary=x"),
        (b"file=a", "application/x-www-form-urlencoded"),
        (b"--x--\r\n", "multipart/form-data; boundary=x"),
        (PART + b"a\r\n" + PART + b"b\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (PART * 10_000 + b"--x--\r\n", "multipart/form-data; boundary=x"),
        (PART + b"RIFF", "multipart/form-data; boundary=x"),
        (PART + b"RIFF", "multipart/form-data"),
        (PART + b"RIFF", "multipart/form-data; boundary=" + "x" * 5_000),
        (PART.replace(b"file", b"other") + b"RIFF\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (
            PART.replace(b'; filename="a"', b"") + b"a\r\n--x--\r\n",
            "multipart/form-data; boundary=x",
        ),
        (
            b"--x\r\n" + b"A: " + b"b" * 90_000 + b"\r\n\r\n--x--\r\n",
            "multipart/form-data; boundary=x",
        ),
        (b"--x\r\n\r\n\r\n--x--\r\n", "multipart/form-data; boundary=x"),
        (b"{}", "application/json"),
        (b"RIFF", "audio/wav"),
    ],
)
def test_forms_that_are_none_are_refused(url: str, body: bytes, kind: str) -> None:
    answer = httpx.post(f"{url}/v1/assets", content=body, headers={"Content-Type": kind})
    assert answer.status_code in (400, 415, 422), answer.text
    assert answer.json()["status"] == answer.status_code
    still_answers(url)


def test_streams_of_events_are_counted(
    url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(job_routes, "MOST_STREAMS_EACH", 2)
    with idle_server(tmp_path, RULES) as (own, _, _), httpx.Client(base_url=own) as client:
        job = client.post("/v1/audio/generations", json=QUICK).json()
        path = f"/v1/jobs/{job['id']}/events"
        with client.stream("GET", path) as first, client.stream("GET", path) as second:
            lines = [first.iter_lines(), second.iter_lines()]  # which close them when they go
            assert all(next(one) for one in lines)
            refused = client.get(path)
            assert refused.status_code == 429 and int(refused.headers["retry-after"]) > 0
        for _ in range(100):  # those that have gone make room
            with client.stream("GET", path) as again:
                if again.status_code == 200:
                    break
            time.sleep(0.05)
        else:
            raise AssertionError("no stream was freed")


def test_too_many_requests_are_told_to_come_again(tmp_path: Path) -> None:
    rules = replace(RULES, requests=1, body_seconds=20.0)
    with idle_server(tmp_path, rules) as (own, _, app), connect(own) as slow:
        slow.sendall(head("/v1/audio/generations", "POST", Content_Length="9"))
        for _ in range(100):
            if app._answering:
                break
            time.sleep(0.02)
        refused = httpx.get(f"{own}/v1/limits")
        assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
        still_answers(own)
        status, _, _ = answer_to(slow, b"not json!")
        assert status == 400
        assert httpx.get(f"{own}/v1/limits").status_code == 200


def test_too_many_connections_are_told_to_come_again(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = [connect(url) for _ in range(3)]
    time.sleep(0.1)
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 3)
    with connect(url) as one_more:
        status, headers, body = answer_to(one_more)
    assert status == 503 and headers["retry-after"] == "1" and b"come again" in body
    for connection in held:
        connection.close()
    time.sleep(0.1)
    still_answers(url)


def test_who_leaves_while_waiting_leaves_a_job(tmp_path: Path) -> None:
    with idle_server(tmp_path, RULES) as (own, service, app):
        data = json.dumps(QUICK).encode()
        with connect(own) as connection:
            request = head(
                "/v1/audio/generations", "POST", Prefer="wait=60", Content_Length=str(len(data))
            )
            connection.sendall(request + data)
            until(lambda: service.store.count("queued") == 1)
            assert app._answering == 1
        until(lambda: app._answering == 0)
        assert service.store.count("queued") == 1  # it was accepted


def until(is_so: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_many_at_once_get_their_answers(url: str) -> None:
    found: list[int] = []

    def ask() -> None:
        found.extend(httpx.get(f"{url}/v1/limits").status_code for _ in range(3))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 48
