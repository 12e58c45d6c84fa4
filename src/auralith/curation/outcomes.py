"""Outcomes of recordings: a fold over the evidence and people's decisions, computed and never stored.

A recording is accepted if every step that it requires has an ok row under the current settings and none refused it, or
if people overturned what a reviewed step found; a missing row, an error or no answer is not a pass. The steps are folded
in their order, so each recording that isn't accepted is dropped at one step, for one reason, the first.

Everything is arrays over the recordings sorted by id: 486,492 of them take seconds.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

from auralith.curation.keys import evidence_of, evidence_under, last_evidence, newest_key
from auralith.curation.review import Case, cases, is_begun, withdrawals
from auralith.curation.settings import CurationSettings, StageName
from auralith.curation.stage import CurationStep
from auralith.curation.steps import step_of, steps
from auralith.curation.store import EvidenceKey, Store, compute

Outcome = Literal["accepted", "removed", "quarantined", "pending"]
OUTCOMES: tuple[Outcome, ...] = ("accepted", "removed", "quarantined", "pending")
SCHEMA = pa.schema(
    [
        ("rec_id", pa.string()),
        ("source", pa.string()),
        ("license_spdx", pa.string()),
        ("seconds", pa.float64()),  # as probed, else as the source states them, else 0
        ("outcome", pa.string()),
        ("stage", pa.string()),  # where it was dropped; null if accepted
        ("reason_code", pa.string()),  # why
    ]
)
INGEST, REVIEW = "ingest", "review"
NOT_RUN = "not_run"
"""Reason of a recording without evidence of a step."""
_CONFLICT = "conflicting_id"
WITHDRAWN = "withdrawn"
"""Reason of a recording that was withdrawn on request, whatever its evidence."""
_COLUMNS = ("rec_id", "status", "verdict", "reason_code")

Mask = Bool[np.ndarray, "recording"]
Codes = Int[np.ndarray, "recording"]


def outcomes(store: Store, settings: CurationSettings) -> pa.Table:
    """Return a row for each recording, sorted by rec_id, with the columns of `SCHEMA`."""
    fold = Fold(store, settings)
    for step in steps(settings):
        if step.after_review:
            fold.settle_reviews()
        fold.add(step)
    fold.settle_reviews()
    return fold.table()


class _Evidence(NamedTuple):
    """The last row that a step has for each recording."""

    exists: Mask
    ok: Mask
    verdict: "np.ndarray"
    """Verdicts as strings; empty without a row."""
    reason: Codes


class Fold:
    """State of all recordings after the steps that were added."""

    def __init__(self, store: Store, settings: CurationSettings) -> None:
        self._store, self._settings = store, settings
        self._recordings = store.recordings(["rec_id", "source", "duration_s"])
        self._ids, self._source = (_whole(self._recordings[n]) for n in ("rec_id", "source"))
        size = len(self._ids)
        self._outcome = np.zeros(size, np.int8)  # index of OUTCOMES
        self._stage, self._reason = np.full(size, -1), np.full(size, -1)
        self._suspect = np.full(size, -1)
        """Reason for a review by people, of each recording."""
        self._music = np.full(size, -1)
        """Reason for an identification, of each recording."""
        self._names: list[str] = []
        """Names of stages and reasons, by code."""
        self._cases = cases(store.folder) if is_begun(store.folder) else []
        self.reviewed = False
        gone = [one.rec_id for one in withdrawals(store.folder)]
        self._drop(
            self._among(pa.array(gone, pa.string())), "removed", REVIEW, self._code(WITHDRAWN)
        )
        self._quarantine_conflicts()

    @property
    def kept(self) -> Mask:
        """Return the recordings that no step has dropped."""
        return self._outcome == 0

    def required(self, step: CurationStep) -> Mask:
        """Return the recordings that a step is required for."""
        match step.required:
            case "unknown_music":
                return self.kept & ~self._is_of(self._settings.known_music)
            case "searched":
                return self.kept & self._is_of(self._settings.metadata.sources)
            case "music":
                return self.kept & (self._music >= 0)
            case "all":
                return self.kept

    def candidates(self, step: CurationStep) -> pa.Array:
        """Return the ids of the recordings that a step is required for."""
        return self._ids.filter(pa.array(self.required(step)))

    def add(self, step: CurationStep) -> None:
        """Take the evidence of a step into account."""
        key = newest_key(self._store, step)
        required, found = self.required(step), self._evidence(step, key)
        overturned = self._overturned(step, key) if step.reviewed else np.zeros_like(required)
        passed = overturned | (found.ok & (found.verdict == "pass"))
        flagged = found.verdict == "flag"
        refused = found.ok & (found.verdict == "refuse")
        self._drop(required & ~found.exists, "pending", step.name, self._code(NOT_RUN))
        self._drop(required & refused & ~overturned, "removed", step.name, found.reason)
        rest = required & found.exists & ~passed & ~flagged
        self._drop(rest, "quarantined", step.name, found.reason)
        if step.name == "identify":
            self._music[required & (passed | flagged)] = -1
        doubt = required & flagged & ~overturned & self.kept
        target = self._music if step.name == "tag" else self._suspect
        target[doubt] = found.reason[doubt]
        if self._settings.dedupe and step.name == self._last_for_duplicates():
            self._drop_duplicates(step.name)

    def settle_reviews(self) -> None:
        """Drop the recordings that people removed, and those that wait for people or for identification."""
        if self.reviewed:
            return
        self.reviewed = True
        self._drop_by_review([case for case in self._cases if case.state == "removed"])
        self._drop(self.kept & (self._suspect >= 0), "pending", REVIEW, self._suspect)
        self._drop(self.kept & (self._music >= 0), "pending", "identify", self._music)

    def table(self) -> pa.Table:
        """Return the outcomes, with the columns of `SCHEMA`."""
        names = pa.array([*self._names, None], pa.string())
        stage, reason = (names.take(pa.array(c % len(names))) for c in (self._stage, self._reason))
        outcome = pa.array(OUTCOMES).take(pa.array(self._outcome))
        of_each = [self._ids, self._source, self._license(), self._seconds()]
        return pa.Table.from_arrays([*of_each, outcome, stage, reason], schema=SCHEMA)

    def _drop(self, mask: Mask, outcome: Outcome, stage: str, reason: "Codes | int") -> None:
        """Drop recordings; the first drop reason of each stays."""
        mask = mask & self.kept
        self._outcome[mask] = OUTCOMES.index(outcome)
        self._stage[mask] = self._code(stage)
        self._reason[mask] = reason if isinstance(reason, int) else reason[mask]

    def _drop_by_review(self, removed: Sequence[Case]) -> None:
        """Drop the recordings that people removed, even if newer evidence is not reviewed yet."""
        rows = self._last_rows(pa.array([case.item.rec_id for case in removed], pa.string()))
        reasons = [case.settled.reason_code for case in removed if case.settled]
        codes = np.append(np.array([self._code(reason) for reason in reasons], np.int64), -1)
        self._drop(rows >= 0, "removed", REVIEW, codes[rows])

    def _last_for_duplicates(self) -> str:
        """Return the step after which duplicates are known."""
        return "fingerprint" if "fingerprint" in self._settings.stages else "probe"

    def _drop_duplicates(self, stage: str) -> None:
        from auralith.curation.duplicates import COLUMNS, find_duplicates, near_pairs

        probed = evidence_of(self._store, step_of(self._settings, "probe"), COLUMNS)
        positions = self._positions(probed["rec_id"])
        probed = probed.filter(pa.array((positions >= 0) & self.kept[positions]))
        pairs = near_pairs(self._store, step_of(self._settings, "fingerprint"))
        superfluous = pa.array(find_duplicates(probed, pairs).superfluous, pa.string())
        self._drop(self._among(superfluous), "removed", stage, self._code("duplicate"))

    def _quarantine_conflicts(self) -> None:
        """Quarantine ids whose rows disagree, since either row may be right."""
        rejected = self._store.read("rejected", ["rec_id", "reason_code"])
        ids = rejected.filter(compute.equal(rejected["reason_code"].cast(pa.string()), _CONFLICT))
        mask = self._among(ids["rec_id"].cast(pa.string()))
        self._drop(mask, "quarantined", INGEST, self._code(_CONFLICT))

    def _overturned(self, step: CurationStep, key: EvidenceKey | None) -> Mask:
        """Return the recordings that people kept, having seen the evidence of this step that counts."""
        seen = step.name, str(key), "kept"
        ids = [
            case.item.rec_id
            for case in self._cases
            if (case.item.stage, case.item.evidence_key, case.state) == seen
        ]
        return self._among(pa.array(ids, pa.string()))

    def _evidence(self, step: CurationStep, key: EvidenceKey | None) -> _Evidence:
        """Return the last row of each recording, since a retry adds another one."""
        table = evidence_under(self._store, step, key, _COLUMNS)
        rows = self._last_rows(table["rec_id"])
        exists = rows >= 0
        status, verdict = (np.append(table[n].to_numpy(), "")[rows] for n in ("status", "verdict"))
        reason = compute.coalesce(table["reason_code"].cast(pa.string()), table["status"])
        return _Evidence(exists, status == "ok", verdict, np.append(self._codes(reason), -1)[rows])

    def _last_rows(self, rec_ids: pa.Array | pa.ChunkedArray) -> Codes:
        """Return the last row with the id of each recording; -1 if none has it."""
        positions = self._positions(rec_ids)
        known = positions >= 0
        rows = np.full(len(self._ids), -1)
        rows[positions[known]] = np.flatnonzero(known)  # of several the last one stays
        return rows

    def _codes(self, texts: pa.ChunkedArray) -> Codes:
        """Return the code of each text."""
        encoded = texts.combine_chunks().dictionary_encode()
        codes = [self._code(text) for text in encoded.dictionary.to_pylist()]
        return np.array(codes, np.int64)[encoded.indices.to_numpy(zero_copy_only=False)]

    def _code(self, name: str) -> int:
        if name not in self._names:
            self._names.append(name)
        return self._names.index(name)

    def _positions(self, rec_ids: pa.Array | pa.ChunkedArray) -> Codes:
        """Return the positions of recordings with these ids; -1 for others."""
        found = compute.index_in(rec_ids.cast(pa.string()), value_set=self._ids)
        return compute.fill_null(found, -1).to_numpy().astype(np.int64)

    def _among(self, rec_ids: pa.Array | pa.ChunkedArray) -> Mask:
        found = compute.is_in(self._ids, value_set=_whole(rec_ids))
        return found.to_numpy(zero_copy_only=False)

    def _is_of(self, sources: Sequence[str]) -> Mask:
        found = compute.is_in(self._source, value_set=pa.array(sources, pa.string()))
        return found.to_numpy(zero_copy_only=False)

    def _column(self, name: StageName, column: str) -> pa.Array:
        """Return a column of the evidence of a step, a value for each recording; nulls if the step is left out."""
        step = step_of(self._settings, name)
        return _whole(last_evidence(self._store, step, [column], self._ids)[column])

    def _license(self) -> pa.Array:
        return self._column("license", "license_spdx").cast(pa.string())

    def _seconds(self) -> pa.Array:
        probed = self._column("probe", "duration_s").cast(pa.float64())
        return compute.fill_null(
            compute.coalesce(probed, _whole(self._recordings["duration_s"])), 0.0
        )


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
