"""The identification step: ask a backend about recordings; people judge its matches."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auralith.curation.identification.backends import (
    IdentifierFiles,
    IdentifySettings,
    make_identifier,
)
from auralith.curation.identification.interface import (
    META,
    AudioRef,
    ContentIdentifier,
    Fingerprint,
    Identification,
    Match,
)
from auralith.curation.probe import sound_path
from auralith.curation.stage import Finding, Row
from auralith.errors import AudioError
from auralith.extras import require

if TYPE_CHECKING:
    import pyarrow as pa

_SMALLEST_P = 1e-300


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
        """Raises `InvalidRequest` as `make_identifier` does."""
        self.settings = settings or IdentifySettings()
        self._identifier = identifier or make_identifier(
            self.settings, index, files or IdentifierFiles()
        )
        self._sleep = sleep
        info = self._identifier.info
        self.provider, self.provider_version = info.name, info.version

    @property
    def schema(self) -> "pa.Schema":
        pa = require("pyarrow", "curate")
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
                i
                for i, answer in enumerate(answers)
                if self._may_change(answer.status, fingerprints[i])
            ]
            if not again:
                break
            self._sleep(2.0**attempt)
            found = self._identifier.identify([fingerprints[i] for i in again])
            for i, answer in zip(again, found, strict=True):
                answers[i] = answer
        return answers

    def _may_change(self, status: str, fingerprint: Fingerprint) -> bool:
        """Return whether another attempt may give another answer: after errors other than of the sound itself, and after
        indeterminate answers of a service about a sound that is long enough."""
        info = self._identifier.info
        if status == "indeterminate":
            return not info.deterministic and fingerprint.seconds >= info.min_seconds
        return status == "error" and fingerprint.problem is None


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
