"""Memory of a full queue: the many who come to one are refused without a look at the database."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from auralith.jobs.records import QueueFull

KNOWN_SECONDS = 1.0
"""Time for which an answer to when to come again is given to all."""


@dataclass(frozen=True)
class _Refusal:
    message: str
    retry_after: int
    end: float


class Refusals:
    """Refusals of the queue, and of the queues of single owners.

    Each is noted where it was found, and all are forgotten where a job leaves a queue, both within a change: what is known of a
    database that one process works with is true.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str | None, _Refusal] = {}

    def note(self, owner: str | None, refusal: QueueFull) -> None:
        """Note a refusal for jobs of an owner; None: of everybody."""
        end = self._clock() + KNOWN_SECONDS
        self._known[owner] = _Refusal(str(refusal), refusal.retry_after, end)

    def forget(self) -> None:
        """Forget all, since there may be a place now."""
        self._known.clear()

    def require_none(self, owner: str) -> None:
        """Raise `QueueFull` where a job of an owner is known to find no place."""
        for one in (self._known.get(None), self._known.get(owner)):
            if one is not None and self._clock() < one.end:
                raise QueueFull(one.message, one.retry_after)
