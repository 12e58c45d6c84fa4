"""The identification step: its settings, the backends that they name, and the questions to them; people judge the matches."""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from auralith.curation.identification.interface import (
    META,
    AudioRef,
    ContentIdentifier,
    Fingerprint,
    Identification,
    Match,
    ProviderInfo,
    answer,
    complete_answer,
    unanswerable,
)
from auralith.curation.identification.programs import Fpcalc
from auralith.curation.identification.services import (
    KEY_VARIABLE,
    MATCH_CODE,
    AcoustIdIdentifier,
    AudibleMagicIdentifier,
)
from auralith.curation.probe import sound_path
from auralith.curation.stage import Finding, Row
from auralith.errors import AudioError, Field, InvalidRequest, shown
from auralith.fingerprint import LandmarkIndex, Landmarks, SearchOptions, read_landmarks, search
from auralith.numbers import check_integer, check_number

PROVIDERS = ("landmark", "acoustid", "audible-magic")
_REMOVED = (
    ": the Chromaprint matcher was removed; index the known recordings with auralith curate index and"
    ' use providers = ["landmark"]'
)
_LANDMARK_VERSION = 2
"""Goes up whenever the same sounds may get other answers."""
_EDGE_SECONDS = 1.0
"""Excess of a sound's length over the stretch that its landmarks align, since no landmark lies at its very ends."""
_SMALLEST_P = 1e-300


@dataclass(frozen=True)
class IdentifySettings:
    """Settings of the identification: its backends, when two stretches are the same, and how often to ask."""

    providers: tuple[str, ...] = ("landmark",)
    """Backend: landmark, acoustid or audible-magic; of several, a match of any counts, and a sound passes if all report none."""
    alpha: float = 1e-9
    """For "landmark": largest probability, corrected for the size of the index, that chance alone aligns as much."""
    min_seconds: float = 3.0
    """Shortest stretch that counts; some backends need more."""
    no_match_codes: tuple[int, ...] = ()
    """For "audible-magic": status codes that report no match; an unknown one leads to quarantine."""
    retries: int = 3
    """A request is repeated this often after an error, with pauses of 1, 2, 4 … seconds."""

    def __post_init__(self) -> None:
        check_number(self, "alpha", above=0.0, below=1.0)
        check_number(self, "min_seconds", "s", above=0.0)
        check_integer(self, "retries", 0)
        if "chromaprint" in self.providers:
            raise InvalidRequest(Field("providers"), _REMOVED)
        if unknown := [name for name in self.providers if name not in PROVIDERS]:
            raise InvalidRequest(
                Field("providers"),
                f": {shown(unknown[0])} is unknown; known are {', '.join(PROVIDERS)}",
            )
        if not self.providers or len(set(self.providers)) < len(self.providers):
            raise InvalidRequest(Field("providers"), " must be one or more different providers")
        if MATCH_CODE in self.no_match_codes:
            raise InvalidRequest(
                Field("no_match_codes"), f" hold {MATCH_CODE}, which reports a match; leave it out"
            )


@dataclass(frozen=True)
class IdentifierFiles:
    """Locations of the backends' files and programs; they change no result."""

    REMOVED: ClassVar[dict[str, str]] = {"fingerprints": _REMOVED}
    fpcalc: str = "fpcalc"
    """Chromaprint's program, for acoustid: a path or a name in PATH."""
    audible_magic: str | None = None
    """Program identify of Audible Magic's toolkit, for audible-magic."""
    audible_magic_config: Path | None = None
    """Configuration file of that program, which carries the customer's identity."""
    timeout_s: float = 300.0
    """For "audible-magic": longest wait for the answer about one sound, in seconds."""

    def __post_init__(self) -> None:
        check_number(self, "timeout_s", "s", above=0.0)

    def absolute(self) -> "IdentifierFiles":
        """Return the same locations for workers, which may run in another folder."""
        config = self.audible_magic_config
        return replace(self, audible_magic_config=None if config is None else config.absolute())


