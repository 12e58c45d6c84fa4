"""Errors as problem details (RFC 9457), for answers and for jobs that failed."""

import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from auralith.errors import (
    AudioError,
    AuralithError,
    CheckpointError,
    Field,
    InvalidRequest,
    MissingExtra,
    NonFiniteError,
    ResourceError,
    shown,
)
from auralith.jobs.database import StorageFull, Unreachable
from auralith.jobs.names import ALIASES
from auralith.jobs.orders import Malformed
from auralith.jobs.records import (
    InUse,
    KeyReused,
    Overloaded,
    QueueFull,
    RateLimited,
    TooLarge,
    TooSlow,
    Unknown,
)

STATUSES: tuple[tuple[type[AuralithError], int, str], ...] = (
    (Malformed, 400, "malformed-body"),
    (TooLarge, 413, "too-large"),
    (TooSlow, 408, "too-slow"),
    (KeyReused, 422, "key-reused"),
    (QueueFull, 429, "queue-full"),
    (RateLimited, 429, "rate-limited"),
    (Overloaded, 503, "overloaded"),
    (Unknown, 404, "not-found"),
    (InUse, 409, "in-use"),
    (StorageFull, 507, "storage-full"),
    (Unreachable, 503, "database-unreachable"),
    (NonFiniteError, 500, "not-finite"),
    (AudioError, 422, "unusable-audio"),
    (CheckpointError, 500, "unusable-model"),
    (MissingExtra, 501, "missing-library"),
    (ResourceError, 503, "out-of-resources"),
    (InvalidRequest, 422, "invalid-value"),
    (AuralithError, 500, "error"),
)
"""Status and kind of each error, the first that fits."""
_LONGEST_VALUE = 200


def problem(error: AuralithError, body: Any = None) -> dict[str, Any]:
    """Return the problem of an error; `body` is the parsed body it is about."""
    status, kind = next((s, k) for cls, s, k in STATUSES if isinstance(error, cls))
    if isinstance(error, AudioError) and error.reason_code in ("not_audio", "missing_decoder"):
        status = 415
    found = make_problem(status, kind, str(error))
    fields = dict.fromkeys(str(part) for part in error.args if isinstance(part, Field))
    if fields:
        _, _, remedy = str(error).rpartition("; ")
        found["errors"] = [_value_of(body, name) | {"remedy": remedy} for name in fields]
        if error.limit is not None:
            found["errors"][0]["limit"] = dict(error.limit)
    return found


def _value_of(body: Any, field: str) -> dict[str, Any]:
    """Return a field, and its value where the body has it, under whatever name: "adapters[0].strength" too."""
    entry: dict[str, Any] = {"field": field}
    body = body if isinstance(body, Mapping) else {}
    name, *path = [field] if field in body else re.split(r"\]?[.\[\]]", field)
    names = [given for given in body if given == name or ALIASES.get(given) == name]
    if not names:
        return entry
    value = body[names[0]]
    for part in filter(None, path):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return entry
    return entry | {"value": _value(value)}


def make_problem(status: int, kind: str, detail: str) -> dict[str, Any]:
    """Return problem details; `kind` is a word for programs, `detail` a line for people."""
    return {
        "type": f"urn:auralith:problem:{kind}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }


def _value(value: Any) -> Any:
    """Return a value that is short enough to be shown as it is, or a text of it."""
    if isinstance(value, str) and len(value) <= _LONGEST_VALUE:
        return value
    if isinstance(value, bool) or (isinstance(value, int) and abs(value) < 2**53):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return shown(value, _LONGEST_VALUE)
