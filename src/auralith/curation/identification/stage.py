"""The identification step: every recording that needs it, before a backend; a match is for people to judge."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auralith.curation.identification.interface import (
    AudioRef,
    ContentIdentifier,
    Fingerprint,
    Identification,
    Match,
)
from auralith.curation.identification.matcher import LandmarkIdentifier, MatchOptions
from auralith.curation.probe import sound_path
from auralith.curation.sound import UnusableSound
from auralith.curation.stage import Finding, Row
from auralith.errors import InvalidRequest
from auralith.extras import require

if TYPE_CHECKING:
    import pyarrow as pa

_SMALLEST_P = 1e-300


@dataclass(frozen=True)
class IdentifySettings:
    """When two sounds are the same, and how long to ask."""

    alpha: float = 1e-9
    """Largest probability, corrected for the size of the index, that chance alone aligns as much."""
    min_seconds: float = 3.0
    """Shortest stretch that counts."""
    retries: int = 3
    """How often an error is asked about again, after 1, 2, 4 … seconds."""

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1 or not self.min_seconds > 0 or self.retries < 0:
            raise InvalidRequest(
                "alpha must lie between 0 and 1, min_seconds above 0, retries at 0 or more, not"
                f" {self.alpha:g}, {self.min_seconds:g} and {self.retries}"
            )


class Identify:
    """The stage. `index` is the landmark index's folder; `identifier` another backend in its place."""

    name = "identify"
    inputs: tuple[str, ...] = ("path",)

    def __init__(
        self,
        settings: IdentifySettings | None = None,
        index: Path | None = None,
        identifier: ContentIdentifier | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings or IdentifySettings()
        if identifier is None:
            if index is None:
                raise InvalidRequest(
                    "identification needs an index of known recordings; make one with auralith curate index"
                )
            options = MatchOptions(self.settings.alpha, self.settings.min_seconds)
            identifier = LandmarkIdentifier(index, options)
        self._identifier, self._sleep = identifier, sleep
        self.provider, self.provider_version = identifier.info.name, identifier.info.version

    @property
    def schema(self) -> "pa.Schema":
        pa = require("pyarrow", "curate")
        number, text = pa.float64(), pa.string()
        stretch = [("query_start_s", number), ("duration_s", number), ("ref_start_s", number)]
        told = [("title", text), ("artist", text), ("album", text), ("rule", text)]
        match = pa.struct([("ref", text), *stretch, ("score", number), ("p_value", number), *told])
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
        """A finding for each recording. What a sound can't be told by goes into quarantine."""
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
        except UnusableSound as error:
            return Fingerprint(row["rec_id"], 0.0, problem=error.reason_code)
        return self._identifier.analyze(AudioRef(row["rec_id"], path))

    def _answers(self, fingerprints: list[Fingerprint]) -> list[Identification]:
        """Errors are asked about again, but for those of the sound itself."""
        answers = self._identifier.identify(fingerprints)
        for attempt in range(self.settings.retries):
            again = [
                i
                for i, answer in enumerate(answers)
                if answer.status == "error" and fingerprints[i].problem is None
            ]
            if not again:
                break
            self._sleep(2.0**attempt)
            found = self._identifier.identify([fingerprints[i] for i in again])
            for i, answer in zip(again, found, strict=True):
                answers[i] = answer
        return answers


def _finding(answer: Identification) -> Finding:
    columns: dict[str, Any] = {
        "answer": answer.status,
        "num_matches": len(answer.matches),
        "matches": [_row(match) for match in answer.matches],
        "raw_json": answer.raw,
    }
    if answer.status == "match":
        best = answer.matches[0]
        columns |= {"best_ref": best.ref_id, "best_p": best.p_value}
        return Finding("ok", "flag", "content_match", _score(best), columns)
    if answer.status == "no_match":
        return Finding("ok", "pass", columns=columns)
    return Finding(answer.status, "quarantine", answer.reason, columns=columns)


def _score(match: Match) -> float:
    """More is surer: -log10 of the probability where there is one."""
    if match.p_value is None:
        return match.score
    return -math.log10(max(match.p_value, _SMALLEST_P))


def _row(match: Match) -> dict[str, Any]:
    told = {name: match.meta.get(name) for name in ("title", "artist", "album")}
    return told | {
        "ref": match.ref_id,
        "query_start_s": match.query_start_s,
        "duration_s": match.duration_s,
        "ref_start_s": match.ref_start_s,
        "score": match.score,
        "p_value": match.p_value,
        "rule": match.rule,
    }
