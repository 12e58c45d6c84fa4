"""Client of a server: requests sent once whatever the network does, jobs followed to their end, sounds fetched and verified.

    with Client("http://127.0.0.1:8765") as client:
        for sound in client.generate("rain on a tin roof", seconds=4.0):
            sound.save("rain.wav")

Members of a request are those of docs/serving.md; the server says what is valid. `AsyncClient` holds all the logic; `Client`
runs its coroutines over blocking connections, on which they never wait.
"""

import asyncio
import hashlib
import json
import os
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from auralith.errors import AuralithError, Field, InvalidRequest
from auralith.extras import LazyModule
from auralith.files import whole_file

httpx = LazyModule("httpx", "client")
URL = "http://127.0.0.1:8765"
KEY_VARIABLE = "AURALITH_API_KEY"
TIMEOUT = 40.0
"""Seconds without a byte after which a connection counts as broken; a stream of events has a line every 15 s."""
ATTEMPTS = 5
"""Attempts in a row that may find no server, at pauses that double."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
BUSY = (429, 503)
"""Statuses of a server that asks to come again."""
Json = dict[str, Any]
Result = TypeVar("Result")


class ServerError(AuralithError):
    """A server refused a request, failed a job, or can't be reached. The message is its problem's line.

    `problem` has the problem's members (RFC 9457), none without an answer; `status` is that of HTTP, `retry_after` the seconds
    after which to ask again, 0 where it doesn't say.
    """

    def __init__(self, *parts: str, problem: Json | None = None, retry_after: float = 0.0) -> None:
        super().__init__(*parts)
        self.problem, self.retry_after = problem or {}, retry_after
        self.status: int | None = self.problem.get("status")


@dataclass(frozen=True)
class Event:
    """A change of a job; `kind` is state, step, preview, output or end, and more may come."""

    number: int
    kind: str
    data: Json


@dataclass(frozen=True)
class Sound:
    """A sound that was made: its bytes, as the server has them, and its facts (id, seconds, seed, warnings and so on)."""

    data: bytes
    facts: Json

    def save(self, path: str | Path) -> None:
        """Write the file whole or not at all. Its format is the one that was asked for, whatever the suffix."""
        with whole_file(path) as file:
            file.write(self.data)


OnEvent = Callable[[Event], None]


class AsyncClient:
    """Client for asyncio. Methods raise `ServerError` for what the server refuses and where there is none."""

    def __init__(
        self,
        url: str = URL,
        key: str | None = None,
        *,
        patience: float = 60.0,
        transport: Any = None,
    ) -> None:
        """Connect to a server at its first use. Raises `InvalidRequest` for what is no URL, and `MissingExtra`.

        Without a `key` that of AURALITH_API_KEY is sent. A busy server is asked again for so many seconds of `patience`,
        when it says. `transport` is one of httpx.
        """
        self._patience, self._url = patience, url
        self._io = self._connection(_options(url, key), transport)

    def _connection(self, options: Json, transport: Any) -> Any:
        return httpx.AsyncClient(**options, transport=transport)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._io.aclose()

    async def generate(
        self, prompt: str, *, on_event: OnEvent | None = None, **members: Any
    ) -> list[Sound]:
        """Return the sounds of a request once they are made. When the wait is broken off, the job is cancelled."""
        job = await self.submit({"prompt": prompt, **members})
        try:
            done = await self.wait(job["id"], on_event)
        except (KeyboardInterrupt, asyncio.CancelledError):
            with suppress(AuralithError):
                await self.cancel(job["id"])
            raise
        return [Sound(await self.download(one["id"]), one) for one in done["outputs"]]

    async def submit(
        self, request: Json, key: str | None = None, patience: float | None = None
    ) -> Json:
        """Return the job of a request. It is sent under an idempotency key, so that it is accepted once however often it is sent.

        With a `patience` that is the client's for this request.
        """
        sent = {"json": request, "headers": {"Idempotency-Key": key or secrets.token_hex(16)}}
        return _json(await self._send("POST", "/v1/audio/generations", patience, **sent))

    async def job(self, job_id: str) -> Json:
        """Return a job."""
        return _json(await self._send("GET", _path("jobs", job_id)))

    async def wait(self, job_id: str, on_event: OnEvent | None = None) -> Json:
        """Return a job once it has succeeded. Raise `ServerError` if it failed or was cancelled."""
        async for event in self.events(job_id):
            if on_event is not None:
                on_event(event)
        return await self.result(job_id)

    async def result(self, job_id: str) -> Json:
        """Return a job that has succeeded. Raise `ServerError` if it has not."""
        job = await self.job(job_id)
        if job["status"] != "succeeded":
            raise _error_of(job["error"] or {"detail": f"the job was {job['status']}"})
        return job

    async def events(self, job_id: str, after: int = 0) -> AsyncGenerator[Event, None]:
        """Yield the events of a job after a number, to its end; a broken connection is made again and misses none."""
        failures, is_over = 0, False
        while not is_over:
            before = after
            try:
                async with aclosing(self._stream(job_id, after)) as stream:
                    async for event in stream:
                        after = event.number
                        yield event
                        is_over = event.kind == "end"
                is_over = is_over or (after == before and await self._has_ended(job_id))
                failures = failures + 1 if after == before else 0
            except httpx.TransportError as error:
                failures = failures + 1 if after == before else 0
                if failures >= ATTEMPTS:
                    raise _unreachable(self._url, error) from error
            if failures and not is_over:
                await self._sleep(_pause(failures))

    async def cancel(self, job_id: str) -> Json:
        """Cancel a job that has not ended; return it."""
        job = await self.job(job_id)
        if job["status"] in ("queued", "running"):
            await self._send("DELETE", _path("jobs", job_id))
        return await self.job(job_id)

    async def upload(self, path: str | Path) -> Json:
        """Return the facts of a sound that is sent; its id is the `source` of an edit."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise InvalidRequest(
                f"{path} can't be read ({error.strerror}); give a sound"
            ) from error
        return _json(
            await self._send("POST", "/v1/assets", files={"file": (Path(path).name, data)})
        )

    async def download(self, sound_id: str) -> bytes:
        """Return the bytes of a sound, as its hash says they are."""
        answer = await self._send("GET", _path("audio", sound_id))
        if answer.headers.get("etag") != f'"{hashlib.sha256(answer.content).hexdigest()}"':
            raise ServerError(f"sound {sound_id} came damaged from {self._url}; fetch it again")
        return answer.content

    async def get(self, path: str) -> Any:
        """Return what is at a path, such as /v1/models: a value of JSON, or bytes of anything else."""
        answer = await self._send("GET", path)
        is_json = answer.headers.get("content-type", "").startswith("application/json")
        return _json(answer) if is_json else answer.content

    async def _send(
        self, method: str, path: str, patience: float | None = None, **options: Any
    ) -> Any:
        """Return the answer of a server, which is asked again where it can't be reached or asks for it."""
        patience = self._patience if patience is None else patience
        deadline, failures, refusals = time.monotonic() + patience, 0, 0
        while True:
            try:
                answer = await self._io.request(method, path, **options)
            except httpx.TransportError as error:
                failures += 1
                if failures >= ATTEMPTS:
                    raise _unreachable(self._url, error) from error
                await self._sleep(_pause(failures))
                continue
            if answer.is_success:
                return answer
            refusals += 1
            wait = _retry_after(answer) or _pause(refusals)
            if answer.status_code not in BUSY or time.monotonic() + wait > deadline:
                raise _error_of(_problem(answer), _retry_after(answer))
            await self._sleep(wait)

    async def _stream(self, job_id: str, after: int) -> AsyncGenerator[Event, None]:
        """Yield the events that one connection gives."""
        headers = {"Last-Event-ID": str(after)}
        path = f"{_path('jobs', job_id)}/events"
        async with self._io.stream("GET", path, headers=headers) as answer:
            if not answer.is_success:
                await answer.aread()
                if answer.status_code in BUSY:
                    await self._sleep(_retry_after(answer) or FIRST_PAUSE)
                    return
                raise _error_of(_problem(answer))
            fields: dict[str, str] = {}
            async for line in answer.aiter_lines():
                name, _, value = line.partition(":")
                if line:
                    fields[name] = value.removeprefix(" ")
                    continue
                if "id" in fields:  # a comment, and the end of the server, have none
                    yield Event(int(fields["id"]), fields["event"], json.loads(fields["data"]))
                fields = {}

    async def _has_ended(self, job_id: str) -> bool:
        return (await self.job(job_id))["status"] not in ("queued", "running")

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Client:
    """Client that blocks. Its methods are those of `AsyncClient`."""

    def __init__(
        self,
        url: str = URL,
        key: str | None = None,
        *,
        patience: float = 60.0,
        transport: Any = None,
    ) -> None:
        """Connect to a server at its first use; as `AsyncClient`."""
        self._core = _BlockingCore(url, key, patience=patience, transport=transport)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        _run(self._core.close())

    def generate(
        self, prompt: str, *, on_event: OnEvent | None = None, **members: Any
    ) -> list[Sound]:
        """Return the sounds of a request once they are made. When the wait is broken off, the job is cancelled."""
        return _run(self._core.generate(prompt, on_event=on_event, **members))

    def submit(self, request: Json, key: str | None = None, patience: float | None = None) -> Json:
        """Return the job of a request, which is accepted once however often it is sent."""
        return _run(self._core.submit(request, key, patience))

    def job(self, job_id: str) -> Json:
        """Return a job."""
        return _run(self._core.job(job_id))

    def wait(self, job_id: str, on_event: OnEvent | None = None) -> Json:
        """Return a job once it has succeeded. Raise `ServerError` if it failed or was cancelled."""
        return _run(self._core.wait(job_id, on_event))

    def result(self, job_id: str) -> Json:
        """Return a job that has succeeded. Raise `ServerError` if it has not."""
        return _run(self._core.result(job_id))

    def events(self, job_id: str, after: int = 0) -> Iterator[Event]:
        """Yield the events of a job after a number, to its end."""
        events = self._core.events(job_id, after)
        try:
            while True:
                try:
                    event = _run(events.__anext__())
                except StopAsyncIteration:
                    return
                yield event
        finally:
            _run(events.aclose())

    def cancel(self, job_id: str) -> Json:
        """Cancel a job that has not ended; return it."""
        return _run(self._core.cancel(job_id))

    def upload(self, path: str | Path) -> Json:
        """Return the facts of a sound that is sent; its id is the `source` of an edit."""
        return _run(self._core.upload(path))

    def download(self, sound_id: str) -> bytes:
        """Return the bytes of a sound, as its hash says they are."""
        return _run(self._core.download(sound_id))

    def get(self, path: str) -> Any:
        """Return what is at a path, such as /v1/models: a value of JSON, or bytes of anything else."""
        return _run(self._core.get(path))


