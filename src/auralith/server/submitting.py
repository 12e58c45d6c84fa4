"""Taking a request: its body is read, and becomes a job."""

from typing import Any

from auralith.errors import InvalidRequest
from auralith.extras import require
from auralith.jobs.orders import parse_body
from auralith.jobs.records import Job, QueueFull
from auralith.server.schema import order_schema
from auralith.server.service import Service

require("fastapi", "serve")

from fastapi import Request  # noqa: E402 (after its absence was named)
from fastapi.concurrency import run_in_threadpool  # noqa: E402


def body_schema() -> dict[str, Any]:
    """Return what the description of a route says of its body."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": order_schema()}},
        }
    }


async def submitted(service: Service, request: Request, single: bool = False) -> Job:
    """Return the job of a request, accepted now or before. Raises `AuralithError` where it is not."""
    body = await run_in_threadpool(parse_body, await request.body())
    request.state.body = body
    if single and isinstance(body, dict) and body.get("n", 1) != 1:
        raise InvalidRequest(
            "n is not 1; one sound is made here, use /v1/audio/generations for more"
        )
    if service.bell.is_closed:
        raise QueueFull("the server stops; ask again later", 5)
    key, owner = request.headers.get("idempotency-key"), request.scope.get("auralith.owner", "")
    job, _ = await run_in_threadpool(service.submit, body, owner, key)
    return job
