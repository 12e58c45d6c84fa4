"""The HTTP interface. Routes read, ask the service and answer; what they refuse is a problem (RFC 9457)."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from auralith.errors import AuralithError, InvalidRequest, shown
from auralith.extras import require
from auralith.jobs.orders import parse_body
from auralith.jobs.problems import make_problem, problem
from auralith.jobs.records import FINAL, Job, QueueFull, Stored, Unknown
from auralith.provenance import read_provenance
from auralith.server.bell import wait_for
from auralith.server.guard import Asgi, Guard, Rules
from auralith.server.meters import Meters
from auralith.server.page import add_page, has_page
from auralith.server.schema import order_schema
from auralith.server.service import Service
from auralith.server.uploads import keep_upload
from auralith.sound.picture import spectrogram_png
from auralith.sound.reading import read

require("fastapi", "serve")
require("python_multipart", "serve")

from fastapi import FastAPI, Request, Response  # noqa: E402 (after its absence was named)
from fastapi.concurrency import run_in_threadpool  # noqa: E402
from fastapi.responses import FileResponse, JSONResponse, StreamingResponse  # noqa: E402
from starlette.exceptions import HTTPException  # noqa: E402

LONGEST_WAIT = 60.0
"""Seconds that Prefer: wait may ask for."""
COMMENT_SECONDS = 15.0
"""Between two signs of life on a stream of events."""
LOOK_SECONDS = 0.5
"""Between two looks at whether a client is still there."""
MOST_PEAKS = 8_192
MOST_LISTED = 200
MEDIA = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "ogg": "audio/ogg"}


def make_app(service: Service, rules: Rules, sync_seconds: float = 300.0) -> Asgi:
    """Return the application of a service. Raises `MissingExtra` without the libraries of the extra."""
    app = FastAPI(title="Auralith", version="1", docs_url=None, redoc_url=None)
    meters = Meters(service)
    _answer_errors(app, service, meters)
    _add_jobs(app, service)
    _add_sounds(app, service)
    _add_facts(app, service, meters)
    _add_sync(app, service, sync_seconds)
    if has_page():
        add_page(app)
    return Guard(app, rules, meters.reject)


def _answer_errors(app: FastAPI, service: Service, meters: Meters) -> None:
    @app.exception_handler(AuralithError)
    async def refused(request: Request, error: AuralithError) -> Response:
        found = problem(error, getattr(request.state, "body", None))
        meters.reject(found["type"].rpartition(":")[2])
        response = _problem(found)
        if isinstance(error, QueueFull):
            response.headers["Retry-After"] = str(error.retry_after)
        return response

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        return _problem(make_problem(error.status_code, "http", str(error.detail)))

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> Response:
        return _problem(make_problem(500, "defect", "the server failed; its log says where"))


def _add_jobs(app: FastAPI, service: Service) -> None:
    store = service.store

    @app.post("/v1/audio/generations", status_code=202, openapi_extra=_body())
    async def generations(request: Request) -> Response:
        """Accept a job, and wait for its end if Prefer: wait says so."""
        job = await _submitted(service, request)
        seconds = _wait_seconds(request.headers.get("prefer", ""))
        if seconds:
            job = await _ended(service, job, seconds)
        response = await _job_answer(service, job, 200 if job.is_final else 202)
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return response

    @app.get("/v1/jobs")
    def jobs(status: str | None = None, limit: str = "50", cursor: str | None = None) -> Response:
        if status not in (None, "queued", "running", *FINAL):
            raise InvalidRequest(
                f"status is {shown(status)}; it must be that of a job, as succeeded"
            )
        count = _number("limit", limit, 1, MOST_LISTED)
        before = None if cursor is None else _number("cursor", cursor, 1, 2**62)
        found = store.jobs(status, count, before)
        more = str(found[-1].number) if len(found) == count else None
        return JSONResponse({"jobs": [service.view(job) for job in found], "cursor": more})

    @app.get("/v1/jobs/{job_id}")
    async def one_job(job_id: str) -> Response:
        return await _job_answer(service, await run_in_threadpool(store.job, job_id), 200)

    @app.delete("/v1/jobs/{job_id}")
    def delete(job_id: str) -> Response:
        """Cancel a job; delete one that has ended, and its sounds."""
        job = store.job(job_id)
        if job.is_final:
            store.delete(job_id)
            return Response(status_code=204)
        return JSONResponse(service.view(store.cancel(job_id)), 202)

    @app.get("/v1/jobs/{job_id}/events")
    async def events(job_id: str, request: Request) -> Response:
        last = request.headers.get("last-event-id", "0")
        after = int(last) if last.isascii() and last.isdigit() and len(last) < 19 else 0
        await run_in_threadpool(store.job, job_id)
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(
            _events(service, job_id, after), media_type="text/event-stream", headers=headers
        )


def _add_sounds(app: FastAPI, service: Service) -> None:
    store = service.store

    @app.get("/v1/audio/{sound_id}")
    def audio(sound_id: str, request: Request) -> Response:
        one = store.output(sound_id)
        tag = f'"{one.facts["sha256"]}"'
        headers = {"ETag": tag, "Cache-Control": "private, max-age=31536000, immutable"}
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        suffix = one.path.suffix[1:]
        return FileResponse(
            one.path,
            media_type=MEDIA[suffix],
            filename=f"auralith-{one.id}.{suffix}",
            content_disposition_type="inline",
            headers=headers,
        )

    @app.get("/v1/audio/{sound_id}/peaks")
    def peaks(sound_id: str, n: str = "1024") -> Response:
        """Return the lowest and the highest sample of n stretches."""
        count = _number("n", n, 1, MOST_PEAKS)
        waveform, sample_rate = read(store.output(sound_id).path)
        samples = waveform.numpy()
        starts = np.linspace(0, samples.shape[1], min(count, samples.shape[1]), endpoint=False)
        places = starts.astype(int)
        low = np.minimum.reduceat(samples.min(axis=0), places)
        high = np.maximum.reduceat(samples.max(axis=0), places)
        body = {"sample_rate": sample_rate, "num_samples": samples.shape[1]}
        return JSONResponse(body | {"min": _rounded(low), "max": _rounded(high)})

    @app.get("/v1/audio/{sound_id}/spectrogram.png")
    def spectrogram(sound_id: str) -> Response:
        waveform, sample_rate = read(store.output(sound_id).path)
        return Response(spectrogram_png(waveform, sample_rate), media_type="image/png")

    @app.get("/v1/audio/{sound_id}/provenance")
    def provenance(sound_id: str) -> Response:
        return JSONResponse(read_provenance(store.output(sound_id).path).to_tags())

    @app.post("/v1/assets", status_code=201)
    async def upload(request: Request) -> Response:
        """Keep a sound, sent as the part "file" of a form."""
        async with request.form(max_files=1, max_fields=0) as form:
            file = form.get("file")
            if file is None or isinstance(file, str):
                raise InvalidRequest(
                    "there is no file; send it as the part file of multipart/form-data"
                )
            kept = await run_in_threadpool(keep_upload, store, file.file)
            request_of = await run_in_threadpool(service.remaking, kept)
        return JSONResponse({"id": kept.id, **kept.facts, "request": request_of}, 201)

    @app.delete("/v1/assets/{asset_id}")
    def delete_upload(asset_id: str) -> Response:
        store.delete_asset(asset_id)
        return Response(status_code=204)


def _add_facts(app: FastAPI, service: Service, meters: Meters) -> None:
    @app.get("/v1/models")
    def models() -> Response:
        return JSONResponse({"models": service.view_models()})

    @app.get("/v1/adapters")
    def adapters() -> Response:
        return JSONResponse({"adapters": [{"id": name} for name in service.adapters()]})

    @app.get("/v1/limits")
    def limits() -> Response:
        return JSONResponse(service.view_limits())

    @app.get("/healthz")
    def alive() -> Response:
        return JSONResponse({"status": "alive"})

    @app.get("/readyz")
    def ready() -> Response:
        trouble = service.trouble()
        if trouble is not None:
            return _problem(make_problem(503, "not-ready", trouble))
        return JSONResponse({"status": "ready"})

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(meters.page(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_sync(app: FastAPI, service: Service, seconds: float) -> None:
    @app.post("/v1/audio/generate", openapi_extra=_body())
    async def generate(request: Request) -> Response:
        """Make one sound and answer with its bytes."""
        job = await _submitted(service, request, single=True)
        estimate = await run_in_threadpool(service.store.estimate, job)
        if estimate.seconds is None or estimate.seconds <= seconds or job.is_final:
            job = await _ended(service, job, seconds, request)
        if not job.is_final:
            await run_in_threadpool(service.store.cancel, job.id)
            found = make_problem(
                503, "busy", "other jobs come first; ask later, or use /v1/audio/generations"
            )
            wait = str(max(1, round((estimate.seconds or seconds) - seconds)))
            return _problem(_with_error(found), {"Retry-After": wait})
        outputs = await run_in_threadpool(service.store.outputs, job.id)
        if job.status != "succeeded" or not outputs:
            found = job.error or make_problem(409, "cancelled", "the job was cancelled")
            return _problem(_with_error(found))
        return _sound_answer(outputs[0], job)


def _body() -> dict[str, Any]:
    """Return what the description of a route says of its body."""
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": order_schema()}},
        }
    }


async def _submitted(service: Service, request: Request, single: bool = False) -> Job:
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


async def _ended(service: Service, job: Job, seconds: float, request: Request | None = None) -> Job:
    """Return a job once it has ended, or after so many seconds, or when the server stops.

    With a request, the job is cancelled when the one who sent it has gone.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    with service.bell.listening() as heard:
        while True:
            heard.clear()
            job = await run_in_threadpool(service.store.job, job.id)
            left = deadline - asyncio.get_running_loop().time()
            if job.is_final or left <= 0 or service.bell.is_closed:
                return job
            if request is not None and await request.is_disconnected():
                return await run_in_threadpool(service.store.cancel, job.id)
            await wait_for(heard, left if request is None else min(left, LOOK_SECONDS))


