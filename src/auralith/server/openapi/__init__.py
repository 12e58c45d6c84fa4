"""The description of the HTTP interface (OpenAPI 3.1): every route with its parameters, bodies, answers, errors and examples."""

from collections.abc import Mapping
from typing import Any

import auralith
from auralith.extras import require
from auralith.server.openapi.schemas import ERRORS, Json, problem_schema, schemas

require("fastapi", "serve")

from fastapi import FastAPI  # noqa: E402 (after its absence was named)
from fastapi.openapi.utils import get_openapi  # noqa: E402

DESCRIPTION = (
    "Sounds from prompts and edits of sounds, as jobs that outlive the process. What is refused is a problem (RFC 9457). "
    "A key is needed only where the server has some."
)


def describe(app: FastAPI, operations: Mapping[tuple[str, str], Json]) -> None:
    """Have an application describe itself at /openapi.json by what is said of its routes, by method and path."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, operations)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] (the way that FastAPI documents)


def _document(app: FastAPI, operations: Mapping[tuple[str, str], Json]) -> dict[str, Any]:
    found = get_openapi(
        title="Auralith",
        version=auralith.__version__,
        openapi_version="3.1.0",
        description=DESCRIPTION,
        routes=app.routes,
    )
    for (method, path), operation in operations.items():
        found["paths"][path][method] = operation
    found["webhooks"] = {"jobEnded": {"post": _webhook()}}
    found["servers"] = [{"url": "/"}]
    found["security"] = [{}, {"bearer": []}, {"apiKey": []}]
    components = found.setdefault("components", {})
    components["schemas"] = components.get("schemas", {}) | schemas()
    components["responses"] = {f"Error{status}": _error(status) for status in ERRORS}
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
    return found


def _error(status: int) -> dict[str, Any]:
    description, *examples = ERRORS[status]
    headers: dict[str, Any] = {}
    if status in (429, 503):
        headers["Retry-After"] = {
            "description": "Seconds after which to ask again, where that is known.",
            "schema": {"type": "integer", "minimum": 1},
        }
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}}
    return {
        "description": description,
        "headers": headers,
        "content": {
            "application/problem+json": {
                "schema": problem_schema(),
                "examples": {one["type"].rpartition(":")[2]: {"value": one} for one in examples},
            }
        },
    }


def _webhook() -> dict[str, Any]:
    headers = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return {
        "summary": "Be told that a job has ended",
        "description": "Sent to the `webhook` of a request, signed as Standard Webhooks say, until it is answered with 2xx.",
        "operationId": "jobEnded",
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
            for name in headers
        ],
        "requestBody": {
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobEnded"}}}
        },
        "responses": {"2XX": {"description": "The message was taken."}},
    }
