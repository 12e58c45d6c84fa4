"""Schemas of what is sent and answered, and an example of each error."""

from typing import Any, get_args

from auralith.jobs.orders import TASKS
from auralith.jobs.problems import make_problem
from auralith.jobs.records import Status
from auralith.server.schema import order_schema

Json = dict[str, Any]
JOB_ID = "5f0c1e2d3b4a59687766554433221100"
SOUND_ID = f"{JOB_ID}-0"
ASSET_ID = "00112233445566778899aabbccddeeff"
_REMEDY = "it must be from 1 to 10000"
_STEPS = {
    "field": "steps",
    "value": 0,
    "limit": {"minimum": 1, "maximum": 10_000},
    "remedy": _REMEDY,
}
ERRORS: dict[int, tuple[Any, ...]] = {
    400: (
        "The body is not JSON.",
        make_problem(400, "malformed-body", "the body is not UTF-8; send JSON in UTF-8"),
    ),
    401: (
        "No API key, an unknown one, or one that expired.",
        make_problem(401, "key", "an API key is needed; send Authorization: Bearer KEY"),
        make_problem(401, "key-expired", "this API key expired on 2027-01-31; ask for a new one"),
    ),
    403: (
        "The Host or the Origin header names another server.",
        make_problem(403, "origin", "a page of another origin can't use this server"),
    ),
    404: (
        "Nothing of this id, or of another API key.",
        make_problem(404, "not-found", "there is no job of this id; it may have been deleted"),
    ),
    405: (
        "The path takes other methods.",
        make_problem(405, "http", "Method Not Allowed"),
    ),
    408: (
        "The body came too slowly.",
        make_problem(408, "too-slow", "the body did not arrive within 30 s; send it again"),
    ),
    409: (
        "It is needed by a job that has not ended.",
        make_problem(409, "in-use", "the job is not finished; cancel it first"),
    ),
    413: (
        "The body is too large.",
        make_problem(413, "too-large", "the body is larger than 1.0 MiB; send less"),
    ),
    415: (
        "The file is not a sound.",
        make_problem(415, "unusable-audio", "the upload is not a sound; send another one"),
    ),
    416: (
        "The range is not within the file.",
        make_problem(416, "http", "Range Not Satisfiable"),
    ),
    422: (
        "A value that can't be; `errors` says of which member, what it was, and what it may be.",
        make_problem(422, "invalid-value", f"steps is 0; {_REMEDY}") | {"errors": [_STEPS]},
        make_problem(
            422,
            "key-reused",
            "this Idempotency-Key came with another request before; choose a new key for a new request",
        ),
    ),
    429: (
        "The queue is full, or the client asks too often.",
        make_problem(429, "queue-full", "64 jobs wait, the most that are taken; ask again later"),
        make_problem(
            429, "rate-limited", "this API key may ask 60 times a minute; ask again in 1 s"
        ),
    ),
    431: (
        "Path and headers are too large.",
        make_problem(431, "too-large", "path and headers are larger than 32.0 KiB; send less"),
    ),
    500: (
        "A defect of the server.",
        make_problem(500, "defect", "the server failed; its log says where"),
    ),
    503: (
        "Not ready, too busy, or short of memory.",
        make_problem(503, "not-ready", "the server stops"),
    ),
    507: (
        "The disk is full; nothing was kept of the request.",
        make_problem(
            507,
            "storage-full",
            "less than 256.0 MiB of disk space are left; free some, or ask again later",
        ),
    ),
}
"""Statuses of errors, when they come, and examples."""


