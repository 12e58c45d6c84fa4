"""The AcoustID web service: whole tracks by their fingerprint and length, at most three requests a second.

It looks only among tracks that are as long as the sound, within 7 s, and compares the first two minutes. So it says
nothing of an excerpt, or of a song that plays in a recording: use it beside another backend. Only the fingerprint and
the length are sent; the key goes into the body of the request, and nothing that comes back is kept with the key in it.
"""

import getpass
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from auralith.curation.identification.answers import answer, found, untellable
from auralith.curation.identification.fpcalc import Fpcalc
from auralith.curation.identification.interface import (
    AudioRef,
    Fingerprint,
    Identification,
    Match,
    ProviderInfo,
)
from auralith.curation.sources.rate_limit import Clock, RateLimit, SystemClock
from auralith.errors import AudioError, InvalidRequest, ResourceError
from auralith.extras import require

PROVIDER = "acoustid"
KEY_VARIABLE = "AURALITH_ACOUSTID_KEY"
URL = "https://api.acoustid.org/v2/lookup"
LONGEST_SECONDS = 120.0
"""What the service compares of a track."""
_MIN_SECONDS = 10.0
"""The service knows tracks; what is shorter is none."""
_WINDOWS = ((3, 1.0),)
"""Requests and seconds."""
_TIMEOUT_S = 30.0
_LONGEST_WAIT_S = 600.0
"""For other processes that wait for their requests."""
_BAD_KEY = 4
"""The service's number for a key that it doesn't know."""


class AcoustIdIdentifier:
    """Identifies whole tracks. Processes of one user on one machine share the request limit."""

    def __init__(
        self,
        fpcalc: Fpcalc,
        key: str,
        *,
        min_seconds: float = _MIN_SECONDS,
        url: str = URL,
        clock: Clock | None = None,
        folder: Path | None = None,
    ) -> None:
        """`folder` keeps the times of the last requests. Raises `InvalidRequest` if there is no key."""
        if not key:
            raise InvalidRequest(f"{KEY_VARIABLE} is not set; put your AcoustID API key there")
        httpx = require("httpx", "curate")
        self._fpcalc, self._key, self._url = fpcalc, key, url
        self._clock, self._folder = clock or SystemClock(), folder or _shared_folder()
        self._http = httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False)
        self.info = ProviderInfo(
            PROVIDER,
            "2",
            remote=True,
            min_seconds=max(min_seconds, _MIN_SECONDS),
            deterministic=False,
        )

    def __repr__(self) -> str:
        return f"AcoustIdIdentifier({self._url})"

    def analyze(self, audio: AudioRef) -> Fingerprint:
        try:
            text, seconds = self._fpcalc.compressed(audio.path, LONGEST_SECONDS)
        except AudioError as error:
            return Fingerprint(audio.asset_id, 0.0, problem=error.reason_code)
        return Fingerprint(audio.asset_id, seconds, text)

    def identify(self, fingerprints: Sequence[Fingerprint]) -> list[Identification]:
        """Raises `InvalidRequest` if the service refuses the key, `ResourceError` if the limit can't be kept."""
        return [self._answer(fingerprint) for fingerprint in fingerprints]

    def _answer(self, fingerprint: Fingerprint) -> Identification:
        if (untold := untellable(self.info, fingerprint)) is not None:
            return untold
        asset, response = fingerprint.asset_id, self._ask(fingerprint)
        if isinstance(response, str):
            return answer(self.info, asset, "error", response)
        raw = response.text.replace(self._key, "…")
        problem = self._problem(response)
        if problem is not None:
            return answer(self.info, asset, "error", problem, raw=raw)
        try:
            matches = tuple(_match(one, fingerprint.seconds) for one in response.json()["results"])
        except (KeyError, TypeError, ValueError):
            return answer(self.info, asset, "error", "bad_answer", raw=raw)
        return found(self.info, asset, matches, raw)

    def _ask(self, fingerprint: Fingerprint) -> Any:
        """The response, or why there is none."""
        httpx = require("httpx", "curate")
        self._wait()
        form = {
            "client": self._key,
            "format": "json",
            "duration": str(round(fingerprint.seconds)),
            "fingerprint": fingerprint.payload,
            "meta": "recordings releasegroups",
        }
        try:
            return self._http.post(self._url, data=form)
        except httpx.TimeoutException:
            return "timeout"
        except httpx.HTTPError:
            return "no_connection"

    def _wait(self) -> None:
        """Until a request is allowed; who holds the lock asks next."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._folder / "lock", _LONGEST_WAIT_S)) as lock:
                lock.execute("BEGIN EXCLUSIVE")
                RateLimit(_WINDOWS, self._clock, self._folder / "requests.json").acquire()
        except (OSError, sqlite3.OperationalError) as error:
            raise ResourceError(f"{self._folder} can't be written ({error})") from error

    def _problem(self, response: Any) -> str | None:
        """Why a response is no answer; None if it is one."""
        try:
            body = response.json()
        except (ValueError, RecursionError):
            return "bad_json" if response.status_code == 200 else f"http_{response.status_code}"
        said = body if isinstance(body, dict) else {}
        if said.get("status") == "error":
            error = said.get("error")
            code = error.get("code") if isinstance(error, dict) else None
            if code == _BAD_KEY:
                raise InvalidRequest(f"AcoustID refused the key; check {KEY_VARIABLE}")
            return f"acoustid_error_{code}" if isinstance(code, int) else "bad_answer"
        if response.status_code != 200:
            return f"http_{response.status_code}"
        whole = said.get("status") == "ok" and isinstance(said.get("results"), list)
        return None if whole else "bad_answer"


def _match(result: Any, seconds: float) -> Match:
    """A result as a match. Raises KeyError, TypeError or ValueError where it isn't one."""
    score = float(result["score"])
    if not isinstance(result["id"], str) or not 0 <= score <= 1:
        raise ValueError("a result has an id and a score from 0 to 1")
    return Match(
        ref_id=result["id"],
        query_start_s=0.0,
        duration_s=min(seconds, LONGEST_SECONDS),
        ref_start_s=0.0,
        score=score,
        meta=_told(result.get("recordings")),
    )


def _told(recordings: Any) -> dict[str, str]:
    """Title, artist and album of the first recording that has a title."""
    if not isinstance(recordings, list):
        return {}
    for recording in recordings:
        if isinstance(recording, dict) and isinstance(recording.get("title"), str):
            told = {
                "title": recording["title"],
                "artist": ", ".join(_texts(recording.get("artists"), "name")),
                "album": next(iter(_texts(recording.get("releasegroups"), "title")), ""),
            }
            return {name: text for name, text in told.items() if text}
    return {}


def _texts(rows: Any, key: str) -> list[str]:
    rows = rows if isinstance(rows, list) else []
    return [row[key] for row in rows if isinstance(row, dict) and isinstance(row.get(key), str)]


def _shared_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"auralith-acoustid-{getpass.getuser()}"
