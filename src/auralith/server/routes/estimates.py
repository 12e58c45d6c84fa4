"""The route that says what a request would take."""

from auralith.extras import require
from auralith.server.answers import caller_of
from auralith.server.service import Service
from auralith.server.submitting import body_of

require("fastapi", "serve")

from fastapi import FastAPI, Request, Response  # noqa: E402 (after its absence was named)
from fastapi.concurrency import run_in_threadpool  # noqa: E402
from fastapi.responses import JSONResponse  # noqa: E402


def add_estimates(app: FastAPI, service: Service) -> None:
    """Add the route of estimates."""

    @app.post("/v1/estimates")
    async def estimate(request: Request) -> Response:
        """Return the seconds and the memory of a request, without making it."""
        body = await body_of(request)
        found = await run_in_threadpool(service.estimate, body, caller_of(request))
        return JSONResponse(found)
