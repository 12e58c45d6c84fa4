"""HTTP manners that clients of web services share: published request limits, kept exactly, and a cache of responses.

A limit is a set of token buckets whose tokens come back one window after they were taken. So no window of that length,
wherever it begins, sees more requests than the bucket has tokens (a bucket that refills steadily would allow twice as
many). Taken tokens are kept in a file, because a daily limit outlives a process.
"""

import gzip
import hashlib
import json
import time
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from auralith.errors import ResourceError
from auralith.files import whole_file
from auralith.foreign import SHAPE_ERRORS, parse_json

MARGIN_S = 1.0
"""Added to each window: a request arrives a little later than it was sent."""


@runtime_checkable
class Clock(Protocol):
    """Time, so that tests needn't wait for it."""

    def now(self) -> float:
        """Seconds since 1970."""
        ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's time."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class TokenBucket:
    """`tokens` requests in any `seconds`."""

    def __init__(self, tokens: int, seconds: float, taken: Iterable[float] = ()) -> None:
        self.tokens, self.seconds = tokens, seconds + MARGIN_S
        self.taken = deque(sorted(taken), maxlen=tokens)

    def wait(self, now: float) -> float:
        """Seconds until there is a token; 0 if there is one."""
        if len(self.taken) < self.tokens:
            return 0.0
        return max(0.0, self.taken[0] + self.seconds - now)

    def take(self, now: float) -> None:
        """Take a token; the oldest one has come back by then."""
        self.taken.append(now)


class RateLimit:
    """Several buckets, a token from each for every request."""

    def __init__(
        self,
        windows: Sequence[tuple[int, float]],
        clock: Clock,
        state: Path | None = None,
        max_wait_s: float = 3_600.0,
    ) -> None:
        """`windows` are pairs of tokens and seconds; `state` is the file that keeps what was taken."""
        self.clock, self.state, self.max_wait_s = clock, state, max_wait_s
        taken = _read(state, clock.now())
        self.buckets = [TokenBucket(tokens, seconds, taken) for tokens, seconds in windows]

    def acquire(self) -> None:
        """Wait for a token of each bucket and take it.

        Raises:
            ResourceError: that would take longer than `max_wait_s`.
        """
        while (wait := max(bucket.wait(self.clock.now()) for bucket in self.buckets)) > 0:
            self.wait(wait)
        for bucket in self.buckets:
            bucket.take(self.clock.now())
        if self.state is not None:
            taken = max((bucket.taken for bucket in self.buckets), key=len)
            with whole_file(self.state) as file:
                file.write(json.dumps(list(taken)).encode())

    def wait(self, seconds: float) -> None:
        """Sleep; raises `ResourceError` instead if that is longer than `max_wait_s`."""
        if seconds > self.max_wait_s:
            raise ResourceError(
                f"the request limit is reached for {seconds / 3600:.1f} h;"
                " the same command continues from here after that"
            )
        self.clock.sleep(seconds)


class CachedResponse:
    """The last body of one request, and the ETag that it came with."""

    def __init__(self, folder: Path, request: str) -> None:
        self._file = folder / f"{hashlib.sha256(request.encode()).hexdigest()}.json.gz"
        self.etag: str | None = None
        self.body: Any = None
        try:
            kept = parse_json(gzip.decompress(self._file.read_bytes()))
            self.etag, self.body = kept["etag"], kept["body"]
        except (OSError, EOFError, *SHAPE_ERRORS):
            pass  # none yet, or damaged: ask without it

    def keep(self, etag: str | None, body: Any) -> None:
        if etag:
            with whole_file(self._file) as file:
                file.write(gzip.compress(json.dumps({"etag": etag, "body": body}).encode(), 6))


def _read(state: Path | None, now: float) -> list[float]:
    """The times in a state file that lie in the past; a damaged file means nothing was taken."""
    if state is None or not state.is_file():
        return []
    try:
        times = parse_json(state.read_text())
        return [float(time) for time in times if float(time) <= now]
    except SHAPE_ERRORS:
        return []
