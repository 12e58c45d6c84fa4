"""The description as a page: no scripts, and no request to anybody else."""

import json
import secrets
from collections.abc import Iterator
from typing import Any

from auralith.extras import require
from auralith.pages import template

require("fastapi", "serve")

from fastapi import FastAPI, Response  # noqa: E402 (after its absence was named)

POLICY = (
    "default-src 'none'; style-src 'nonce-{}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
METHODS = ("get", "post", "put", "delete")


def add_docs(app: FastAPI) -> None:
    """Serve the page at /docs."""

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        nonce = secrets.token_urlsafe(16)
        page = template("auralith.server", "docs.html.j2").render(
            nonce=nonce, described=app.openapi(), operations=list(_operations(app.openapi()))
        )
        headers = {"Content-Security-Policy": POLICY.format(nonce)}
        return Response(page, media_type="text/html", headers=headers)


def _operations(described: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each operation as the page shows it."""
    for path, methods in described["paths"].items():
        for method in METHODS:
            if method in methods:
                yield {
                    "method": method.upper(),
                    "path": path,
                    "summary": methods[method].get("summary", ""),
                    "parameters": methods[method].get("parameters", []),
                    "bodies": list(_bodies(methods[method])),
                    "answers": list(_answers(described, methods[method])),
                }


def _bodies(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the examples of a body by name."""
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        examples = content.get("examples", {})
        for name, example in examples.items():
            yield name.replace("_", " "), json.dumps(example["value"], indent=2)
        if not examples:
            yield media, "file=@sound.wav"


def _answers(described: dict[str, Any], operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield status and description of each answer."""
    for status, answer in operation["responses"].items():
        name = answer.get("$ref", "").rpartition("/")[2]
        yield status, described["components"]["responses"].get(name, answer)["description"]
