"""The removal funnel: recordings in and out of each step, and the reasons for dropping the others, as JSON and as a picture.

Everything is counted from `outcomes`, where each recording has exactly one end, so the recordings that enter a step are
those that passed the one before. Quarantined and pending recordings are counted apart: neither removed nor accepted.
Durations are summed in whole microseconds, so parts add up to the total exactly, in any order. Rows of metadata that
never became a recording (without an id, unreadable) are counted beside the funnel, at ingest.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np
import pyarrow as pa

from auralith.curation.licenses import family_of
from auralith.curation.outcomes import INGEST, REVIEW, outcomes
from auralith.curation.settings import CurationSettings
from auralith.curation.steps import steps
from auralith.curation.store import Store
from auralith.extras import require
from auralith.files import whole_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NO_LICENSE = "unknown license"
"""Stands for the SPDX id of recordings without one."""
Drop = Literal["removed", "quarantined", "pending"]
DROPS: tuple[Drop, ...] = get_args(Drop)
"""Outcomes of recordings that aren't accepted."""
_ORDER = (
    *(INGEST, "license", "preference", "probe", "fingerprint", "tag", "identify"),
    *("metadata", REVIEW, "guard"),
)
_US_PER_HOUR = 3_600_000_000
NAME, PICTURE = "funnel.json", "funnel.png"
_PASSED, _INK, _FAINT = "#2a6f97", "#1d2730", "#6b7680"
_COLORS: dict[Drop, str] = {"removed": "#c8553d", "quarantined": "#e0a030", "pending": "#a9b4bd"}
_REASONS_SHOWN = 3
_INCHES_PER_STAGE, _INCHES_PER_SHARE = 0.62, 0.30
_SHARES_SHOWN = 12


class Tally(NamedTuple):
    """A number of recordings, and the sum of their lengths."""

    recordings: int = 0
    microseconds: int = 0
    unknown_lengths: int = 0
    """Recordings whose length neither a probe nor the source gives; they count as 0 h."""

    @property
    def hours(self) -> float:
        return self.microseconds / _US_PER_HOUR

    def plus(self, other: "Tally") -> "Tally":
        return Tally(*(a + b for a, b in zip(self, other, strict=True)))

    def minus(self, other: "Tally") -> "Tally":
        return Tally(*(a - b for a, b in zip(self, other, strict=True)))


