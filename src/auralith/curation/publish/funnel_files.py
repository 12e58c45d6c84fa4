"""Write the funnel as JSON and as a picture: a bar for each step with the reasons for dropping recordings, and the
accepted recordings by license."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from auralith.curation.licenses import family_of
from auralith.curation.publish.funnel import (
    DROPS,
    Drop,
    Funnels,
    StageCount,
    Tally,
    as_json,
    funnels,
)
from auralith.curation.settings import CurationSettings
from auralith.curation.store import Store
from auralith.extras import require
from auralith.files import whole_file

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME, PICTURE = "funnel.json", "funnel.png"
_PASSED, _INK, _FAINT = "#2a6f97", "#1d2730", "#6b7680"
_COLORS: dict[Drop, str] = {"removed": "#c8553d", "quarantined": "#e0a030", "pending": "#a9b4bd"}
_REASONS_SHOWN = 3
_INCHES_PER_STAGE, _INCHES_PER_SHARE = 0.62, 0.30
_SHARES_SHOWN = 12


def write_funnel(
    store: Store, settings: CurationSettings, found: "pa.Table | None" = None
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
    """Beside the bar, one line for each outcome, the most frequent reasons by name."""
    lines: list[tuple[Drop, str]] = [
        (drop, _reasons(stage, drop)) for drop in DROPS if stage.dropped[drop]
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


def _reasons(stage: StageCount, drop: Drop) -> str:
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
