"""Freesound's API against a local stub: limits, retries, ETags, resuming, and a key that nobody gets to see."""

import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, Literal
from urllib.parse import parse_qs, urlsplit

import pytest

from auralith.curation.http import MARGIN_S, RateLimit, TokenBucket
from auralith.curation.sources import FreesoundClient, FreesoundSearch, FreesoundSounds, ingest
from auralith.curation.sources.freesound import LIMITS
from auralith.curation.store import Store
from auralith.errors import AuralithError, InvalidRequest, ResourceError

KEY = "SecretKey0123456789abcdef"
AT = "2026-01-01T00:00:00Z"


@dataclass
class FakeClock:
    """A clock that stands still except while somebody sleeps."""

    time: float = 1_700_000_000.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    path: str
    place: str
    params: dict[str, str]
    headers: Any


class Stub(BaseHTTPRequestHandler):
    """Freesound as far as we know it: sounds by page or id filter, one sound, ETags; `script` answers come first."""

    sounds: ClassVar[dict[int, dict[str, Any]]]
    unindexed: ClassVar[set[int]]
    requests: ClassVar[list[Request]]
    script: ClassVar[list[tuple[int, dict[str, str], bytes]]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.place, self.params = parts.path, {k: v[0] for k, v in parse_qs(parts.query).items()}
        self.requests.append(Request(self.path, self.place, self.params, self.headers))
        if self.script:
            return self._send(*self.script.pop(0))
        if self.headers["Authorization"] != f"Token {KEY}":
            return self._send(401, {}, b'{"detail": "Invalid token"}')
        answer = self._answer()
        body = json.dumps(answer).encode()
        etag = f'"{hash(body)}"'
        if self.headers["If-None-Match"] == etag:
            return self._send(304, {"ETag": etag}, b"")
        self._send(200 if answer else 404, {"ETag": etag}, body)

    def _answer(self) -> Any:
        if "sounds" in self.place:
            return self.sounds.get(int(self.place.strip("/").split("/")[-1]))
        found = [one for id, one in sorted(self.sounds.items()) if id not in self.unindexed]
        if self.params.get("filter", "").startswith("id:("):
            wanted = self.params["filter"][4:-1].split(" OR ")
            found = [one for one in found if str(one["id"]) in wanted]
        size, page = int(self.params["page_size"]), int(self.params["page"])
        start = (page - 1) * size
        more = (
            f"https://freesound.org/apiv2/search/?token={KEY}"
            if start + size < len(found)
            else None
        )
        return {"count": len(found), "next": more, "results": found[start : start + size]}

    def _send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def sound(id: int) -> dict[str, Any]:
    return {
        "id": id,
        "url": f"https://freesound.org/people/ann/sounds/{id}/",
        "name": f"rain {id}",
        "username": "ann",
        "tags": ["rain", "field-recording"],
        "description": "…",
        "category_code": "ss-n",
        "created": "2020-01-01T00:00:00",
        "license": "http://creativecommons.org/licenses/by/3.0/",
        "gen_ai_preference": "no-additional-preferences",
        "duration": 2.5,
        "is_remix": False,
    }


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of the stub, with 400 sounds in it."""
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    Stub.sounds = {id: sound(id) for id in range(1, 401)}
    Stub.unindexed, Stub.requests, Stub.script = set(), [], []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/apiv2"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def client(stub: str, clock: FakeClock, tmp_path: Path) -> FreesoundClient:
    return FreesoundClient(KEY, tmp_path / "api", base_url=stub, clock=clock)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "curation")


def ids(store: Store) -> list[int]:
    return [int(id) for id in store.read("recordings", ["source_id"])["source_id"].to_pylist()]


def test_a_search_brings_all_pages_with_the_fields_named(
    client: FreesoundClient, store: Store
) -> None:
    progress = ingest(store, FreesoundSearch(client, store, "rain", "duration:[0 TO 9]"), AT)
    assert (progress.read, progress.added) == (400, 400) and ids(store) == list(range(1, 401))
    assert [request.params["page"] for request in Stub.requests] == ["1", "2", "3"]
    for request in Stub.requests:
        assert request.params["page_size"] == "150" and request.params["query"] == "rain"
        assert {"license", "gen_ai_preference", "category_code"} <= set(
            request.params["fields"].split(",")
        )


def test_a_sound_keeps_its_deed_preference_and_author(
    client: FreesoundClient, store: Store
) -> None:
    ingest(store, FreesoundSounds(client, store, ["7"]), AT)
    (one,) = store.read("recordings").to_pylist()
    assert one["license_url_raw"] == one["license_raw"] == sound(7)["license"]
    assert (one["rec_id"], one["author"], one["duration_s"]) == ("freesound:7", "ann", 2.5)
    assert (one["tags"], one["is_remix"], one["category_code"]) == (sound(7)["tags"], False, "ss-n")
    assert one["gen_ai_preference"] == "no-additional-preferences"


def test_ids_cost_one_request_for_150_and_missing_ones_are_rejected(
    client: FreesoundClient, store: Store
) -> None:
    Stub.unindexed = {5}
    wanted = [str(id) for id in [*range(1, 200), 999]]
    progress = ingest(store, FreesoundSounds(client, store, wanted), AT)
    assert (progress.added, progress.rejected) == (199, {"not_found": 1})
    assert [r.place.rsplit("apiv2/")[-1] for r in Stub.requests] == [
        *("search/", "sounds/5/", "search/", "sounds/999/")
    ]
    assert all("license" in request.params["fields"] for request in Stub.requests)
    assert store.read("rejected").to_pylist()[0]["rec_id"] == "freesound:999"
    Stub.requests.clear()
    again = ingest(store, FreesoundSounds(client, store, wanted), AT)
    assert again.read == 0 and not Stub.requests


def test_finished_ids_are_not_asked_for_again(client: FreesoundClient, store: Store) -> None:
    ingest(store, FreesoundSounds(client, store, ["1", "2"]), AT)
    Stub.requests.clear()
    progress = ingest(store, FreesoundSounds(client, store, ["2", "3", "03"]), AT)
    assert progress.added == 1 and [r.params["filter"] for r in Stub.requests] == ["id:(3)"]
    assert sorted(ids(store)) == [1, 2, 3]


def test_a_search_cut_off_goes_on_where_it_was_and_repeats_nothing(
    client: FreesoundClient, store: Store
) -> None:
    def search() -> FreesoundSearch:
        made = FreesoundSearch(client, store)
        made.slice_rows = 150
        return made

    Stub.sounds = {id: sound(id) for id in range(1, 1_001)}
    ok = json.dumps({"results": [sound(id) for id in range(1, 151)], "next": "x"}).encode()
    Stub.script = [(200, {}, ok), (400, {}, b"no")]
    with pytest.raises(InvalidRequest):
        ingest(store, search(), AT)
    for page in (1, 2, 3):  # one page at a time, as if it were killed each time
        Stub.script = []
        steps = search()
        steps_rows = iter(steps.rows())
        taken = [next(steps_rows) for _ in range(150)]
        assert taken[0].record and taken[0].record["source_id"] == str(page * 150 + 1)
        Stub.sounds.pop(page)  # deleted meanwhile: later sounds move up
        partial = _Only(steps, taken)
        ingest(store, partial, AT)
    Stub.requests.clear()
    ingest(store, search(), AT)
    assert ids(store) == sorted(set(ids(store))) and len(ids(store)) == 1_000
    assert Stub.requests[0].params["page"] == "4"


class _Only:
    """Some rows of a source."""

    def __init__(self, source: FreesoundSearch, taken: list[Any]) -> None:
        self.batch, self.name = source.batch, source.name
        self.slice_rows, self.start, self._taken = source.slice_rows, source.start, taken

    def rows(self) -> Iterator[Any]:
        yield from self._taken


def test_an_answer_with_an_etag_isnt_transferred_again(
    client: FreesoundClient, tmp_path: Path, stub: str, clock: FakeClock
) -> None:
    params = {"fields": "id"}
    first = client.get("sounds/7/", params)
    other = FreesoundClient(KEY, tmp_path / "api", base_url=stub, clock=clock)
    assert other.get("sounds/7/", params) == first == sound(7)
    assert Stub.requests[0].headers["If-None-Match"] is None
    assert Stub.requests[1].headers["If-None-Match"].startswith('"')
    Stub.sounds[7]["name"] = "snow"
    assert other.get("sounds/7/", params)["name"] == "snow"
    (kept,) = (tmp_path / "api").glob("*.gz")
    whole = kept.read_bytes()
    for damaged in (b"damaged", b"", whole[:-9], whole[:12] + b"\xff" * 8 + whole[20:]):
        kept.write_bytes(damaged)
        assert other.get("sounds/7/", params)["name"] == "snow"


@pytest.mark.parametrize(
    ("headers", "waits"),
    [
        ({"Retry-After": "17"}, 17.0),
        ({"Retry-After": formatdate(1_700_000_042, usegmt=True)}, 42.0),
        ({"Retry-After": "soon"}, 60.0),
        ({}, 60.0),
    ],
)
def test_after_too_many_requests_it_waits_as_long_as_it_is_told(
    client: FreesoundClient, clock: FakeClock, headers: dict[str, str], waits: float
) -> None:
    Stub.script = [(429, headers, b"{}")]
    assert client.get("sounds/7/", {}) == sound(7)
    assert clock.slept == [waits]


def test_a_long_wait_ends_the_run_instead(client: FreesoundClient, clock: FakeClock) -> None:
    Stub.script = [(429, {"Retry-After": "7200"}, b"")]
    with pytest.raises(ResourceError, match=r"2\.0 h; the same command continues"):
        client.get("sounds/7/", {})
    assert not clock.slept


def test_errors_of_the_server_are_tried_again_and_then_reported(
    client: FreesoundClient, clock: FakeClock
) -> None:
    Stub.script = [(503, {}, b""), (200, {}, b"<html>"), (500, {"Retry-After": "3"}, b"")]
    assert client.get("sounds/7/", {}) == sound(7)
    assert clock.slept == [1.0, 2.0, 3.0]
    Stub.script = [(502, {}, b"")] * 5
    with pytest.raises(ResourceError, match="HTTP 502, 5 attempts"):
        client.get("sounds/7/", {})
    assert not Stub.script


def test_a_server_that_doesnt_answer_is_one_line(tmp_path: Path, clock: FakeClock) -> None:
    client = FreesoundClient(KEY, tmp_path, base_url="http://127.0.0.1:9/apiv2", clock=clock)
    with pytest.raises(ResourceError, match="ConnectError, 5 attempts"):
        client.get("sounds/7/", {})


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "refused the key"), (403, "refused the key"), (400, "HTTP 400"), (302, "HTTP 302")],
)
def test_a_refusal_is_one_line_without_the_key(
    client: FreesoundClient, status: int, says: str
) -> None:
    body = f"<p>bad\ntoken {KEY}".encode()
    Stub.script = [(status, {"Location": "http://127.0.0.1:9/"}, body)]
    with pytest.raises(InvalidRequest, match=says) as caught:
        client.get("sounds/7/", {})
    assert KEY not in str(caught.value) and "\n" not in str(caught.value)
    assert len(Stub.requests) == 1


def test_an_answer_that_echoes_the_key_is_not_kept(client: FreesoundClient, tmp_path: Path) -> None:
    Stub.sounds[7]["name"] = f"rain?token={KEY}"
    assert KEY in client.get("sounds/7/", {})["name"]
    assert not list((tmp_path / "api").glob("*.gz"))
    client.get("sounds/8/", {})
    assert len(list((tmp_path / "api").glob("*.gz"))) == 1


def test_the_key_stands_in_a_header_and_nowhere_else(
    client: FreesoundClient,
    store: Store,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    ingest(store, FreesoundSearch(client, store), AT)
    Stub.script = [(500, {}, KEY.encode())] * 5
    with pytest.raises(AuralithError) as caught:
        client.get("sounds/7/", {})
    assert all(KEY not in request.path for request in Stub.requests)
    said = [
        caplog.text,
        *capfd.readouterr(),
        repr(client),
        repr(caught.value),
        str(vars(caught.value)),
    ]
    assert caplog.text and not any(KEY in text for text in said)
    assert caught.value.__cause__ is None
    for path in tmp_path.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


@pytest.mark.parametrize("key", ["", "two words", "line\nbreak", "ключ", KEY + "\r\nX: y"])
def test_a_key_that_is_none_is_refused_without_being_repeated(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidRequest, match="letters and digits") as caught:
        FreesoundClient(key, tmp_path)
    assert not key or key not in str(caught.value)


@pytest.mark.parametrize("level", [1, 2, 3])
def test_no_window_sees_more_requests_than_published(level: Literal[1, 2, 3]) -> None:
    clock, times = FakeClock(), list[float]()
    limit = RateLimit(LIMITS[level], clock, max_wait_s=1e9)
    (per_minute, minute), (per_day, day) = LIMITS[level]
    for _ in range(per_day + 200):
        limit.acquire()
        times.append(clock.time)
        clock.time += 0.05
    assert (per_minute, minute, day) in [(60, 60.0, 86_400.0), (300, 60.0, 86_400.0)]
    for allowed, seconds in ((per_minute, minute), (per_day, day)):
        gaps = [later - first for first, later in zip(times, times[allowed:], strict=False)]
        assert min(gaps) >= seconds
    assert times[per_minute - 1] - times[0] < minute  # a burst is allowed
    assert per_day / per_minute * minute <= times[per_day - 1] - times[0] + 2 * minute


def test_what_was_taken_today_still_counts_after_a_restart(tmp_path: Path) -> None:
    clock, state = FakeClock(), tmp_path / "requests.json"
    for _ in range(3):
        RateLimit([(3, 86_400.0)], clock, state).acquire()
    with pytest.raises(ResourceError, match=r"24\.0 h"):
        RateLimit([(3, 86_400.0)], clock, state).acquire()
    clock.time += 86_400 + MARGIN_S
    RateLimit([(3, 86_400.0)], clock, state).acquire()
    state.write_text("damaged")
    RateLimit([(3, 86_400.0)], clock, state).acquire()


def test_a_token_comes_back_one_window_after_it_was_taken() -> None:
    bucket = TokenBucket(2, 10.0)
    bucket.take(0.0)
    bucket.take(4.0)
    assert bucket.wait(5.0) == pytest.approx(5.0 + MARGIN_S)
    bucket.take(10.0 + MARGIN_S)
    assert bucket.wait(12.0) == pytest.approx(2.0 + MARGIN_S)


def test_an_answer_of_another_shape_is_one_line(client: FreesoundClient, store: Store) -> None:
    Stub.script = [(200, {}, b'{"sounds": []}')]
    with pytest.raises(ResourceError, match="no results"):
        ingest(store, FreesoundSearch(client, store), AT)
    Stub.script = [(200, {}, json.dumps({"results": [1, {"name": "x"}, sound(1)]}).encode())]
    progress = ingest(store, FreesoundSearch(client, store), AT)
    assert (progress.added, progress.rejected) == (1, {"row_unreadable": 1, "no_id": 1})


def test_ids_must_be_numbers(client: FreesoundClient, store: Store) -> None:
    with pytest.raises(InvalidRequest, match="'1 OR 2' is not a Freesound id"):
        FreesoundSounds(client, store, ["1 OR 2"])
