"""Parts that descriptions of routes are made of."""

from typing import Any

from auralith.server.openapi.schemas import TEXT, Json

ALWAYS = (400, 401, 403, 408, 413, 429, 431, 500, 503)
"""Errors that every route may give."""


def operation(
    name: str,
    summary: str,
    answers: Json,
    *errors: int,
    parameters: tuple[Json, ...] = (),
    body: Json | None = None,
    is_open: bool = False,
    **more: Any,
) -> Json:
    """Return what is said of a route: answers by status, and the errors that it may give beside those of every route."""
    refusals = {
        str(status): {"$ref": f"#/components/responses/Error{status}"}
        for status in sorted({*errors, *(() if is_open else ALWAYS)})
    }
    found: Json = {"operationId": name, "summary": summary, **more}
    if parameters:
        found["parameters"] = list(parameters)
    if body is not None:
        found["requestBody"] = {"required": True, "content": body}
    if is_open:
        found["security"] = [{}]
    return found | {"responses": answers | refusals}


def parameter(place: str, name: str, schema: Json, description: str, example: Any) -> Json:
    """Return what is said of a parameter in the path, the query or the headers."""
    required = {"required": True} if place == "path" else {}
    return {
        "name": name,
        "in": place,
        "description": description,
        "schema": schema,
        "example": example,
        **required,
    }


def json_answer(schema: Json, description: str, example: Any = None, **headers: str) -> Json:
    """Return what is said of an answer in JSON, with an example and headers."""
    content: Json = {"schema": schema}
    if example is not None:
        content["example"] = example
    return answer(description, {"application/json": content}, **headers)


def answer(description: str, content: Json, **headers: str) -> Json:
    """Return what is said of an answer: its content by media type, and headers."""
    found: Json = {"description": description, "content": content}
    if headers:
        found["headers"] = {
            name.replace("_", "-"): {"description": text, "schema": TEXT}
            for name, text in headers.items()
        }
    return found
