"""Taking a request: its body is read, and becomes a job."""

from typing import Any

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


async def body_of(request: Request) -> Any:
    """Return the value of a body of JSON, which an answer about an error may show. Raise `Malformed` for another one."""
    body = await run_in_threadpool(parse_body, await request.body())
    request.state.body = body
    return body


async def submitted(service: Service, request: Request, single: bool = False) -> Job:
    """Return the job of a request, accepted now or before. Raises `AuralithError` where it is not."""
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
    job, _ = await run_in_threadpool(service.submit, body, caller_of(request), key)
    return job