def total(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of tallies."""
    sums = Tally()
    for tally in tallies:
        sums = sums.plus(tally)
    return sums


@dataclass(frozen=True)
class StageCount:
    """Counts of the recordings that reached a step, by outcome."""

    stage: str
    entered: Tally
    dropped: Mapping[Drop, Mapping[str, Tally]]
    """Dropped recordings by outcome, then by reason; the most frequent reason first."""
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
    """Funnels of all recordings, of each source and of each license, and the accepted recordings of both together."""

    all: Funnel
    by_source: Mapping[str, Funnel]
    by_license: Mapping[str, Funnel]
    """Funnels by SPDX id; `NO_LICENSE` for recordings without one."""
    accepted: Mapping[tuple[str, str], Tally]
    """Accepted recordings by source and license."""
    rejected: Mapping[str, Mapping[str, int]]
    """Metadata rows that became no recording, by source and reason."""


class _Group(NamedTuple):
    """Recordings of the same source and license with the same outcome, for the same reason."""

    source: str
    license: str
    outcome: str
    stage: str | None
    reason: str | None
    tally: Tally


def funnels(store: Store, settings: CurationSettings, found: pa.Table | None = None) -> Funnels:
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
    """Return the funnels as plain values, in the same order in every run."""
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


def _groups(found: pa.Table) -> list[_Group]:
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
    """Return the names of ingest, planned steps, review, and any other step that dropped a recording, in order."""
    planned = steps(settings)
    there = {INGEST, REVIEW, *(step.name for step in planned)}
    if not any(step.reviewed for step in planned):
        there.remove(REVIEW)
    there |= {group.stage for group in groups if group.stage}
    return sorted(there, key=_ORDER.index)


def _split(groups: Sequence[_Group], field: str) -> dict[str, list[_Group]]:
    """Return the groups by a field; the value with most recordings first."""
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


def write_funnel(
    store: Store, settings: CurationSettings, found: pa.Table | None = None
) -> Funnels:
    """Write `funnel.json` and its picture `funnel.png` into the curation's folder, and return the funnels in them.

    Raises:
        ResourceError: a file can't be written.
    """
    counted = funnels(store, settings, found)
    with whole_file(store.folder / NAME) as file:
        file.write(json.dumps(as_json(counted), indent=1, ensure_ascii=False).encode() + b"\n")
    with whole_file(store.folder / PICTURE) as file:
        draw(counted).savefig(file, format="png")
    return counted


def draw(counted: Funnels) -> "Figure":
    """Return the picture; its height follows the number of steps."""
    figures = require("matplotlib.figure", "curate")
    stages, shares = counted.all.stages, list(counted.accepted.items())
    rows = (
        max(_INCHES_PER_STAGE * len(stages), 1.2),
        max(_INCHES_PER_SHARE * min(len(shares), _SHARES_SHOWN), 0.4),
    )
    figure = figures.Figure(figsize=(11, sum(rows) + 1.9), dpi=130, layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=rows)
    figure.suptitle(_title(counted), x=0.01, ha="left", fontsize=13, color=_INK, weight="bold")
    _draw_stages(upper, stages)
    _draw_shares(lower, shares)
    return figure


def _title(counted: Funnels) -> str:
    first, last = counted.all.ingested, counted.all.accepted
    share = f" ({last.recordings / first.recordings:.1%})" if first.recordings else ""
    return f"{last.recordings:,} of {first.recordings:,} recordings accepted{share}, {last.hours:,.1f} h"


def _draw_stages(axes: "Axes", stages: Sequence[StageCount]) -> None:
    widest = max(stages[0].entered.recordings, 1)
    for place, stage in enumerate(stages):
        start = stage.passed.recordings
        axes.barh(place, start, color=_PASSED, height=0.62)
        for drop in DROPS:
            width = stage.dropped_as(drop).recordings
            axes.barh(place, width, left=start, color=_COLORS[drop], height=0.62)
            start += width
        _write_passed(axes, place, stage.passed, widest)
        _write_reasons(axes, place, stage, widest)
    axes.set_yticks(range(len(stages)), [stage.stage for stage in stages], fontsize=10)
    axes.set_ylim(len(stages) - 0.4, -0.6)
    axes.set_xlim(0, widest * 1.62)
    axes.set_xticks([])
    _legend(axes)
    _bare(axes)


def _write_passed(axes: "Axes", place: int, passed: Tally, widest: int) -> None:
    text = f"{passed.recordings:,}  ·  {passed.hours:,.1f} h"
    is_inside = passed.recordings > 0.3 * widest
    axes.annotate(
        text,
        (0, place),
        xytext=(6, 0),
        textcoords="offset points",
        va="center",
        fontsize=9,
        color="white" if is_inside else _INK,
        bbox=None if is_inside else {"facecolor": "white", "edgecolor": "none", "pad": 1.0},
    )


def _write_reasons(axes: "Axes", place: int, stage: StageCount, widest: int) -> None:
    """Write a line for each outcome beside the bar, with the most frequent reasons by name."""
    lines: list[tuple[Drop, str]] = [
        (drop, _reason_text(stage, drop)) for drop in DROPS if stage.dropped[drop]
    ]
    for number, (drop, text) in enumerate(lines):
        offset = 0.24 * (number - (len(lines) - 1) / 2)
        axes.text(
            widest * 1.02,
            place + offset,
            text,
            va="center",
            fontsize=7.5,
            color=_FAINT if drop == "pending" else _COLORS[drop],
            parse_math=False,
        )


def _reason_text(stage: StageCount, drop: Drop) -> str:
    reasons = list(stage.dropped[drop].items())
    if len(reasons) == 1:
        return f"−{stage.dropped_as(drop).recordings:,} {drop}: {reasons[0][0]}"
    shown = [f"{reason} {tally.recordings:,}" for reason, tally in reasons[:_REASONS_SHOWN]]
    if rest := reasons[_REASONS_SHOWN:]:
        shown.append(f"{len(rest)} more {sum(tally.recordings for _, tally in rest):,}")
    return f"−{stage.dropped_as(drop).recordings:,} {drop}: {', '.join(shown)}"


def _draw_shares(axes: "Axes", shares: Sequence[tuple[tuple[str, str], Tally]]) -> None:
    """Draw the accepted recordings by source and license."""
    shown = shares[:_SHARES_SHOWN]
    widest = max((tally.recordings for _, tally in shown), default=1)
    colors = {"cc0": "#468faf", "cc-by": "#2a6f97", "sampling+": "#8e6c8a"}
    for place, ((_, license), tally) in enumerate(shown):
        color = colors.get(family_of(license) or "", _FAINT)
        axes.barh(place, tally.recordings, color=color, height=0.66)
        text = f" {tally.recordings:,}  ·  {tally.hours:,.1f} h"
        axes.text(tally.recordings, place, text, va="center", fontsize=8, color=_INK)
    names = [f"{source}  {_short(license)}" for (source, license), _ in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=8, parse_math=False)
    axes.set_ylim(max(len(shown), 1) - 0.4, -0.6)
    axes.set_xlim(0, widest * 1.62)
    axes.set_xticks([])
    hidden = len(shares) - len(shown)
    title = "Accepted, by source and license" + (f" ({hidden} more not shown)" if hidden else "")
    axes.set_title(title if shown else "Nothing is accepted", loc="left", fontsize=10, color=_INK)
    _bare(axes)


def _short(license: str) -> str:
    return license.removeprefix("LicenseRef-").removeprefix("scancode-")


def _legend(axes: "Axes") -> None:
    patches = require("matplotlib.patches", "curate")
    colors = {"passed": _PASSED, **_COLORS}
    handles = [patches.Patch(color=color, label=name) for name, color in colors.items()]
    axes.legend(
        handles=handles, ncols=4, loc="lower left", bbox_to_anchor=(0, 1), frameon=False, fontsize=9
    )


def _bare(axes: "Axes") -> None:
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(_FAINT)
    axes.tick_params(axis="y", length=0, colors=_INK)
