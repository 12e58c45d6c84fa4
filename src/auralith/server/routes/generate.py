"""The route that makes one sound and answers with its bytes, in the shape of vLLM-Omni."""

from typing import Any

from auralith.extras import require
from auralith.jobs.problems import make_problem
from auralith.jobs.records import Job, Stored
from auralith.server.answers import MEDIA, problem_answer
from auralith.server.following import ended
from auralith.server.service import Service
from auralith.server.submitting import submitted

require("fastapi", "serve")

from fastapi import FastAPI, Request, Response  # noqa: E402 (after its absence was named)
from fastapi.concurrency import run_in_threadpool  # noqa: E402
from fastapi.responses import FileResponse  # noqa: E402


def add_generate(app: FastAPI, service: Service, seconds: float) -> None:
    """Add the route; one whose job takes longer than so many seconds is refused."""

    @app.post("/v1/audio/generate")
    async def generate(request: Request) -> Response:
        """Make one sound and answer with its bytes."""
        job = await submitted(service, request, single=True)
        estimate = await run_in_threadpool(service.store.estimate, job)
        if estimate.seconds is None or estimate.seconds <= seconds or job.is_final:
            job = await ended(service, job, seconds, request, cancels=True)
        if not job.is_final:
            await run_in_threadpool(service.store.cancel, job.id)
            found = make_problem(
                503, "busy", "other jobs come first; ask later, or use /v1/audio/generations"
            )
            wait = str(max(1, round((estimate.seconds or seconds) - seconds)))
            return problem_answer(_with_error(found), {"Retry-After": wait})
        outputs = await run_in_threadpool(service.store.outputs, job.id)
        if job.status != "succeeded" or not outputs:
            found = job.error or make_problem(409, "cancelled", "the job was cancelled")
            return problem_answer(_with_error(found))
        return _sound_answer(outputs[0], job)


def _sound_answer(one: Stored, job: Job) -> Response:
    headers = {"X-Job-Id": job.id, "X-Seed": str(one.facts["seed"])}
    return FileResponse(one.path, media_type=MEDIA[one.path.suffix[1:]], headers=headers)


def _with_error(found: dict[str, Any]) -> dict[str, Any]:
    """Return a problem with the member that clients of OpenAI's interfaces look at."""
    error = {
        "message": found["detail"],
        "type": found["title"],
        "code": found["status"],
        "param": None,
    }
    return found | {"error": error}
