"""Commercial and public services that identify recordings: AcoustID over HTTP, Audible Magic by its command-line toolkit."""

import getpass
import math
import sqlite3
import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from auralith.curation.http import Clock, RateLimit, SystemClock
from auralith.curation.identification.interface import (
    META,
    AudioRef,
    Fingerprint,
    Identification,
    Match,
    ProviderInfo,
    answer,
    complete_answer,
    unanswerable,
)
from auralith.curation.identification.programs import Finished, Fpcalc, find_program, run_program
from auralith.errors import AudioError, InvalidRequest, ResourceError
from auralith.extras import require
from auralith.foreign import SHAPE_ERRORS, parse_json
from auralith.sound.stream import read_seconds

KEY_VARIABLE = "AURALITH_ACOUSTID_KEY"
ACOUSTID_URL = "https://api.acoustid.org/v2/lookup"
_COMPARED_SECONDS = 120.0
"""The service compares this much of a track."""
_MIN_SECONDS = 10.0
"""Shortest sound to look up, since the service holds whole tracks."""
_WINDOWS = ((3, 1.0),)
"""Allowed requests, and the seconds they are counted over."""
_TIMEOUT_S = 30.0
_LOCK_TIMEOUT_S = 600.0
"""Longest wait for other processes that use the service."""
_BAD_KEY = 4
"""Error code of the service for an unknown key."""
MATCH_CODE = 2006
_TOOLKIT_REMEDY = "name the program identify of Audible Magic's toolkit (identifier.audible_magic)"


