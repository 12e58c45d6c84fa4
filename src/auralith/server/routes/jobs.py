"""Routes of jobs: submit, list, look, follow, cancel and delete."""

import re
from contextlib import ExitStack
from typing import get_args

from auralith.errors import Field, InvalidRequest, shown
from auralith.extras import require
from auralith.jobs.records import Status
from auralith.server.answers import MEDIA, job_answer, owner_of, truth, whole
from auralith.server.following import ended, events_of
from auralith.server.seats import Seats
from auralith.server.service import Service
from auralith.server.submitting import submitted

require("fastapi", "serve")

from fastapi import FastAPI, Request, Response  # noqa: E402 (after its absence was named)
from fastapi.concurrency import run_in_threadpool  # noqa: E402
from fastapi.responses import JSONResponse, StreamingResponse  # noqa: E402
from starlette.background import BackgroundTask  # noqa: E402

LONGEST_WAIT = 60.0
"""Seconds that Prefer: wait may ask for."""
MOST_LISTED = 200
MOST_PREVIEWS = 10_000
LONGEST_SEARCH = 1_000
MOST_STREAMS, MOST_STREAMS_EACH = 256, 32
"""Streams of events that are open at a time: in all, and of one client."""
STATUSES = get_args(Status)


def add_jobs(app: FastAPI, service: Service) -> None:
    """Add the routes of jobs."""
    store = service.store
    seats = Seats(MOST_STREAMS, MOST_STREAMS_EACH)

    @app.post("/v1/audio/generations", status_code=202)
    async def generations(request: Request) -> Response:
        """Accept a job, and wait for its end if Prefer: wait says so."""
        job = await submitted(service, request)
        seconds = _wait_seconds(request.headers.get("prefer", ""))
        if seconds:
            job = await ended(service, job, seconds, request, cancels=False)
        response = await job_answer(service, job, 200 if job.is_final else 202)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return response

    @app.get("/v1/jobs")
    def jobs(
        request: Request,
        status: str | None = None,
        limit: str = "50",
        cursor: str | None = None,
        search: str = "",
        starred: str = "false",
        source: str | None = None,
    ) -> Response:
        """List jobs, the newest first: of a status, of words in the prompt, starred, or that start from a sound."""
        if status not in (None, *STATUSES):
            raise InvalidRequest(
                Field("status"),
                f" is {shown(status)}; it must be that of a job, as succeeded",
                limit={"enum": list(STATUSES)},
            )
        count = whole("limit", limit, 1, MOST_LISTED)
        before = None if cursor is None else whole("cursor", cursor, 1, 2**62)
        found = store.jobs(
            status,
            count,
            before,
            owner=owner_of(request),
            search=search[:LONGEST_SEARCH],
            starred=truth("starred", starred),
            source=source,
        )
        more = str(found[-1].number) if len(found) == count else None
        return JSONResponse({"jobs": service.view_all(found), "cursor": more})

    @app.get("/v1/jobs/{job_id}")
    async def one_job(job_id: str, request: Request) -> Response:
        job = await run_in_threadpool(store.job, job_id, owner_of(request))
        return await job_answer(service, job, 200)

    @app.delete("/v1/jobs/{job_id}")
    def delete(job_id: str, request: Request) -> Response:
        """Cancel a job; delete one that has ended, and its sounds."""
        job = store.job(job_id, owner_of(request))
        if job.is_final:
            store.delete(job_id)
            return Response(status_code=204)
        return JSONResponse(service.view(store.cancel(job_id)), 202)

    @app.get("/v1/jobs/{job_id}/preview/{number}")
    def preview(job_id: str, number: str, request: Request) -> Response:
        """Return a sound that a job hears of while it runs; it goes when another job has ended."""
        store.job(job_id, owner_of(request))
        path = service.previews.file(job_id, whole("number", number, 1, MOST_PREVIEWS))
        headers = {"Cache-Control": "no-store"}
        return Response(path.read_bytes(), media_type=MEDIA["wav"], headers=headers)

    @app.get("/v1/jobs/{job_id}/events")
    async def events(job_id: str, request: Request) -> Response:
        last = request.headers.get("last-event-id", "0")
        after = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else 0
        await run_in_threadpool(store.job, job_id, owner_of(request))
        seat = ExitStack()
        seat.enter_context(seats.taken(_client(request)))
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            events_of(service, job_id, after, seat),
            media_type="text/event-stream",
            headers=headers,
            background=BackgroundTask(seat.close),
        )


def _client(request: Request) -> str:
    """Return whom a stream counts for: an API key, or an address."""
    return owner_of(request) or (request.client.host if request.client else "")


def _wait_seconds(prefer: str) -> float:
    found = re.search(r"\bwait=(\d{1,4})\b", prefer)
    return min(LONGEST_WAIT, float(found[1])) if found else 0.0
