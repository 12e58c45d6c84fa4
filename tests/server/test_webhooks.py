"""Webhooks: who may be told, how it is signed, and that a message is sent until it is taken."""

import base64
import hashlib
import hmac
import http.server
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from auralith.errors import InvalidRequest
from auralith.jobs.delivering import PAUSES
from auralith.jobs.records import Job
from auralith.jobs.store import JobStore
from auralith.server.service import Service
from auralith.server.webhooks import Webhooks, WebhookSettings, _is_public, webhook_settings
from tests.jobs.stores import Clock, claimed, make_output
from tests.serving import QUICK, Client, settings

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


class Receiver(http.server.BaseHTTPRequestHandler):
    """Notes what it is told, and answers as it should."""

    told: list[tuple[str, dict[str, str], bytes]]
    statuses: list[int]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.told.append((self.path, headers, body))
        self.send_response(self.statuses.pop(0) if self.statuses else 204)
        self.send_header("Location", f"http://{self.headers['host']}/elsewhere")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def receiving(*statuses: int) -> Iterator[tuple[str, type[Receiver]]]:
    """Give the URL of a receiver that answers with these statuses, then with 204."""
    handler = type("Own", (Receiver,), {"told": [], "statuses": list(statuses)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def accepted(store: JobStore, url: str, made: bool = True) -> Job:
    """Return a job that has ended, whose end a URL should be told."""
    job, _ = store.accept({"task": "text", "prompt": "a secret prompt"}, 1.0, webhook=url)
    if made:
        running = claimed(store)
        make_output(store, running)
        store.finish(running, "succeeded")
    else:
        store.cancel(job.id)
    return store.job(job.id)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[JobStore]:
    store = JobStore(tmp_path, clock=clock)
    yield store
    store.close()


def test_a_message_is_signed_as_standard_webhooks_say(store: JobStore) -> None:
    with receiving() as (url, receiver):
        hooks = Webhooks(store, webhook_settings((f"{url}/hooks",), SECRET))
        job = accepted(store, f"{url}/hooks/a?token=1")
        hooks.send_due()
        hooks.send_due()  # it was taken
    ((path, headers, body),) = receiver.told
    assert path == "/hooks/a?token=1" and headers["content-type"] == "application/json"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{body.decode()}".encode()
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    message = json.loads(body)
    assert message["type"] == "job.succeeded" and b"secret" not in body
    data = message["data"]
    assert data["id"] == job.id and data["status"] == "succeeded" and len(data["outputs"]) == 1


def test_a_message_is_sent_until_it_is_taken(store: JobStore, clock: Clock) -> None:
    with receiving(500, 302, 410) as (url, receiver):
        hooks = Webhooks(store, webhook_settings((url,), SECRET))
        accepted(store, url, made=False)
        for pause in (0.0, *PAUSES[:3]):
            clock.now += pause - 1
            hooks.send_due()
            clock.now += 1
            hooks.send_due()
        clock.now += 1e6
        hooks.send_due()
    assert len(receiver.told) == 4
    assert len({headers["webhook-id"] for _, headers, _ in receiver.told}) == 1
    assert all(path == "/" for path, _, _ in receiver.told)  # a redirect is not followed
    assert json.loads(receiver.told[0][2])["type"] == "job.cancelled"


def test_a_message_outlives_the_process(tmp_path: Path) -> None:
    clock = Clock()
    with receiving() as (url, receiver):
        store = JobStore(tmp_path, clock=clock)
        accepted(store, url)
        store.close()
        store = JobStore(tmp_path, clock=clock)
        Webhooks(store, webhook_settings((url,), SECRET)).send_due()
        store.close()
    assert len(receiver.told) == 1


def test_what_is_no_longer_allowed_is_not_told(store: JobStore, clock: Clock) -> None:
    with receiving() as (url, receiver):
        accepted(store, f"{url}/other")
        hooks = Webhooks(store, webhook_settings((f"{url}/hooks",), SECRET))
        for pause in (0.0, *PAUSES, 1e6):
            clock.now += pause
            hooks.send_due()
        assert not receiver.told and not store.take_deliveries()


def test_a_server_tells_a_real_receiver(tmp_path: Path) -> None:
    with receiving() as (url, receiver):
        service = Service(settings(tmp_path, webhooks=webhook_settings((url,), SECRET)))
        client = Client(service)
        body = QUICK | {"webhook": f"{url}/x"}
        job = client("POST", "/v1/audio/generations", json=body).json()
        assert job["request"]["webhook"] == f"{url}/x"
        client("DELETE", f"/v1/jobs/{job['id']}")
        service.webhooks.start()
        for _ in range(200):
            if receiver.told:
                break
            threading.Event().wait(0.05)
        service.webhooks.stop()
        service.store.close()
    assert json.loads(receiver.told[0][2])["data"]["id"] == job["id"]


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/a",  # not https
        "https://hooks.example.evil.example/a",
        "https://hooks.example:8443/a",
        "https://hooks.example/ab",
        "https://hooks.example/a/../b",
        "https://hooks.example/a/%2e%2e/b",
        "https://hooks.example/a/..%2fb",
        "https://hooks.example/a\\..\\b",
        "https://user@hooks.example/a",
        "https://hooks.example@evil.example/a",
        "https://hooks.example#@evil.example/a",
        "https://evil.example/https://hooks.example/a",
        "https://hooks.example/a\r\nX: y",
        "https://hооks.example/a",  # Cyrillic
        "https://[::1]/a",
        "https://[/a",
        "https://hooks.example:99999/a",
        "https:///a",
        "//hooks.example/a",
        "file:///etc/passwd",
        "gopher://hooks.example/a",
        "https://hooks.example/" + "a" * 3_000,
        "",
    ],
)
def test_only_the_list_is_told(store: JobStore, url: str) -> None:
    hooks = Webhooks(store, webhook_settings(("https://hooks.example/a",), SECRET))
    for allowed in ("https://hooks.example/a", "https://HOOKS.example:443/a/b?c=d"):
        hooks.require_allowed(allowed)
    with pytest.raises(InvalidRequest, match="webhook") as found:
        hooks.require_allowed(url)
    assert "\r" not in str(found.value)
    with pytest.raises(InvalidRequest, match="--webhook-allow"):
        Webhooks(store, WebhookSettings()).require_allowed("https://hooks.example/a")