async def _events(service: Service, job_id: str, after: int) -> AsyncIterator[str]:
    """Yield the events of a job after a number, until its end, its deletion, or the end of the server."""
    store = service.store
    with service.bell.listening() as heard:
        while True:
            heard.clear()
            found = await run_in_threadpool(store.events, job_id, after)
            for event in found:
                after = event.number
                yield f"id: {after}\nevent: {event.kind}\ndata: {json.dumps(event.data)}\n\n"
            if service.bell.is_closed:
                yield 'event: shutdown\ndata: {"detail": "the server stops; connect again"}\n\n'
                return
            if found:
                if found[-1].kind == "end":
                    return
                continue
            if await run_in_threadpool(_is_over, service, job_id):
                return
            if not await wait_for(heard, COMMENT_SECONDS):
                yield ": alive\n\n"


def _is_over(service: Service, job_id: str) -> bool:
    try:
        return service.store.job(job_id).is_final
    except Unknown:
        return True


async def _job_answer(service: Service, job: Job, status: int) -> Response:
    view = await run_in_threadpool(service.view, job)
    headers = {}
    if not job.is_final:
        eta = view["eta_seconds"]
        headers["Retry-After"] = str(1 if eta is None else max(1, min(60, round(eta))))
    return JSONResponse(view, status, headers)


def _sound_answer(one: Stored, job: Job) -> Response:
    headers = {"X-Job-Id": job.id, "X-Seed": str(one.facts["seed"])}
    return FileResponse(one.path, media_type=MEDIA[one.path.suffix[1:]], headers=headers)


def _problem(found: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(found, found["status"], headers, media_type="application/problem+json")


def _with_error(found: dict[str, Any]) -> dict[str, Any]:
    """Return a problem with the member that clients of OpenAI's interfaces look at."""
    error = {
        "message": found["detail"],
        "type": found["title"],
        "code": found["status"],
        "param": None,
    }
    return found | {"error": error}


def _wait_seconds(prefer: str) -> float:
    found = re.search(r"\bwait=(\d{1,4})\b", prefer)
    return min(LONGEST_WAIT, float(found[1])) if found else 0.0


def _number(name: str, text: str, least: int, most: int) -> int:
    if text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most:
        return int(text)
    raise InvalidRequest(f"{name} is {shown(text)}; give a whole number from {least} to {most}")


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 5) for value in values]
