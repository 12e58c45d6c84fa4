"""Answers that several routes give, and the numbers they take."""

from collections.abc import Callable
from typing import Any

from auralith.errors import Field, InvalidRequest, shown
from auralith.extras import require
from auralith.jobs.records import Job
from auralith.numbers import limit_of
from auralith.server.keys import Caller
from auralith.server.service import Service
from auralith.sound.extent import SoundInfo

require("fastapi", "serve")

from fastapi import Request, Response  # noqa: E402 (after its absence was named)
from fastapi.concurrency import run_in_threadpool  # noqa: E402
from fastapi.responses import JSONResponse  # noqa: E402

MEDIA = {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg", "ogg": "audio/ogg"}
MOST_PEAKS = 8_192
Outline = tuple[SoundInfo, list[float], list[float]]
"""Extent of a sound, and the lowest and the highest samples of its stretches."""


def caller_of(request: Request) -> Caller:
    """Return who sent a request, as the guard found."""
    return request.scope["auralith.caller"]


def owner_of(request: Request) -> str | None:
    """Return whose jobs and sounds a request may see; None: everybody's."""
    return caller_of(request).owner


async def job_answer(service: Service, job: Job, status: int) -> Response:
    """Return a job as an answer; one that has not ended says when to look again."""
    view = await run_in_threadpool(service.view, job)
    headers = {}
    if not job.is_final:
        eta = view["eta_seconds"]
        headers["Retry-After"] = str(1 if eta is None else max(1, min(60, round(eta))))
    return JSONResponse(view, status, headers)


def problem_answer(found: dict[str, Any], headers: dict[str, str] | None = None) -> Response:
    """Return a problem as an answer of its status."""
    return JSONResponse(found, found["status"], headers, media_type="application/problem+json")


def whole(name: str, text: str, least: int, most: int) -> int:
    """Return a whole number of a query. Raise `InvalidRequest` for anything else."""
    if text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most:
        return int(text)
    raise InvalidRequest(
        Field(name),
        f" is {shown(text)}; give a whole number from {least} to {most}",
        limit=limit_of(least=least, most=most),
    )


def truth(name: str, text: str) -> bool:
    """Return a truth value of a query. Raise `InvalidRequest` for anything else."""
    if text not in ("true", "false"):
        raise InvalidRequest(
            Field(name), f" is {shown(text)}; choose true or false", limit={"enum": [True, False]}
        )
    return text == "true"


def outline_answer(stretches: str, read: Callable[[int], Outline]) -> Response:
    """Return an outline in so many stretches, as `read` gives it. Raises as `read` and `whole` do."""
    info, low, high = read(whole("n", stretches, 1, MOST_PEAKS))
    facts = {"sample_rate": info.sample_rate, "num_samples": info.num_samples}
    return JSONResponse(facts | {"min": low, "max": high})
