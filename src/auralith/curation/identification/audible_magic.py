"""Audible Magic's toolkit: its program `identify` takes a fingerprint here, asks the service and prints JSON.

The configuration file carries the customer's identity and comes with a contract; the sound doesn't leave the machine.
Of the status codes one is public, 2006 for a match. Which of the others say that there is none, a user who knows tells
by `no_match_codes`; what isn't told is "indeterminate".
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from auralith.curation.identification.answers import answer, found, untellable
from auralith.curation.identification.interface import (
    AudioRef,
    Fingerprint,
    Identification,
    Match,
    ProviderInfo,
)
from auralith.curation.identification.programs import Ended, find_program, run_program
from auralith.errors import AudioError, InvalidRequest
from auralith.foreign import parse_json
from auralith.sound.mono import read_seconds

PROVIDER = "audible-magic"
MATCH_CODE = 2006
_REMEDY = "name the program identify of Audible Magic's toolkit (identifier.audible_magic)"


class AudibleMagicIdentifier:
    """Identifies sounds by the toolkit, one after the other."""

    def __init__(
        self,
        program: str,
        config: Path,
        *,
        no_match_codes: Sequence[int] = (),
        timeout_s: float = 300.0,
        min_seconds: float = 3.0,
    ) -> None:
        """`timeout_s` is for each sound. Raises `InvalidRequest` if the program or the configuration isn't there, or
        the code of a match is to say that there is none."""
        if not config.is_file():
            raise InvalidRequest(f"{config} is not a file; name the toolkit's configuration")
        if MATCH_CODE in no_match_codes:
            raise InvalidRequest(f"status {MATCH_CODE} says that there is a match, not none")
        self._program, self._config = find_program(program, _REMEDY), config.absolute()
        self._no_match_codes, self._timeout_s = frozenset(no_match_codes), timeout_s
        codes = ",".join(str(code) for code in sorted(self._no_match_codes))
        self.info = ProviderInfo(
            PROVIDER,
            f"1+{codes}" if codes else "1",
            remote=True,
            min_seconds=min_seconds,
            deterministic=False,
        )

    def analyze(self, audio: AudioRef) -> Fingerprint:
        """The file itself, decoded once to know that it is whole: the program makes its own fingerprint of it."""
        try:
            seconds = read_seconds(audio.path)
        except AudioError as error:
            return Fingerprint(audio.asset_id, 0.0, problem=error.reason_code)
        return Fingerprint(audio.asset_id, seconds, audio.path.absolute())

    def identify(self, fingerprints: Sequence[Fingerprint]) -> list[Identification]:
        """Raises `ResourceError` if the program can't be started."""
        return [self._answer(fingerprint) for fingerprint in fingerprints]

    def _answer(self, fingerprint: Fingerprint) -> Identification:
        if (untold := untellable(self.info, fingerprint)) is not None:
            return untold
        asset = fingerprint.asset_id
        arguments = ["-c", str(self._config), "-i", str(fingerprint.payload), "-e", asset]
        ended = run_program([self._program, *arguments], self._timeout_s)
        if ended.code != 0:
            return answer(self.info, asset, "error", _why_ended(ended))
        raw = ended.output.decode("utf-8", "replace")
        try:
            said = parse_json(ended.output)
        except ValueError:
            return answer(self.info, asset, "error", "bad_json", raw=raw)
        return self._read(asset, said, raw)

    def _read(self, asset: str, said: Any, raw: str) -> Identification:
        """What JSON says of a sound."""
        bad = answer(self.info, asset, "error", "bad_answer", raw=raw)
        code = said.get("statusCode") if isinstance(said, dict) else None
        if type(code) is not int or said.get("unknownAssetID", asset) != asset:
            return bad
        if code != MATCH_CODE and code not in self._no_match_codes:
            return answer(self.info, asset, "indeterminate", f"status_{code}", raw=raw)
        try:
            matches = tuple(_match(one) for one in said.get("matches") or ())
        except (AttributeError, KeyError, TypeError, ValueError):
            return bad
        return (
            found(self.info, asset, matches, raw) if bool(matches) == (code == MATCH_CODE) else bad
        )


def _why_ended(ended: Ended) -> str:
    if ended.code is None:
        return "timeout"
    return f"exit_{ended.code}" if ended.code > 0 else f"signal_{-ended.code}"


def _match(one: Any) -> Match:
    """Raises AttributeError, KeyError, TypeError or ValueError where it isn't one."""
    start, seconds, other = (
        _seconds(one[f"match{name}"])
        for name in ("TimeInUnknown", "DurationInUnknown", "TimeInReference")
    )
    told = {str(key).lower(): value for key, value in (one.get("metadata") or {}).items()}
    names = ("title", "artist", "album", "isrc", "label")
    return Match(
        ref_id=str(one["amItemID"]),
        query_start_s=start,
        duration_s=seconds,
        ref_start_s=other,
        score=1.0,  # the answer has none
        kind=str(one.get("matchType", "audio")),
        rule=None if one.get("ruleCode") is None else str(one["ruleCode"]),
        meta={name: told[name] for name in names if isinstance(told.get(name), str)},
    )


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not math.isfinite(seconds):
        raise ValueError("a time is a number")
    return seconds
