"""Freesound's API v2 over httpx: within its limits, patient with its errors, and quiet about the key.

The key travels in a header only, redirects aren't followed, and nothing that the server writes is repeated without
looking for the key in it. Responses that carry an ETag are kept, so that asking again costs no transfer.
"""

import gzip
import hashlib
import json
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from auralith.curation.sources.rate_limit import Clock, RateLimit, SystemClock
from auralith.errors import InvalidRequest, ResourceError
from auralith.extras import require
from auralith.files import make_folder, whole_file
from auralith.foreign import SHAPE_ERRORS, parse_json

BASE_URL = "https://freesound.org/apiv2"
LIMITS = {
    1: ((60, 60.0), (2_000, 86_400.0)),
    2: ((300, 60.0), (5_000, 86_400.0)),
    3: ((300, 60.0), (15_000, 86_400.0)),
}
"""Requests and seconds of both windows, by the level of the key."""
_ATTEMPTS = 5
_TIMEOUT_S = 30.0
_NO_RETRY_AFTER_S = 60.0
"""Wait after a 429 that doesn't say how long: the shorter window."""


class _Failure(NamedTuple):
    """What may be otherwise in a while."""

    problem: str
    wait_s: float | None = None
    """As the server asks; None: longer after each attempt."""


class FreesoundClient:
    """GET requests with a key. `folder` keeps responses and the count of requests between runs."""

    def __init__(
        self,
        key: str,
        folder: Path,
        *,
        level: Literal[1, 2, 3] = 1,
        base_url: str = BASE_URL,
        clock: Clock | None = None,
        max_wait_s: float = 3_600.0,
    ) -> None:
        """Raises `InvalidRequest` for a key that can't be one, `ResourceError` if the folder can't be written."""
        if not (key.isascii() and key.isalnum()):
            raise InvalidRequest("the Freesound key is not one: letters and digits are expected")
        httpx = require("httpx", "curate")
        make_folder(folder)
        self.folder, self._key, self._base_url = folder, key, base_url.rstrip("/")
        self._clock = clock or SystemClock()
        self._limit = RateLimit(LIMITS[level], self._clock, folder / "requests.json", max_wait_s)
        self._http = httpx.Client(
            headers={"Authorization": f"Token {key}"}, timeout=_TIMEOUT_S, follow_redirects=False
        )

    def __repr__(self) -> str:
        return f"FreesoundClient({self._base_url})"

    def get(self, path: str, params: Mapping[str, str]) -> Any:
        """The JSON of a resource; None if there is no such thing (404).

        Raises:
            InvalidRequest: the key or the request is refused.
            ResourceError: there is no sensible answer after several attempts, or the limit is reached for long.
        """
        url = f"{self._base_url}/{path}"
        cached = _Cached(self.folder, f"{url}?{sorted(params.items())}")
        problem = ""
        for attempt in range(_ATTEMPTS):
            found = self._attempt(url, params, cached)
            if not isinstance(found, _Failure):
                return found
            problem = found.problem
            if attempt < _ATTEMPTS - 1:
                self._limit.wait(2.0**attempt if found.wait_s is None else found.wait_s)
        raise ResourceError(
            f"{self._base_url} fails ({problem}, {_ATTEMPTS} attempts);"
            " the same command continues from here later"
        )

    def _attempt(self, url: str, params: Mapping[str, str], cached: "_Cached") -> Any:
        """The JSON, None for 404, or a `_Failure` that may pass."""
        response = self._send(url, params, cached)
        if isinstance(response, _Failure):
            return response
        status = response.status_code
        if status == 404:
            return None
        if status == 304 and cached.etag:
            return cached.body
        if status == 429:
            wait_s = self._retry_after(response)
            return _Failure("HTTP 429", _NO_RETRY_AFTER_S if wait_s is None else wait_s)
        if status >= 500:
            return _Failure(f"HTTP {status}", self._retry_after(response))
        self._require_success(response)
        try:
            body = response.json()
        except ValueError:
            return _Failure("an answer that isn't JSON")
        if self._key not in response.text:  # an answer that echoes the key is not for the disk
            cached.keep(response.headers.get("ETag"), body)
        return body

    def _send(self, url: str, params: Mapping[str, str], cached: "_Cached") -> Any:
        """The response, or a `_Failure` to get one."""
        httpx = require("httpx", "curate")
        self._limit.acquire()
        headers = {"If-None-Match": cached.etag} if cached.etag else {}
        try:
            return self._http.get(url, params=dict(params), headers=headers)
        except httpx.TransportError as error:
            return _Failure(type(error).__name__)

    def _retry_after(self, response: Any) -> float | None:
        """Seconds that the server asks to wait, given as a number or a date; None if it doesn't say."""
        written = response.headers.get("Retry-After", "").strip()
        if written.isdigit():
            return float(written)
        try:
            until = parsedate_to_datetime(written).timestamp()
        except ValueError:
            return None
        return max(0.0, until - self._clock.now())

    def _require_success(self, response: Any) -> None:
        status = response.status_code
        if status in (401, 403):
            raise InvalidRequest(
                f"{self._base_url} refused the key (HTTP {status}); check AURALITH_FREESOUND_KEY"
            )
        if status >= 300:
            detail = " ".join(response.text.split()).replace(self._key, "…")[:200]
            raise InvalidRequest(
                f"{self._base_url} refused the request (HTTP {status}): {detail or 'no reason given'}"
            )


class _Cached:
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
