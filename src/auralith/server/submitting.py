"""Taking a request: its body is read, and becomes a job."""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from auralith.errors import Field, InvalidRequest, shown
from auralith.extras import require
from auralith.jobs.orders import parse_body
from auralith.jobs.records import Job, QueueFull
from auralith.numbers import limit_of
from auralith.server.answers import caller_of
from auralith.server.service import Service

require("fastapi", "serve")

from fastapi import Request  # noqa: E402 (after its absence was named)
from fastapi.concurrency import run_in_threadpool  # noqa: E402

P = ParamSpec("P")
T = TypeVar("T")
SMALL_BYTES = 16_384
"""Size of a body up to which reading it takes less time than handing it to a thread."""


async def body_of(request: Request) -> Any:
    """Return the value of a body of JSON, which an answer about an error may show. Raise `Malformed` for another one."""
    data = await request.body()
    body = await _read(len(data), parse_body, data)
    request.state.body = body
    return body


async def submitted(service: Service, request: Request, single: bool = False) -> Job:
    """Return the job of a request, accepted now or before. Raises `AuralithError` where it is not.

    What many are told at a time, that the queue is full, needs no thread and no look at the database, unless a key was given.
    """
    body = await body_of(request)
    if single and isinstance(body, dict) and body.get("n", 1) != 1:
        raise InvalidRequest(
            Field("n"),
            f" is {shown(body['n'])}; one sound is made here, use /v1/audio/generations for more",
            limit=limit_of(least=1, most=1),
        )
    if service.bell.is_closed:
        raise QueueFull("the server stops; ask again later", 5)
    key = request.headers.get("idempotency-key")
    size = len(await request.body())
    asked = await _read(size, service.read, body, caller_of(request), key)
    job, _ = await run_in_threadpool(service.submit, asked)
    return job


async def _read(size: int, read: Callable[P, T], *args: P.args, **named: P.kwargs) -> T:
    """Return what a function makes of a body of so many bytes; a large one keeps nobody else waiting."""
    if size <= SMALL_BYTES:
        return read(*args, **named)
    return await run_in_threadpool(read, *args, **named)