class _BlockingCore(AsyncClient):
    """The logic of a client over connections that block: its coroutines end without having waited once."""

    def _connection(self, options: Json, transport: Any) -> Any:
        return _Blocking(httpx.Client(**options, transport=transport))

    async def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class _Blocking:
    """An `httpx.Client` in the shape of an `httpx.AsyncClient`."""

    def __init__(self, http: Any) -> None:
        self._http = http

    async def request(self, method: str, path: str, **options: Any) -> Any:
        return self._http.request(method, path, **options)

    @asynccontextmanager
    async def stream(self, method: str, path: str, **options: Any) -> AsyncIterator[Any]:
        with self._http.stream(method, path, **options) as answer:
            yield _BlockingAnswer(answer)

    async def aclose(self) -> None:
        self._http.close()


class _BlockingAnswer:
    """A streamed answer, read without waiting in the sense of asyncio."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answer, name)

    async def aread(self) -> bytes:
        return self._answer.read()

    async def aiter_lines(self) -> AsyncIterator[str]:
        for line in self._answer.iter_lines():
            yield line


def _run(coroutine: Coroutine[Any, Any, Result]) -> Result:
    """Return the result of a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("a blocking coroutine waited")


def _options(url: str, key: str | None) -> Json:
    if not url.startswith(("http://", "https://")):
        raise InvalidRequest(f"{url} is not the URL of a server; write it as {URL}")
    token = key or os.environ.get(KEY_VARIABLE, "").partition(",")[0].strip()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return {"base_url": url, "headers": headers, "timeout": TIMEOUT}


