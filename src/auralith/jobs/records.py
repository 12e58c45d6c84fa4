"""Records of a server: jobs, events and sounds as the store gives them, its limits, and what it refuses."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from auralith.errors import AuralithError, InvalidRequest
from auralith.jobs.database import Row

Status = Literal["queued", "running", "succeeded", "failed", "cancelled"]
Json = dict[str, Any]
FINAL = ("succeeded", "failed", "cancelled")


class ComeAgain(AuralithError):
    """The server is too busy for a request; `retry_after` says in how many seconds it may not be."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QueueFull(ComeAgain):
    """So many jobs wait that no more are taken."""


class RateLimited(ComeAgain):
    """A client asks too often, or for too much at a time."""


class Overloaded(ComeAgain):
    """The server has too many clients."""


class KeyReused(InvalidRequest):
    """An idempotency key came again with another request."""


class Unknown(AuralithError):
    """There is nothing of this id."""


class TooLarge(AuralithError):
    """A body has more bytes than are taken."""


class TooSlow(AuralithError):
    """A body does not arrive in time."""


class InUse(AuralithError):
    """A record that should be deleted is still needed."""


@dataclass(frozen=True)
class Limits:
    """Limits of what a server keeps."""

    queue: int = 64
    """Most jobs that wait at a time."""
    keep_days: float = 7.0
    """Days after which finished jobs and uploads are deleted."""
    keep_bytes: int = 20 * 2**30
    """Bytes of sounds and uploads; beyond, the oldest that nobody waits for are deleted."""
    reserve_bytes: int = 256 * 2**20
    """Bytes of the disk that stay free: with less, nothing is accepted and jobs wait."""


@dataclass(frozen=True)
class Job:
    """A job as it is in the database."""

    number: int
    id: str
    status: Status
    request: Json
    """The request, resolved, as `jobs.orders` reads it."""
    source: str | None
    cost: float
    created: float
    started: float | None
    ready: float | None
    """Time at which its model was loaded."""
    finished: float | None
    claim: str | None
    crashes: int
    is_cancelled: bool
    progress: Json | None
    error: Json | None
    owner: str
    """Hash of the API key that asked for it; empty without one."""
    model: str
    """Name of the model in the request."""
    model_hash: str | None
    """Fingerprint of the weights that make it, known once they are loaded."""
    webhook: str | None
    """URL that is told of its end."""

    @property
    def is_final(self) -> bool:
        """Return whether nothing will change any more."""
        return self.status in FINAL


@dataclass(frozen=True)
class Stored:
    """A sound in the folder: made here, or uploaded."""

    id: str
    path: Path
    facts: Json
    is_starred: bool = False


@dataclass(frozen=True)
class Delivery:
    """A message to a URL that a job has ended, as it is sent for the `attempts`-th time."""

    id: str
    job: str
    url: str
    attempts: int


@dataclass(frozen=True)
class Event:
    """A change of a job; numbers rise."""

    number: int
    kind: str
    data: Json


def job_of(row: Row) -> Job:
    """Return the job of a row of the database."""
    values = {name: value for name, value in row.items() if name not in ("lease", "search")}
    for name in ("cost", "created", "started", "ready", "finished"):
        # RETURNING of SQLite gives whole ones as integers
        values[name] = None if values[name] is None else float(values[name])
    for name in ("request", "progress", "error"):
        values[name] = None if values[name] is None else json.loads(values[name])
    values["is_cancelled"] = bool(values["is_cancelled"])
    return Job(**values)