class LandmarkIdentifier:
    """The built-in backend: a search by landmarks in an index of reference recordings."""

    def __init__(self, index: Path, options: SearchOptions | None = None) -> None:
        """Open the index in a folder. Raises `InvalidRequest` as `LandmarkIndex.open` does."""
        self.index, self.options = LandmarkIndex.open(index), options or SearchOptions()
        self.info = ProviderInfo(
            "landmark",
            f"{_LANDMARK_VERSION}+{self.index.digest}",
            remote=False,
            min_seconds=self.options.min_seconds + _EDGE_SECONDS,
            deterministic=True,
        )

    def analyze(self, audio: AudioRef) -> Fingerprint:
        try:
            landmarks = read_landmarks(audio.path)
        except AudioError as error:
            return Fingerprint(audio.asset_id, 0.0, problem=error.reason_code)
        return Fingerprint(audio.asset_id, landmarks.seconds, landmarks)

    def identify(self, fingerprints: Sequence[Fingerprint]) -> list[Identification]:
        return [self._answer(fingerprint) for fingerprint in fingerprints]

    def _answer(self, fingerprint: Fingerprint) -> Identification:
        if unanswered := unanswerable(self.info, fingerprint):
            return unanswered
        matches = tuple(self.matches(fingerprint.payload))
        return complete_answer(self.info, fingerprint.asset_id, matches)

    def matches(self, query: Landmarks) -> list[Match]:
        """Return the matches of a query, the surest first."""
        return [
            Match(
                ref_id=one.ref_id,
                query_start_s=one.query_start_s,
                duration_s=one.duration_s,
                ref_start_s=one.reference_start_s,
                score=float(one.votes),
                p_value=one.p_value,
            )
            for one in search(self.index, query, self.options)
        ]


class CompositeIdentifier:
    """Several backends as one: a match of any counts, and the answer is "no_match" only if all report none.

    They are asked in order, each only about sounds without a match so far, which saves requests to services.
    """

    def __init__(self, members: Sequence[ContentIdentifier]) -> None:
        """Combine the members. Raises `InvalidRequest` without any, or if two have one name."""
        infos = [member.info for member in members]
        names = [info.name for info in infos]
        if not names or len(set(names)) < len(names):
            raise InvalidRequest("name one or more different backends to identify by")
        self._members = tuple(members)
        self.info = ProviderInfo(
            "+".join(names),
            ";".join(f"{info.name}={info.version}" for info in infos),
            remote=any(info.remote for info in infos),
            min_seconds=max(info.min_seconds for info in infos),
            deterministic=all(info.deterministic for info in infos),
        )

    def analyze(self, audio: AudioRef) -> Fingerprint:
        """Return the fingerprints of all members; a problem only if every member has one."""
        parts = tuple(member.analyze(audio) for member in self._members)
        problem = parts[0].problem if all(part.problem for part in parts) else None
        seconds = max(part.seconds for part in parts)
        return Fingerprint(audio.asset_id, seconds, parts, problem)

    def identify(self, fingerprints: Sequence[Fingerprint]) -> list[Identification]:
        answers: list[list[Identification]] = [[] for _ in fingerprints]
        for number, member in enumerate(self._members):
            places = [
                place
                for place, fingerprint in enumerate(fingerprints)
                if fingerprint.payload is not None and not _matched(answers[place])
            ]
            parts = [fingerprints[place].payload[number] for place in places]
            for place, one in zip(places, member.identify(parts), strict=True):
                answers[place].append(one)
        return [self._joined(*both) for both in zip(fingerprints, answers, strict=True)]

    def _joined(self, fingerprint: Fingerprint, answers: list[Identification]) -> Identification:
        """Return the match, else the first error, else the first indeterminate answer, else no match."""
        asset = fingerprint.asset_id
        if fingerprint.problem is not None or not answers:
            reason = fingerprint.problem or "no_fingerprint"
            return answer(self.info, asset, "error", reason)
        order = ("match", "error", "indeterminate", "no_match")
        first = min(answers, key=lambda one: order.index(one.status))
        reason = None if first.reason is None else _reason(first)
        raw = {one.provider: one.raw for one in answers if one.raw is not None}
        text = json.dumps(raw, ensure_ascii=False) if raw else None
        return answer(self.info, asset, first.status, reason, first.matches, text)


def _matched(answers: list[Identification]) -> bool:
    return any(one.status == "match" for one in answers)


def _reason(one: Identification) -> str:
    return f"{one.provider.replace('-', '_')}_{one.reason}"


def make_identifier(
    settings: IdentifySettings, index: Path | None, files: IdentifierFiles
) -> ContentIdentifier:
    """Return the backend that the settings name, or several as one. `index` is the folder of the landmark index.

    Raises:
        InvalidRequest: an index, a program, a configuration or a key that it needs is missing.
    """
    make: dict[str, Callable[[], ContentIdentifier]] = {
        "landmark": lambda: _landmark(settings, index),
        "acoustid": lambda: AcoustIdIdentifier(
            Fpcalc(files.fpcalc),
            os.environ.get(KEY_VARIABLE, ""),
            min_seconds=settings.min_seconds,
        ),
        "audible-magic": lambda: _audible_magic(settings, files),
    }
    members = [make[name]() for name in settings.providers]
    return members[0] if len(members) == 1 else CompositeIdentifier(members)


def _landmark(settings: IdentifySettings, index: Path | None) -> LandmarkIdentifier:
    if index is None:
        raise InvalidRequest(
            "identification by landmarks needs an index of known recordings; make one with auralith"
            " curate index and name it as index, or leave 'identify' out of the stages"
        )
    return LandmarkIdentifier(index, SearchOptions(settings.alpha, settings.min_seconds))


