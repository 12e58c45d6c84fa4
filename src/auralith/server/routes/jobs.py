"""Routes of jobs: submit, list, look, follow, cancel and delete."""

import re

from auralith.errors import InvalidRequest, shown
from auralith.extras import require
from auralith.jobs.records import FINAL
from auralith.server.answers import MEDIA, job_answer, whole
from auralith.server.following import ended, events_of
from auralith.server.service import Service
from auralith.server.submitting import body_schema, submitted

require("fastapi", "serve")

from fastapi import FastAPI, Request, Response  # noqa: E402 (after its absence was named)
from fastapi.concurrency import run_in_threadpool  # noqa: E402
from fastapi.responses import JSONResponse, StreamingResponse  # noqa: E402

LONGEST_WAIT = 60.0
"""Seconds that Prefer: wait may ask for."""
MOST_LISTED = 200
MOST_PREVIEWS = 10_000


def add_jobs(app: FastAPI, service: Service) -> None:
    """Add the routes of jobs."""
    store = service.store

    @app.post("/v1/audio/generations", status_code=202, openapi_extra=body_schema())
    async def generations(request: Request) -> Response:
        """Accept a job, and wait for its end if Prefer: wait says so."""
        job = await submitted(service, request)
        seconds = _wait_seconds(request.headers.get("prefer", ""))
        if seconds:
            job = await ended(service, job, seconds)
        response = await job_answer(service, job, 200 if job.is_final else 202)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return response

    @app.get("/v1/jobs")
    def jobs(
        status: str | None = None,
        limit: str = "50",
        cursor: str | None = None,
        source: str | None = None,
    ) -> Response:
        """List jobs, the newest first: of a status, or those that start from a sound."""
        if status not in (None, "queued", "running", *FINAL):
            raise InvalidRequest(
                f"status is {shown(status)}; it must be that of a job, as succeeded"
            )
        count = whole("limit", limit, 1, MOST_LISTED)
        before = None if cursor is None else whole("cursor", cursor, 1, 2**62)
        found = store.jobs(status, count, before, source=source)
        more = str(found[-1].number) if len(found) == count else None
        return JSONResponse({"jobs": [service.view(job) for job in found], "cursor": more})

    @app.get("/v1/jobs/{job_id}")
    async def one_job(job_id: str) -> Response:
        return await job_answer(service, await run_in_threadpool(store.job, job_id), 200)

    @app.delete("/v1/jobs/{job_id}")
    def delete(job_id: str) -> Response:
        """Cancel a job; delete one that has ended, and its sounds."""
        job = store.job(job_id)
        if job.is_final:
            store.delete(job_id)
            return Response(status_code=204)
        return JSONResponse(service.view(store.cancel(job_id)), 202)

    @app.get("/v1/jobs/{job_id}/preview/{number}")
    def preview(job_id: str, number: str) -> Response:
        """Return a sound that a job hears of while it runs; it goes when the job ends."""
        store.job(job_id)
        path = service.previews.file(job_id, whole("number", number, 1, MOST_PREVIEWS))
        headers = {"Cache-Control": "no-store"}
        return Response(path.read_bytes(), media_type=MEDIA["wav"], headers=headers)

    @app.get("/v1/jobs/{job_id}/events")
    async def events(job_id: str, request: Request) -> Response:
        last = request.headers.get("last-event-id", "0")
        after = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else 0
        await run_in_threadpool(store.job, job_id)
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            events_of(service, job_id, after), media_type="text/event-stream", headers=headers
        )


def _wait_seconds(prefer: str) -> float:
    found = re.search(r"\bwait=(\d{1,4})\b", prefer)
    return min(LONGEST_WAIT, float(found[1])) if found else 0.0
