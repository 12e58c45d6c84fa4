"""Places for streams of events, so many in all and so many for each client."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from auralith.jobs.records import Overloaded, RateLimited

RETRY_SECONDS = 10


class Seats:
    """Places that are taken and left. It is used in one thread."""

    def __init__(self, most: int, most_each: int) -> None:
        self._most, self._most_each = most, most_each
        self._taken: Counter[str] = Counter()

    @contextmanager
    def taken(self, client: str) -> Iterator[None]:
        """Have a place. Raises `RateLimited` where the client has too many, and `Overloaded` where there is none left."""
        if self._taken[client] >= self._most_each:
            raise RateLimited(
                f"{self._most_each} streams of events are open for you; close some, or ask for the job itself",
                RETRY_SECONDS,
            )
        if self._taken.total() >= self._most:
            raise Overloaded(
                f"{self._most} streams of events are open; ask again later, or for the job itself",
                RETRY_SECONDS,
            )
        self._taken[client] += 1
        try:
            yield
        finally:
            self._taken[client] -= 1
            if not self._taken[client]:
                del self._taken[client]
