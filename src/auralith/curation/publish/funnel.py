"""The removal funnel: how many recordings went into each step, how many came out, and why the others did not.

Everything is counted from `outcomes`, where each recording has exactly one end, so what goes into a step is what came
out of the one before. Quarantined and pending recordings are shown apart: neither removed nor accepted. Lengths are
summed in whole microseconds, so parts add up to the total exactly, in any order. Rows of metadata that never became a
recording (no id, not readable) are counted beside the funnel, at ingest.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from auralith.curation.outcomes import INGEST, REVIEW, outcomes
from auralith.curation.settings import CurationSettings
from auralith.curation.steps import steps
from auralith.curation.store import Store
from auralith.extras import require

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = require("pyarrow", "curate")

NO_LICENSE = "unknown license"
"""Instead of an SPDX id, where there is none."""
Drop = Literal["removed", "quarantined", "pending"]
DROPS: tuple[Drop, ...] = get_args(Drop)
"""Outcomes of recordings that aren't accepted."""
_ORDER = (
    *(INGEST, "license", "preference", "probe", "fingerprint", "tag", "identify"),
    *("metadata", REVIEW, "guard"),
)
_US_PER_HOUR = 3_600_000_000


class Tally(NamedTuple):
    """A number of recordings, and how long they are together."""

    recordings: int = 0
    microseconds: int = 0
    unknown_lengths: int = 0
    """Recordings whose length neither a probe nor the source says; they count as 0 h."""

    @property
    def hours(self) -> float:
        return self.microseconds / _US_PER_HOUR

    def plus(self, other: "Tally") -> "Tally":
        return Tally(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: "Tally") -> "Tally":
        return Tally(*(a - b for a, b in zip(self, other, strict=True)))


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of tallies."""
    sums = Tally()
    for tally in tallies:
        sums = sums.plus(tally)
    return sums


@dataclass(frozen=True)
class StageCount:
    """Counts of what a step did to the recordings that reached it."""

    stage: str
    entered: Tally
    dropped: Mapping[Drop, Mapping[str, Tally]]
    """By outcome, then by reason; the most frequent reason first."""
    passed: Tally

    def dropped_as(self, drop: Drop) -> Tally:
        """Return the sum over the reasons."""
        return total(self.dropped[drop].values())


@dataclass(frozen=True)
class Funnel:
    """The steps in their order, for all recordings or for some."""

    stages: tuple[StageCount, ...]

    @property
    def ingested(self) -> Tally:
        return self.stages[0].entered

    @property
    def accepted(self) -> Tally:
        return self.stages[-1].passed

    def dropped_as(self, drop: Drop) -> Tally:
        """Return the sum over all steps."""
        return total(stage.dropped_as(drop) for stage in self.stages)


@dataclass(frozen=True)
class Funnels:
    """The funnel of everything, of each source and of each license, and what was accepted of both together."""

    all: Funnel
    by_source: Mapping[str, Funnel]
    by_license: Mapping[str, Funnel]
    """By SPDX id; `NO_LICENSE` for recordings without one."""
    accepted: Mapping[tuple[str, str], Tally]
    """By source and license."""
    rejected: Mapping[str, Mapping[str, int]]
    """Metadata rows that became no recording, by source and reason."""


class _Group(NamedTuple):
    """Recordings of the same source and license with the same end."""

    source: str
    license: str
    outcome: str
    stage: str | None
    reason: str | None
    tally: Tally


def funnels(store: Store, settings: CurationSettings, found: "pa.Table | None" = None) -> Funnels:
    """Count all recordings. `found` is the result of `outcomes`, if the caller has it."""
    ends = outcomes(store, settings) if found is None else found
    groups = _groups(ends)
    stages = _stages(settings, groups)
    return Funnels(
        _funnel(groups, stages),
        {name: _funnel(part, stages) for name, part in _split(groups, "source").items()},
        {name: _funnel(part, stages) for name, part in _split(groups, "license").items()},
        _accepted(groups),
        _rejected(store),
    )


def as_json(counted: Funnels) -> dict[str, Any]:
    """Plain values, in the same order in every run."""
    return {
        "all": _funnel_json(counted.all),
        "by_source": {name: _funnel_json(one) for name, one in counted.by_source.items()},
        "by_license": {name: _funnel_json(one) for name, one in counted.by_license.items()},
        "accepted": [
            {"source": source, "license_spdx": license, **_tally_json(tally)}
            for (source, license), tally in counted.accepted.items()
        ],
        "rejected_rows": counted.rejected,
    }


def _funnel_json(funnel: Funnel) -> list[dict[str, Any]]:
    return [
        {
            "stage": stage.stage,
            "in": stage.entered.recordings,
            "out": stage.passed.recordings,
            **{
                drop: {reason: tally.recordings for reason, tally in stage.dropped[drop].items()}
                for drop in DROPS
            },
            "hours_in": _rounded(stage.entered),
            "hours_out": _rounded(stage.passed),
            "unknown_lengths_out": stage.passed.unknown_lengths,
        }
        for stage in funnel.stages
    ]


def _tally_json(tally: Tally) -> dict[str, Any]:
    return {
        "recordings": tally.recordings,
        "hours": _rounded(tally),
        "unknown_lengths": tally.unknown_lengths,
    }


def _rounded(tally: Tally) -> float:
    return round(tally.hours, 6)


def _groups(found: "pa.Table") -> list[_Group]:
    keys = ["source", "license_spdx", "outcome", "stage", "reason_code"]
    seconds = found["seconds"].to_numpy()
    known = np.isfinite(seconds) & (seconds > 0)
    microseconds = np.rint(np.where(known, seconds, 0) * 1e6).astype(np.int64)
    table = found.select(keys).append_column("us", pa.array(microseconds))
    table = table.append_column("unknown", pa.array((~known).astype(np.int64)))
    counts = table.group_by(keys).aggregate([("us", "count"), ("us", "sum"), ("unknown", "sum")])
    return [
        _Group(
            row["source"],
            row["license_spdx"] or NO_LICENSE,
            row["outcome"],
            row["stage"],
            row["reason_code"],
            Tally(row["us_count"], row["us_sum"], row["unknown_sum"]),
        )
        for row in counts.to_pylist()
    ]


def _stages(settings: CurationSettings, groups: Sequence[_Group]) -> list[str]:
    """Ingest, what is planned, review, and where else something was dropped."""
    planned = steps(settings)
    there = {INGEST, REVIEW, *(step.name for step in planned)}
    if not any(step.reviewed for step in planned):
        there.remove(REVIEW)
    there |= {group.stage for group in groups if group.stage}
    return sorted(there, key=_ORDER.index)


def _split(groups: Sequence[_Group], field: str) -> dict[str, list[_Group]]:
    """The groups by a field; those with most recordings first."""
    parts: dict[str, list[_Group]] = defaultdict(list)
    for group in groups:
        parts[getattr(group, field)].append(group)

    def rank(name: str) -> tuple[int, str]:
        return -sum(group.tally.recordings for group in parts[name]), name

    return {name: parts[name] for name in sorted(parts, key=rank)}


def _funnel(groups: Sequence[_Group], stages: Sequence[str]) -> Funnel:
    entered = total(group.tally for group in groups)
    counts = []
    for stage in stages:
        dropped: dict[Drop, dict[str, Tally]] = {
            drop: _reasons(groups, stage, drop) for drop in DROPS
        }
        passed = entered
        for reasons in dropped.values():
            passed = passed.minus(total(reasons.values()))
        counts.append(StageCount(stage, entered, dropped, passed))
        entered = passed
    return Funnel(tuple(counts))


def _reasons(groups: Sequence[_Group], stage: str, drop: Drop) -> dict[str, Tally]:
    sums: dict[str, Tally] = defaultdict(Tally)
    for group in groups:
        if (group.stage, group.outcome) == (stage, drop):
            reason = group.reason or ""
            sums[reason] = sums[reason].plus(group.tally)
    return dict(sorted(sums.items(), key=lambda item: (-item[1].recordings, item[0])))


def _accepted(groups: Sequence[_Group]) -> dict[tuple[str, str], Tally]:
    sums: dict[tuple[str, str], Tally] = defaultdict(Tally)
    for group in groups:
        if group.outcome == "accepted":
            key = group.source, group.license
            sums[key] = sums[key].plus(group.tally)
    return dict(sorted(sums.items(), key=lambda item: (-item[1].recordings, item[0])))


def _rejected(store: Store) -> dict[str, dict[str, int]]:
    table = store.read("rejected", ["source", "reason_code", "rec_id"])
    counts = table.group_by(["source", "reason_code"]).aggregate([([], "count_all")])
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for row in sorted(counts.to_pylist(), key=str):
        found[str(row["source"])][str(row["reason_code"])] = row["count_all"]
    return dict(found)
