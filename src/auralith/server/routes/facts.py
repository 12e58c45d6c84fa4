"""Routes of what the server has and how it is: models, adapters, limits, health and metrics."""

from auralith.extras import require
from auralith.jobs.problems import make_problem
from auralith.server.answers import problem_answer
from auralith.server.meters import Meters
from auralith.server.service import Service

require("fastapi", "serve")

from fastapi import FastAPI, Response  # noqa: E402 (after its absence was named)
from fastapi.responses import JSONResponse  # noqa: E402


def add_facts(app: FastAPI, service: Service, meters: Meters) -> None:
    """Add the routes of facts."""

    @app.get("/v1/models")
    def models() -> Response:
        return JSONResponse({"models": service.view_models()})

    @app.get("/v1/models/{name:path}/card")
    def card(name: str) -> Response:
        """Return the license of a model and its card, where they lie beside its weights."""
        return JSONResponse(service.card(name))

    @app.get("/v1/models/{name:path}/config")
    def config(name: str) -> Response:
        """Return what programs need to resolve requests as a model does, and to tell what it would make."""
        return JSONResponse(service.model_config(name))

    @app.get("/v1/adapters")
    def adapters() -> Response:
        return JSONResponse({"adapters": [{"id": name} for name in service.adapters()]})

    @app.get("/v1/adapters/{name}")
    def adapter(name: str) -> Response:
        return JSONResponse(service.adapter(name))

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
            return problem_answer(make_problem(503, "not-ready", trouble))
        return JSONResponse({"status": "ready", "models": service.loaded_models()})

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(meters.page(), media_type="text/plain; version=0.0.4; charset=utf-8")