def _path(kind: str, name: str) -> str:
    return f"/v1/{kind}/{quote(name, safe='')}"


def _pause(failures: int) -> float:
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1))


def _retry_after(answer: Any) -> float:
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def _json(answer: Any) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise _error_of(_stranger(answer)) from error


def _problem(answer: Any) -> Json:
    """Return the problem that an answer states."""
    with suppress(ValueError):
        found = answer.json()
        if isinstance(found, dict) and isinstance(found.get("detail"), str):
            return found
    return _stranger(answer)


def _stranger(answer: Any) -> Json:
    status, host = answer.status_code, answer.url.host
    detail = f"{host} answered {status}, but not as a server of Auralith does; check the address"
    return {"status": status, "detail": detail}


def _error_of(problem: Json, retry_after: float = 0.0) -> ServerError:
    """Return a problem as an error, whose line names the members it is about as `Field`."""
    parts: list[str] = [problem["detail"]]
    for entry in problem.get("errors") or ():
        name = entry["field"]
        before, found, after = parts[-1].partition(name)
        if found:
            parts[-1:] = [before, Field(name), after]
    return ServerError(*parts, problem=problem, retry_after=retry_after)


def _unreachable(url: str, error: Exception) -> ServerError:
    reason = str(error) or type(error).__name__
    return ServerError(
        f"{url} can't be reached ({reason:.100}); start it with auralith serve, or check the address"
    )