class AcoustIdIdentifier:
    """The AcoustID web service: whole tracks by fingerprint and length, at most three requests a second.

    It considers only tracks that are as long as the sound, within 7 s, and compares the first two minutes. It can't judge an
    excerpt, or a song that plays in a recording, so use it beside another backend. Only the fingerprint and the length are
    sent; the key goes into the body of the request, and no response is kept with the key in it. Processes of one user on one
    machine share the request limit.
    """

    def __init__(
        self,
        fpcalc: Fpcalc,
        key: str,
        *,
        min_seconds: float = _MIN_SECONDS,
        url: str = ACOUSTID_URL,
        clock: Clock | None = None,
        folder: Path | None = None,
    ) -> None:
        """Set up the client. `folder` keeps the times of recent requests. Raises `InvalidRequest` if the key is empty."""
        if not key:
            raise InvalidRequest(f"{KEY_VARIABLE} is not set; put your AcoustID API key there")
        httpx = require("httpx", "curate")
        self._fpcalc, self._key, self._url = fpcalc, key, url
        self._clock = clock or SystemClock()
        shared = f"auralith-acoustid-{getpass.getuser()}"
        self._folder = folder or Path(tempfile.gettempdir()) / shared
        self._http = httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False)
        self.info = ProviderInfo(
            "acoustid",
            "2",
            remote=True,
            min_seconds=max(min_seconds, _MIN_SECONDS),
            deterministic=False,
        )

    def __repr__(self) -> str:
        return f"AcoustIdIdentifier({self._url})"

    def analyze(self, audio: AudioRef) -> Fingerprint:
        try:
            text, seconds = self._fpcalc.compressed(audio.path, _COMPARED_SECONDS)
        except AudioError as error:
            return Fingerprint(audio.asset_id, 0.0, problem=error.reason_code)
        return Fingerprint(audio.asset_id, seconds, text)

    def identify(self, fingerprints: Sequence[Fingerprint]) -> list[Identification]:
        """Ask about each fingerprint.

        Raises:
            InvalidRequest: the service refuses the key.
            ResourceError: the file of the request limit can't be written.
        """
        return [self._answer(fingerprint) for fingerprint in fingerprints]

    def _answer(self, fingerprint: Fingerprint) -> Identification:
        if (unanswered := unanswerable(self.info, fingerprint)) is not None:
            return unanswered
        asset, response = fingerprint.asset_id, self._ask(fingerprint)
        if isinstance(response, str):
            return answer(self.info, asset, "error", response)
        raw, results = response.text.replace(self._key, "…"), self._results(response)
        if isinstance(results, str):
            return answer(self.info, asset, "error", results, raw=raw)
        try:
            matches = tuple(_acoustid_match(one, fingerprint.seconds) for one in results)
        except SHAPE_ERRORS:
            return answer(self.info, asset, "error", "bad_answer", raw=raw)
        return complete_answer(self.info, asset, matches, raw)

    def _ask(self, fingerprint: Fingerprint) -> Any:
        """Return the response, or the reason code of a failed request."""
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
        """Wait until a request is allowed; the process that holds the lock asks next."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._folder / "lock", _LOCK_TIMEOUT_S)) as lock:
                lock.execute("BEGIN EXCLUSIVE")
                RateLimit(_WINDOWS, self._clock, self._folder / "requests.json").acquire()
        except (OSError, sqlite3.OperationalError) as error:
            raise ResourceError(f"{self._folder} can't be written ({error})") from error

    def _results(self, response: Any) -> list[Any] | str:
        """Return the results in a response, or the reason code of an unusable one."""
        try:
            body = parse_json(response.content)
        except ValueError:
            return "bad_json" if response.status_code == 200 else f"http_{response.status_code}"
        fields = body if isinstance(body, dict) else {}
        if fields.get("status") == "error":
            error = fields.get("error")
            code = error.get("code") if isinstance(error, dict) else None
            if code == _BAD_KEY:
                raise InvalidRequest(f"AcoustID refused the key; check {KEY_VARIABLE}")
            return f"acoustid_error_{code}" if isinstance(code, int) else "bad_answer"
        if response.status_code != 200:
            return f"http_{response.status_code}"
        results = fields.get("results")
        return (
            results if fields.get("status") == "ok" and isinstance(results, list) else "bad_answer"
        )


def _acoustid_match(result: Any, seconds: float) -> Match:
    """Return a result as a match; raise one of `SHAPE_ERRORS` if it is malformed."""
    score = float(result["score"])
    if not isinstance(result["id"], str) or not 0 <= score <= 1:
        raise ValueError("a result has an id and a score from 0 to 1")
    return Match(
        ref_id=result["id"],
        query_start_s=0.0,
        duration_s=min(seconds, _COMPARED_SECONDS),
        ref_start_s=0.0,
        score=score,
        meta=_recording_meta(result.get("recordings")),
    )


def _recording_meta(recordings: Any) -> dict[str, str]:
    """Return title, artist and album of the first recording that has a title."""
    if not isinstance(recordings, list):
        return {}
    for recording in recordings:
        if isinstance(recording, dict) and isinstance(recording.get("title"), str):
            meta = {
                "title": recording["title"],
                "artist": ", ".join(_texts(recording.get("artists"), "name")),
                "album": next(iter(_texts(recording.get("releasegroups"), "title")), ""),
            }
            return {name: text for name, text in meta.items() if text}
    return {}


def _texts(rows: Any, key: str) -> list[str]:
    rows = rows if isinstance(rows, list) else []
    return [row[key] for row in rows if isinstance(row, dict) and isinstance(row.get(key), str)]


class AudibleMagicIdentifier:
    """Audible Magic's toolkit: its program `identify` computes a fingerprint locally, asks the service and prints JSON.

    The configuration file carries the customer's identity and comes with a contract; the sound stays on this machine. Only
    one status code is public, 2006 for a match. A user who knows the codes that report no match names them as
    `no_match_codes`; every other code is "indeterminate".
    """

    def __init__(
        self,
        program: str,
        config: Path,
        *,
        no_match_codes: Sequence[int] = (),
        timeout_s: float = 300.0,
        min_seconds: float = 3.0,
    ) -> None:
        """Find the program. `timeout_s` is the limit for each sound.

        Raises:
            InvalidRequest: the program or the configuration is missing, or `no_match_codes` holds the code of a match.
        """
        if not config.is_file():
            raise InvalidRequest(f"{config} is not a file; name the toolkit's configuration")
        if MATCH_CODE in no_match_codes:
            raise InvalidRequest(
                f"status {MATCH_CODE} reports a match; leave it out of no_match_codes"
            )
        self._program, self._config = find_program(program, _TOOLKIT_REMEDY), config.absolute()
        self._no_match_codes, self._timeout_s = frozenset(no_match_codes), timeout_s
        codes = ",".join(str(code) for code in sorted(self._no_match_codes))
        version = f"1+{codes}" if codes else "1"
        self.info = ProviderInfo(
            "audible-magic", version, remote=True, min_seconds=min_seconds, deterministic=False
        )

    def analyze(self, audio: AudioRef) -> Fingerprint:
        """Return the file itself, decoded once to check that it is whole: the program computes its own fingerprint."""
        try:
            seconds = read_seconds(audio.path)
        except AudioError as error:
            return Fingerprint(audio.asset_id, 0.0, problem=error.reason_code)
        return Fingerprint(audio.asset_id, seconds, audio.path.absolute())

    def identify(self, fingerprints: Sequence[Fingerprint]) -> list[Identification]:
        """Ask about each fingerprint. Raises `ResourceError` if the program can't be started."""
        return [self._answer(fingerprint) for fingerprint in fingerprints]

    def _answer(self, fingerprint: Fingerprint) -> Identification:
        if (unanswered := unanswerable(self.info, fingerprint)) is not None:
            return unanswered
        asset = fingerprint.asset_id
        arguments = ["-c", str(self._config), "-i", str(fingerprint.payload), "-e", asset]
        finished = run_program([self._program, *arguments], self._timeout_s)
        if finished.code != 0:
            return answer(self.info, asset, "error", _exit_reason(finished))
        raw = finished.output.decode("utf-8", "replace")
        try:
            response = parse_json(finished.output)
        except ValueError:
            return answer(self.info, asset, "error", "bad_json", raw=raw)
        return self._read(asset, response, raw)

    def _read(self, asset: str, response: Any, raw: str) -> Identification:
        """Return the answer in the program's JSON."""
        bad = answer(self.info, asset, "error", "bad_answer", raw=raw)
        code = response.get("statusCode") if isinstance(response, dict) else None
        if type(code) is not int or response.get("unknownAssetID", asset) != asset:
            return bad
        if code != MATCH_CODE and code not in self._no_match_codes:
            return answer(self.info, asset, "indeterminate", f"status_{code}", raw=raw)
        try:
            matches = tuple(_toolkit_match(one) for one in response.get("matches") or ())
        except SHAPE_ERRORS:
            return bad
        consistent = bool(matches) == (code == MATCH_CODE)
        return complete_answer(self.info, asset, matches, raw) if consistent else bad


def _exit_reason(finished: Finished) -> str:
    if finished.code is None:
        return "timeout"
    return f"exit_{finished.code}" if finished.code > 0 else f"signal_{-finished.code}"


def _toolkit_match(one: Any) -> Match:
    """Return a match of the JSON; raise one of `SHAPE_ERRORS` if it is malformed."""
    start, seconds, other = (
        _seconds(one[f"match{name}"])
        for name in ("TimeInUnknown", "DurationInUnknown", "TimeInReference")
    )
    meta = {str(key).lower(): value for key, value in (one.get("metadata") or {}).items()}
    return Match(
        ref_id=str(one["amItemID"]),
        query_start_s=start,
        duration_s=seconds,
        ref_start_s=other,
        score=1.0,  # the answer has none
        kind=str(one.get("matchType", "audio")),
        rule=None if one.get("ruleCode") is None else str(one["ruleCode"]),
        meta={name: meta[name] for name in META if isinstance(meta.get(name), str)},
    )


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError("a time is a number")
    return seconds