def _audible_magic(settings: IdentifySettings, files: IdentifierFiles) -> AudibleMagicIdentifier:
    if files.audible_magic is None or files.audible_magic_config is None:
        raise InvalidRequest(
            "audible-magic needs the toolkit's program identify and its configuration; name them as"
            " audible_magic and audible_magic_config"
        )
    return AudibleMagicIdentifier(
        files.audible_magic,
        files.audible_magic_config,
        no_match_codes=settings.no_match_codes,
        timeout_s=files.timeout_s,
        min_seconds=settings.min_seconds,
    )


class Identify:
    """The stage. `index` is the folder of the landmark index; `identifier` replaces the backend that the settings name."""

    name = "identify"
    inputs: tuple[str, ...] = ("path",)

    def __init__(
        self,
        settings: IdentifySettings | None = None,
        index: Path | None = None,
        files: IdentifierFiles | None = None,
        identifier: ContentIdentifier | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Raise `InvalidRequest` as `make_identifier` does."""
        self.settings = settings or IdentifySettings()
        self._identifier = identifier or make_identifier(
            self.settings, index, files or IdentifierFiles()
        )
        self._sleep = sleep
        info = self._identifier.info
        self.provider, self.provider_version = info.name, info.version

    @property
    def schema(self) -> pa.Schema:
        number, text = pa.float64(), pa.string()
        stretch = [("query_start_s", number), ("duration_s", number), ("ref_start_s", number)]
        meta = [(name, text) for name in (*META, "rule")]
        match = pa.struct([("ref", text), *stretch, ("score", number), ("p_value", number), *meta])
        return pa.schema(
            [
                ("answer", text),
                ("num_matches", pa.int32()),
                ("best_ref", text),
                ("best_p", number),
                ("matches", pa.list_(match)),
                ("raw_json", text),
            ]
        )

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        """Return a finding for each recording; one without a sound or an answer goes into quarantine."""
        places = [i for i, row in enumerate(rows) if row["path"]]
        fingerprints = [self._fingerprint(rows[i], root) for i in places]
        answers = dict(zip(places, self._answers(fingerprints), strict=True))
        return [
            _finding(answers[i]) if i in answers else Finding("skipped", "quarantine", "no_path")
            for i in range(len(rows))
        ]

    def _fingerprint(self, row: Row, root: Path) -> Fingerprint:
        try:
            path = sound_path(root, row["path"])
        except AudioError as error:
            return Fingerprint(row["rec_id"], 0.0, problem=error.reason_code)
        return self._identifier.analyze(AudioRef(row["rec_id"], path))

    def _answers(self, fingerprints: list[Fingerprint]) -> list[Identification]:
        """Return the answers; ask again, with growing pauses, about those that may change."""
        answers = self._identifier.identify(fingerprints)
        for attempt in range(self.settings.retries):
            again = [
                i for i, one in enumerate(answers) if self._may_change(one.status, fingerprints[i])
            ]
            if not again:
                break
            self._sleep(2.0**attempt)
            found = self._identifier.identify([fingerprints[i] for i in again])
            for i, one in zip(again, found, strict=True):
                answers[i] = one
        return answers

    def _may_change(self, status: str, fingerprint: Fingerprint) -> bool:
        """Return whether another attempt may give another answer: after errors other than of the sound itself, and after
        indeterminate answers of a service about a sound that is long enough."""
        info = self._identifier.info
        if status == "indeterminate":
            return not info.deterministic and fingerprint.seconds >= info.min_seconds
        return status == "error" and fingerprint.problem is None


def _finding(one: Identification) -> Finding:
    columns: dict[str, Any] = {
        "answer": one.status,
        "num_matches": len(one.matches),
        "matches": [_row(match) for match in one.matches],
        "raw_json": one.raw,
    }
    if one.status == "match":
        best = one.matches[0]
        columns |= {"best_ref": best.ref_id, "best_p": best.p_value}
        return Finding("ok", "flag", "content_match", _score(best), columns)
    if one.status == "no_match":
        return Finding("ok", "pass", columns=columns)
    return Finding(one.status, "quarantine", one.reason, columns=columns)


def _score(match: Match) -> float:
    """Return -log10 of the probability if there is one, else the backend's own score; more is surer."""
    if match.p_value is None:
        return match.score
    return -math.log10(max(match.p_value, _SMALLEST_P))


def _row(match: Match) -> dict[str, Any]:
    meta = {name: match.meta.get(name) for name in META}
    return meta | {
        "ref": match.ref_id,
        "query_start_s": match.query_start_s,
        "duration_s": match.duration_s,
        "ref_start_s": match.ref_start_s,
        "score": match.score,
        "p_value": match.p_value,
        "rule": match.rule,
    }