def test_a_name_that_leads_inside_is_not_followed(
    store: JobStore, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    asked: list[Any] = []
    addresses = ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"]

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    def connect(address: Any, *_: Any) -> None:
        asked.append(address)
        raise OSError("nobody is there")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    accepted(store, "https://hooks.example/a")
    Webhooks(store, webhook_settings(("https://hooks.example",), SECRET)).send_due()
    assert not asked
    addresses.append("93.184.216.34")
    clock.now += PAUSES[0]
    Webhooks(store, webhook_settings(("https://hooks.example",), SECRET)).send_due()
    assert asked == [("93.184.216.34", 443)]


def test_addresses() -> None:
    for address in ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::"):
        assert _is_public(address), address
    for address in (
        *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
        *("100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1"),
        *("::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1", "ff02::1", "nonsense"),
    ):
        assert not _is_public(address), address


@pytest.mark.parametrize(
    ("url", "secret", "line"),
    [
        ("https://hooks.example", "", "AURALITH_WEBHOOK_SECRET holds no secret"),
        ("https://hooks.example", "whsec_", "AURALITH_WEBHOOK_SECRET"),
        ("https://hooks.example", "whsec_c2hvcnQ=", "24 to 64 random bytes"),
        ("https://hooks.example", "whsec_!!!!", "AURALITH_WEBHOOK_SECRET"),
        ("https://hooks.example", SECRET.removeprefix("whsec_"), "AURALITH_WEBHOOK_SECRET"),
        ("http://hooks.example", SECRET, "webhook_allow 'http://hooks.example' is not https"),
        ("hooks.example", SECRET, "webhook_allow"),
    ],
)
def test_a_list_without_a_secret_is_refused(url: str, secret: str, line: str) -> None:
    with pytest.raises(InvalidRequest) as found:
        webhook_settings((url,), secret)
    assert line in str(found.value)
    assert webhook_settings((), "") == WebhookSettings()
