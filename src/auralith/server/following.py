"""Following a job: its events as they come, and its end."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack

from auralith.extras import require
from auralith.jobs.records import Event, Job, Unknown
from auralith.server.bell import wait_for
from auralith.server.service import Service

require("fastapi", "serve")

from fastapi import Request  # noqa: E402 (after its absence was named)
from fastapi.concurrency import run_in_threadpool  # noqa: E402

COMMENT_SECONDS = 15.0
"""Between two signs of life on a stream of events."""
LOOK_SECONDS = 0.5
"""Between two looks at whether a client is still there."""


async def ended(
    service: Service, job: Job, seconds: float, request: Request, *, cancels: bool
) -> Job:
    """Return a job once it has ended, or after so many seconds, when the server stops, or when the client has gone.

    A client that has gone `cancels` its job, or leaves it to be made.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    with service.bell.listening(job.id) as heard:
        while True:
            heard.clear()
            job = await run_in_threadpool(service.store.job, job.id)
            left = deadline - asyncio.get_running_loop().time()
            if job.is_final or left <= 0 or service.bell.is_closed:
                return job
            if await request.is_disconnected():
                return await run_in_threadpool(service.store.cancel, job.id) if cancels else job
            await wait_for(heard, min(left, LOOK_SECONDS))


async def events_of(
    service: Service, job_id: str, after: int, seat: ExitStack
) -> AsyncIterator[str]:
    """Yield the events of a job after a number, until its end, its deletion, or the end of the server; then leave the seat."""
    with seat, service.bell.listening(job_id) as heard:
        while True:
            heard.clear()
            is_over, found = await run_in_threadpool(_look, service, job_id, after)
            for event in found:
                after = event.number
                yield f"id: {after}\nevent: {event.kind}\ndata: {json.dumps(event.data)}\n\n"
            if service.bell.is_closed:
                yield 'event: shutdown\ndata: {"detail": "the server stops; connect again"}\n\n'
                return
            if is_over or (found and found[-1].kind == "end"):
                return
            if not await wait_for(heard, COMMENT_SECONDS):
                yield ": alive\n\n"


def _look(service: Service, job_id: str, after: int) -> tuple[bool, list[Event]]:
    """Return whether a job has ended or is gone, and its events after a number."""
    try:
        is_over = service.store.job(job_id).is_final
    except Unknown:
        is_over = True
    # after the job, or the end could come in between and never be told
    return is_over, service.store.events(job_id, after)
