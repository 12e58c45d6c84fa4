"""The web: links, built by percent-encoding and checked before they are published; and manners of clients of web services.

Clients share published request limits, kept exactly, and a cache of responses. A limit is a set of token buckets whose
tokens come back one window after they were taken. So no window of that length, wherever it begins, sees more requests than
the bucket has tokens (a bucket that refills steadily would allow twice as many). Taken tokens are kept in a file, because
a daily limit outlives a process.
"""

import gzip
import hashlib
import json
import re
import time
import zlib
from collections import deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote, urlsplit

from auralith.errors import ResourceError
from auralith.files import whole_file
from auralith.foreign import SHAPE_ERRORS, parse_json

MARGIN_S = 1.0
"""Seconds added to each window, since a request arrives a little later than it was sent."""
_WEB = re.compile(r"https?://\S", re.IGNORECASE)
_HOST = re.compile(
    r"(?:[^\W_](?:[\w-]*[^\W_])?\.)*[^\W_](?:[\w-]*[^\W_])?\.?|[0-9a-f:.]*:[0-9a-f:.]*",
    re.IGNORECASE,
)
_NO_URL_SIGN = re.compile(
    r"[\x00-\x20\x7f-\xa0\"<>\\^`{|}\u2028\u2029\ud800-\udfff]|%(?![0-9a-fA-F]{2})"
)
_BRACKET = re.compile(r"[\[\]]")


@runtime_checkable
class Clock(Protocol):
    """A clock, which tests replace so that they needn't wait."""

    def now(self) -> float:
        """Return the seconds since 1970."""
        ...

    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class TokenBucket:
    """A limit of `tokens` requests in any `seconds`."""

    def __init__(self, tokens: int, seconds: float, taken: Iterable[float] = ()) -> None:
        self.tokens, self.seconds = tokens, seconds + MARGIN_S
        self.taken = deque(sorted(taken), maxlen=tokens)

    def wait(self, now: float) -> float:
        """Return the seconds until a token is available; 0 if one is."""
        if len(self.taken) < self.tokens:
            return 0.0
        return max(0.0, self.taken[0] + self.seconds - now)

    def take(self, now: float) -> None:
        """Take a token, after `wait` has passed."""
        self.taken.append(now)


class RateLimit:
    """Several buckets; each request takes a token of each."""

    def __init__(
        self,
        windows: Sequence[tuple[int, float]],
        clock: Clock,
        state: Path | None = None,
        max_wait_s: float = 3_600.0,
    ) -> None:
        """Set up the buckets: `windows` are pairs of tokens and seconds, `state` is the file that keeps the taken tokens."""
        self.clock, self.state, self.max_wait_s = clock, state, max_wait_s
        taken = _read(state, clock.now())
        self.buckets = [TokenBucket(tokens, seconds, taken) for tokens, seconds in windows]

    def acquire(self) -> None:
        """Wait for a token of each bucket and take it.

        Raises:
            ResourceError: the wait would exceed `max_wait_s`.
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
        """Sleep, or raise `ResourceError` if the wait exceeds `max_wait_s`."""
        if seconds > self.max_wait_s:
            raise ResourceError(
                f"the request limit is reached for {seconds / 3600:.1f} h;"
                " the same command continues from here after that"
            )
        self.clock.sleep(seconds)


class CachedResponse:
    """The last response to one request, kept with its ETag in a file of `folder`."""

    def __init__(self, folder: Path, request: str) -> None:
        self._file = folder / f"{hashlib.sha256(request.encode()).hexdigest()}.json.gz"
        self.etag: str | None = None
        self.body: Any = None
        try:
            kept = parse_json(gzip.decompress(self._file.read_bytes()))
            self.etag, self.body = kept["etag"], kept["body"]
        except (OSError, EOFError, zlib.error, *SHAPE_ERRORS):
            pass  # missing or damaged: ask without an ETag

    def keep(self, etag: str | None, body: Any) -> None:
        """Keep a body, if it has an ETag to ask again with."""
        if etag:
            with whole_file(self._file) as file:
                file.write(gzip.compress(json.dumps({"etag": etag, "body": body}).encode(), 6))


def _read(state: Path | None, now: float) -> list[float]:
    """Return the past times in a state file; a damaged file counts as no tokens taken."""
    if state is None or not state.is_file():
        return []
    try:
        times = parse_json(state.read_text())
        return [float(time) for time in times if float(time) <= now]
    except SHAPE_ERRORS:
        return []


def page_link(site: str, *parts: str) -> str | None:
    """Return the address of a page below `site`, its parts percent-encoded, with a slash at the end.

    None if a part is empty, "." or "..", which no encoding keeps from being read as the page above.
    """
    if any(part in ("", ".", "..") for part in parts):
        return None
    return "/".join([site, *(quote(part, safe="", errors="replace") for part in parts), ""])


def web_link(text: str | None) -> str | None:
    """Return a link unchanged if it leads to the web; None for scripts and files."""
    return text if text and _WEB.match(text) else None


def is_valid_link(link: str) -> bool:
    """Return whether a link is a valid URL of the web: a host, and only characters that a URL may have.

    Letters beyond ASCII may (WHATWG URL Standard, section 4.3); spaces, quotes, a second "#" and "%" without two
    hexadecimal digits may not.
    """
    if not _WEB.match(link) or _NO_URL_SIGN.search(link) or link.count("#") > 1:
        return False
    try:
        parts = urlsplit(link)
        is_port = parts.port is None or parts.port > 0
    except ValueError:
        return False
    has_brackets = _BRACKET.search(parts.path + parts.query + parts.fragment)
    return is_port and not has_brackets and _HOST.fullmatch(parts.hostname or "") is not None
