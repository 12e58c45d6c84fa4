"""The removal funnel: how many recordings went into each step, how many came out, and why the others did not.

Everything is counted from `outcomes`, where each recording has exactly one end, so what goes into a step is what came
out of the one before. Quarantined and pending recordings are shown apart: neither removed nor accepted. Lengths are
summed in whole microseconds, so parts add up to the total exactly, in any order. Rows of metadata that never became a
recording (no id, not readable) are counted beside the funnel, at ingest.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from auralith.curation.outcomes import INGEST, OUTCOMES, REVIEW, outcomes
from auralith.curation.plan import plan
from auralith.curation.settings import CurationSettings
from auralith.curation.store import Store
from auralith.extras import require
from auralith.files import whole_file

if TYPE_CHECKING:
    import pyarrow as pa
else:
    pa = require("pyarrow", "curate")
compute = require("pyarrow.compute", "curate")

NAME, PICTURE = "funnel.json", "funnel.png"
NO_LICENSE = "unknown license"
"""Instead of an SPDX id, where there is none."""
Left = Literal["removed", "quarantined", "pending"]
WAYS_OUT: tuple[Left, ...] = get_args(Left)
_ORDER = (
    *(INGEST, "license", "preference", "probe", "fingerprint", "tag", "identify"),
    *("metadata", REVIEW, "guard"),
)
_US_PER_HOUR = 3_600_000_000


class InconsistentFunnel(ValueError):
    """Counts that don't add up: a recording was lost or counted twice, which is a defect of this package."""


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
    """What a step did to the recordings that reached it."""

    stage: str
    entered: Tally
    left: Mapping[Left, Mapping[str, Tally]]
    """By the way out, then by reason; the most frequent reason first."""
    passed: Tally

    def leaving(self, way: Left) -> Tally:
        """All who left one way."""
        return total(self.left[way].values())


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

    def leaving(self, way: Left) -> Tally:
        """All who left one way, at any step."""
        return total(stage.leaving(way) for stage in self.stages)


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
    """Count all recordings. `found` is what `outcomes` gives, where the caller has it.

    Raises:
        InconsistentFunnel: something does not add up.
    """
    ends = outcomes(store, settings) if found is None else found
    check_ends(ends)
    groups = _groups(ends)
    stages = _stages(settings, groups)
    counted = Funnels(
        _funnel(groups, stages),
        {name: _funnel(part, stages) for name, part in _split(groups, "source").items()},
        {name: _funnel(part, stages) for name, part in _split(groups, "license").items()},
        _accepted(groups),
        _rejected(store),
    )
    check(counted, ends.num_rows)
    return counted


def check_ends(found: "pa.Table") -> None:
    """Each recording has exactly one end, and a step and a reason exactly if it isn't accepted.

    Raises:
        InconsistentFunnel: it is not so.
    """
    if (distinct := compute.count_distinct(found["rec_id"]).as_py()) != found.num_rows:
        raise InconsistentFunnel(f"{found.num_rows} ends of {distinct} recordings")
    if unknown := set(found["outcome"].unique().to_pylist()) - set(OUTCOMES):
        raise InconsistentFunnel(f"unknown ends: {sorted(map(str, unknown))}")
    accepted = compute.equal(found["outcome"], "accepted")
    for column in ("stage", "reason_code"):
        wrong = compute.not_equal(accepted, compute.is_null(found[column]))
        if compute.any(wrong).as_py():
            raise InconsistentFunnel(f"an accepted recording has a {column}, or another has none")


def check(counted: Funnels, num_recordings: int) -> None:
    """Every recording is counted once in each funnel, and the parts are the whole.

    Raises:
        InconsistentFunnel: it is not so; the step or the part is named.
    """
    for funnel in (counted.all, *counted.by_source.values(), *counted.by_license.values()):
        check_chain(funnel)
    if counted.all.ingested.recordings != num_recordings:
        raise InconsistentFunnel(f"{counted.all.ingested.recordings} of {num_recordings} counted")
    check_parts(counted.all, counted.by_source.values(), "sources")
    check_parts(counted.all, counted.by_license.values(), "licenses")
    if total(counted.accepted.values()) != counted.all.accepted:
        raise InconsistentFunnel("accepted recordings by source and license aren't all of them")


def check_chain(funnel: Funnel) -> None:
    """What enters a step leaves it one way or passes, and what passes enters the next.

    Raises:
        InconsistentFunnel: a step where it is not so.
    """
    entering = funnel.ingested
    for stage in funnel.stages:
        if stage.entered != entering:
            raise InconsistentFunnel(f"{entering} reach {stage.stage}, {stage.entered} enter it")
        ends = total((stage.passed, *map(stage.leaving, WAYS_OUT)))
        if ends != stage.entered:
            raise InconsistentFunnel(f"{stage.entered} enter {stage.stage}, {ends} leave or pass")
        if min(*stage.passed, 0) < 0:
            raise InconsistentFunnel(f"{stage.stage} passes {stage.passed}, less than nothing")
        entering = stage.passed


def check_parts(whole: Funnel, parts: Iterable[Funnel], kind: str) -> None:
    """At each step, and for each reason, the parts are together the whole.

    Raises:
        InconsistentFunnel: a step where it is not so.
    """
    together = list(parts)
    for place, stage in enumerate(whole.stages):
        same = [part.stages[place] for part in together]
        if total(one.entered for one in same) != stage.entered:
            raise InconsistentFunnel(f"{kind} don't add up to what enters {stage.stage}")
        for way in WAYS_OUT:
            for reason, tally in stage.left[way].items():
                if total(one.left[way].get(reason, Tally()) for one in same) != tally:
                    raise InconsistentFunnel(f"{kind} don't add up at {stage.stage}: {reason}")


def write_funnel(
    store: Store, settings: CurationSettings, found: "pa.Table | None" = None
) -> Funnels:
    """Write `funnel.json` and `funnel.png` into the curation's folder; the funnels that they show.

    Raises:
        InconsistentFunnel: something does not add up; nothing is written.
        ResourceError: they can't be written.
    """
    from auralith.curation.funnel_picture import draw

    counted = funnels(store, settings, found)
    with whole_file(store.folder / NAME) as file:
        file.write(json.dumps(as_json(counted), indent=1, ensure_ascii=False).encode() + b"\n")
    with whole_file(store.folder / PICTURE) as file:
        draw(counted).savefig(file, format="png")
    return counted


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
                way: {reason: tally.recordings for reason, tally in stage.left[way].items()}
                for way in WAYS_OUT
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
    """Ingest, what is planned, review, and where else something left."""
    there = {INGEST, REVIEW, *(planned.name for planned in plan(settings))}
    if not any(planned.reviewed for planned in plan(settings)):
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
        left: dict[Left, dict[str, Tally]] = {way: _reasons(groups, stage, way) for way in WAYS_OUT}
        passed = entered
        for reasons in left.values():
            passed = passed.minus(total(reasons.values()))
        counts.append(StageCount(stage, entered, left, passed))
        entered = passed
    funnel = Funnel(tuple(counts))
    if funnel.accepted != total(group.tally for group in groups if group.outcome == "accepted"):
        raise InconsistentFunnel("what passes the last step isn't what is accepted")
    return funnel


def _reasons(groups: Sequence[_Group], stage: str, way: Left) -> dict[str, Tally]:
    sums: dict[str, Tally] = defaultdict(Tally)
    for group in groups:
        if (group.stage, group.outcome) == (stage, way):
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