def ref(name: str) -> Json:
    """Return a reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def problem_schema() -> Json:
    """Return the reference to the schema of a problem."""
    return ref("Problem")


def record(properties: Json, optional: tuple[str, ...] = (), **more: Any) -> Json:
    """Return the schema of an object all of whose members are there, but for some."""
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, **more}


def schemas() -> dict[str, Json]:
    """Return the schemas by their names."""
    return {
        "Request": order_schema(),
        "Problem": _problem(),
        "Job": _job(),
        "Output": _output(),
        "Asset": _asset(),
        "Estimate": _estimate(),
        "JobEnded": _job_ended(),
    }


def nullable(kind: str) -> Json:
    """Return the schema of a value that may be missing."""
    return {"type": [kind, "null"]}


TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "number"}
COUNT: Json = {"type": "integer", "minimum": 0}
TIME: Json = {"type": ["string", "null"], "format": "date-time"}


def _problem() -> Json:
    entry = record(
        {
            "field": TEXT,
            "value": {"description": "What was given; a text of it where it is long."},
            "limit": {
                "type": "object",
                "description": "What it may be, in words of JSON Schema: minimum, maximum, enum and so on.",
            },
            "remedy": TEXT,
        },
        ("value", "limit"),
    )
    return record(
        {
            "type": {"type": "string", "format": "uri"},
            "title": TEXT,
            "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What is wrong, the limit and the remedy."},
            "errors": {"type": "array", "items": entry},
            "error": {
                "type": "object",
                "description": "The same for clients of OpenAI's interface.",
            },
        },
        ("errors", "error"),
    )


def _job() -> Json:
    progress = {"type": ["object", "null"], "description": "Stage, sound, step and of."}
    return record(
        {
            "id": TEXT,
            "status": {"enum": list(get_args(Status))},
            "position": COUNT | {"description": "Jobs before it; while it has not ended."},
            "eta_seconds": nullable("number"),
            "progress": progress,
            "is_cancelled": {"type": "boolean"},
            "request": {
                "type": "object",
                "description": "The request with every default filled in.",
            },
            "outputs": {"type": "array", "items": ref("Output")},
            "error": {"oneOf": [ref("Problem"), {"type": "null"}]},
            "created_at": TIME,
            "started_at": TIME,
            "finished_at": TIME,
        },
        ("position", "eta_seconds"),
        examples=[
            {
                "id": JOB_ID,
                "status": "queued",
                "position": 0,
                "eta_seconds": None,
                "progress": None,
                "is_cancelled": False,
                "request": {"task": TASKS[0], "prompt": "rain on a tin roof", "seed": 7},
                "outputs": [],
                "error": None,
                "created_at": "2027-01-01T00:00:00.000+00:00",
                "started_at": None,
                "finished_at": None,
            }
        ],
    )


def _output() -> Json:
    return record(
        {
            "id": TEXT,
            "url": TEXT,
            "is_starred": {"type": "boolean"},
            "seconds": NUMBER,
            "sample_rate": COUNT,
            "channels": COUNT,
            "num_samples": COUNT,
            "seed": COUNT,
            "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
            "peak_dbfs": nullable("number"),
            "warnings": {"type": "array", "items": TEXT},
            "work": {"type": "object", "description": "Device, seconds by stage and memory."},
        },
        ("work",),
    )


def _asset() -> Json:
    return record(
        {
            "id": TEXT,
            "seconds": NUMBER,
            "num_samples": COUNT,
            "sample_rate": COUNT,
            "channels": COUNT,
            "codec": TEXT,
            "sha256": TEXT,
            "request": nullable("object")
            | {"description": "The request that makes it again, if its tags say how."},
        }
    )


def _estimate() -> Json:
    return record(
        {
            "request": {
                "type": "object",
                "description": "The request with every default filled in.",
            },
            "seconds": nullable("number")
            | {"description": "Seconds to make it; null before any was made."},
            "wait_seconds": nullable("number") | {"description": "Seconds until its turn."},
            "position": COUNT | {"description": "Jobs before it."},
            "peak_memory_bytes": nullable("integer")
            | {"description": "Most memory that a sound of the model took lately."},
            "unknown_words": {
                "type": "array",
                "items": TEXT,
                "description": "Words of the prompts that the model has not learned, where that can be told.",
            },
        }
    )


def _job_ended() -> Json:
    output = record({"id": TEXT, "url": TEXT, "sha256": nullable("string")})
    data = record(
        {"id": TEXT, "url": TEXT, "status": TEXT, "outputs": {"type": "array", "items": output}}
    )
    return record(
        {"type": TEXT, "timestamp": {"type": "string", "format": "date-time"}, "data": data}
    )
