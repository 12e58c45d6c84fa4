"""The preference step: compare an uploader's preference about generative AI with the intended use of the model.

Freesound's `gen_ai_preference` has four values, each of which refuses some intended uses. Without the field a recording
is kept; an unknown value goes to quarantine. Refusals by preference have reason codes of their own, so that the funnel
counts them apart from licenses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from auralith.curation.stage import Finding, Row

IntendedUse = Literal["open", "open-noncommercial", "closed"]
NOT_STATED = "not-stated"
"""Value of `preference` for sources without the field."""
_REFUSED: dict[str, frozenset[str]] = {
    "no-additional-preferences": frozenset(),
    "open-source-models": frozenset({"closed"}),
    "noncommercial-open-source-models": frozenset({"open", "closed"}),
    "no-gen-ai": frozenset({"open", "open-noncommercial", "closed"}),
}
"""Intended uses that each preference refuses."""


@dataclass(frozen=True)
class PreferenceSettings:
    """Intended use of the model, and whether uploaders' preferences about it are honored."""

    intended_use: IntendedUse = "open"
    """Purpose of the model; open: released with its weights, commercial use allowed; closed: anything that isn't released."""
    honor: bool = True
    """Refuse recordings by preference. False keeps them, as the published data set did; unknown values stay quarantined."""


class PreferenceStage:
    """`gen_ai_preference` × intended use → keep or refuse."""

    name = "preference"
    provider = "auralith"
    provider_version = "1"
    inputs: tuple[str, ...] = ("gen_ai_preference",)

    def __init__(self, settings: PreferenceSettings | None = None) -> None:
        self.settings = settings or PreferenceSettings()
        self._findings: dict[str, Finding] = {}

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([("preference", pa.string())])

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        """Return a finding for each recording; never an error."""
        return [self._finding(row["gen_ai_preference"]) for row in rows]

    def _finding(self, written: str | None) -> Finding:
        value = (written or "").strip() or NOT_STATED
        if value not in _REFUSED and value != NOT_STATED:
            return Finding("ok", "quarantine", "preference_unknown", columns={"preference": value})
        if value not in self._findings:
            self._findings[value] = self._judge(value)
        return self._findings[value]

    def _judge(self, value: str) -> Finding:
        refused = self.settings.intended_use in _REFUSED.get(value, ())
        if not (self.settings.honor and refused):
            return Finding("ok", "pass", columns={"preference": value})
        reason = "preference_" + value.replace("-", "_")
        return Finding("ok", "refuse", reason, columns={"preference": value})
