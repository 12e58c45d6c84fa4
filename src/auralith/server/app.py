"""The HTTP interface. Routes read, ask the service and answer; what they refuse is a problem (RFC 9457)."""

from pathlib import Path

from auralith.errors import AuralithError
from auralith.extras import require
from auralith.jobs.problems import make_problem, problem
from auralith.jobs.records import ComeAgain
from auralith.server.answers import problem_answer
from auralith.server.guard import Asgi, Guard, Rules
from auralith.server.meters import Meters
from auralith.server.openapi import describe
from auralith.server.openapi.paths import operations
from auralith.server.page import add_page, has_page
from auralith.server.routes.assets import add_assets
from auralith.server.routes.audio import add_audio
from auralith.server.routes.docs import add_docs
from auralith.server.routes.estimates import add_estimates
from auralith.server.routes.facts import add_facts
from auralith.server.routes.generate import add_generate
from auralith.server.routes.jobs import add_jobs
from auralith.server.routes.prompts import add_prompts
from auralith.server.service import Service

require("fastapi", "serve")

from fastapi import FastAPI, Request, Response  # noqa: E402 (after its absence was named)
from starlette.exceptions import HTTPException  # noqa: E402

_OF_PATHS = {
    404: "there is nothing at this path; /docs lists the routes",
    405: "this path takes other methods; /docs lists the routes",
}
"""Details of errors that are about no route of ours."""


def make_app(
    service: Service, rules: Rules, sync_seconds: float = 300.0, review: Path | None = None
) -> Asgi:
    """Return the application of a service, and of the review in a curation's folder.

    Raises:
        InvalidRequest: no review was begun there.
        MissingExtra: the libraries of the extra are missing.
    """
    app = FastAPI(docs_url=None, redoc_url=None)
    described = operations()
    meters = Meters(service)
    _answer_errors(app, meters)
    add_jobs(app, service)
    add_estimates(app, service)
    add_audio(app, service)
    add_assets(app, service)
    add_facts(app, service, meters)
    add_prompts(app)
    add_docs(app)
    add_generate(app, service, sync_seconds)
    if review is not None:
        # the extra curate is needed for it alone
        from auralith.server.review import OPERATIONS, add_review

        add_review(app, review)
        described |= OPERATIONS
    describe(app, described)
    if has_page():
        add_page(app, has_review=review is not None)
    return Guard(app, rules, meters.reject, meters.answer)


def _answer_errors(app: FastAPI, meters: Meters) -> None:
    @app.exception_handler(AuralithError)
    async def refused(request: Request, error: AuralithError) -> Response:
        given = getattr(request.state, "body", None)
        found = problem(error, dict(request.query_params) if given is None else given)
        meters.reject(found["type"].rpartition(":")[2])
        response = problem_answer(found)
        if isinstance(error, ComeAgain):
            response.headers["Retry-After"] = str(error.retry_after)
        return response

    @app.exception_handler(HTTPException)
    async def unknown(request: Request, error: HTTPException) -> Response:
        detail = _OF_PATHS.get(error.status_code, str(error.detail))
        return problem_answer(
            make_problem(error.status_code, "http", detail), dict(error.headers or {})
        )

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> Response:
        return problem_answer(make_problem(500, "defect", "the server failed; its log says where"))
