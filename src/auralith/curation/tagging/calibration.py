"""Calibrate the tagger: the largest threshold at which no known music is missed, and the bound that follows from it.

A track is found at τ if and only if τ ≤ q, the order statistic that tagging keeps (the 3,000th-largest frame for 30 s).
No track is missed if τ ≤ min q over the tracks; the threshold is the largest such τ of the grid. If all of n tracks are
found, the rate of misses is below 1 − 0.05^(1/n) with 95 % confidence (binomial, one-sided).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from auralith.curation.tagging.meter import THRESHOLDS
from auralith.errors import InvalidRequest

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("rec_id", "status", "q3000", "params_hash", "tagger", "weights_sha256", "class_set")
"""Columns of the tags' table that calibration reads."""
_SLACK = 1e-9
_MISSED_BY_CHANCE = 0.05


@dataclass(frozen=True)
class Calibration:
    """Result of a calibration with known music."""

    num_tracks: int
    num_short: int
    """Tracks that were left out because they are too short for the rule."""
    num_failed: int
    """Tracks that were left out because tagging failed (damaged, missing)."""
    lowest: float
    """Smallest q."""
    lowest_rec_id: str
    """Track with the smallest q."""
    threshold: float | None
    """Largest of 0.05 … 0.95 at which every track is found; None if there is none."""
    false_negative_bound: float
    """One-sided 95 % bound on the share of music that is missed at the threshold."""


def calibrate(tags: "pa.Table") -> Calibration:
    """Return the calibration from the tags of known music, a table of evidence with `COLUMNS`.

    Raises:
        InvalidRequest: no track is long enough, or the table mixes taggers, weights or class sets.
    """
    _check_alike(tags)
    rows = tags.select(["rec_id", "status", "q3000"]).to_pylist()
    tagged = [row for row in rows if row["status"] == "ok"]
    found = [(row["q3000"], row["rec_id"]) for row in tagged if row["q3000"] is not None]
    if not found:
        raise InvalidRequest(
            f"none of {len(rows)} recordings is long enough to calibrate with; tag whole tracks of"
            " known music first"
        )
    lowest, rec_id = min(found)
    return Calibration(
        len(found),
        len(tagged) - len(found),
        len(rows) - len(tagged),
        lowest,
        rec_id,
        grid_threshold(lowest),
        false_negative_bound(len(found)),
    )


def grid_threshold(lowest: float) -> float | None:
    """Return the largest of `THRESHOLDS` that is at most q, by comparison: in binary, 0.15 / 0.05 is below 3."""
    return max((tau for tau in THRESHOLDS if _reaches(lowest, tau)), default=None)


def false_negative_bound(num_tracks: int) -> float:
    """Return the one-sided 95 % bound on the rate of misses if none of n was missed; about 3/n."""
    return 1 - _MISSED_BY_CHANCE ** (1 / num_tracks)


def flagged_share(tags: "pa.Table", threshold: float) -> float:
    """Return the share of tagged recordings, including too short ones, that the cumulative rule flags at a threshold.

    Raises:
        InvalidRequest: no recording was tagged.
    """
    rows = tags.select(["status", "q3000"]).to_pylist()
    tagged = [row["q3000"] for row in rows if row["status"] == "ok"]
    if not tagged:
        raise InvalidRequest("no recording of the target set was tagged; tag it first")
    return sum(q is not None and _reaches(q, threshold) for q in tagged) / len(tagged)


def _reaches(q: float, threshold: float) -> bool:
    """Compare in float32 as the meter does, with slack for a q that was computed elsewhere."""
    return bool(np.float32(threshold) <= np.float32(q + _SLACK))


def _check_alike(tags: "pa.Table") -> None:
    for column in COLUMNS[3:]:
        values = sorted(value for value in tags[column].unique().to_pylist() if value is not None)
        if len(values) > 1:
            raise InvalidRequest(
                f"the recordings were tagged with different settings ({column}:"
                f" {', '.join(values)}); calibrate each by itself"
            )
