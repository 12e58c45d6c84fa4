"""Estimates of when jobs are made, by how long the last ones of the same model took once it was loaded.

A cost is in steps times seconds of sound. A job takes a time that is its own, however small it is, and one for each unit
of its cost; the two are fitted so that a few odd jobs make no difference (Theil 1950, Sen 1968; slopes of far costs count
more).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median

from auralith.jobs.database import Database, Row
from auralith.jobs.records import Job

MEASURED_JOBS = 20
LEAST_RATIO = 1.5
"""Costs that differ by less say nothing about what a unit takes."""
UNKNOWN_SECONDS = 10
"""Answer to when to come again, before anything was measured."""
LONGEST_SECONDS = 3_600
LAST = 2**62
"""Above every number of a job."""


@dataclass(frozen=True)
class Estimate:
    """Place of a job among those that are not made yet, 0 for the next one, and the seconds until it is made."""

    position: int
    seconds: float | None
    """None before anything was measured."""


@dataclass(frozen=True)
class Forecast:
    """Time and memory that a job would take; None where nothing was measured yet."""

    seconds: float | None
    """Seconds to make it, once it is its turn."""
    position: int
    """Number of jobs before it."""
    wait_seconds: float | None
    """Seconds until it is its turn."""
    peak_memory_bytes: int | None
    """Most memory that a sound of the model took lately."""


@dataclass(frozen=True)
class Pace:
    """Seconds that a model takes."""

    each: float
    """For a job, however small."""
    unit: float
    """For a unit of cost."""

    def seconds(self, cost: float, number: int = 1) -> float:
        """Return the seconds for so many jobs whose costs add up to `cost`."""
        return self.each * number + self.unit * cost


def fit(measured: Sequence[tuple[float, float]]) -> Pace | None:
    """Return the pace of costs and the seconds they took; None without any. Neither part of it is negative.

    Where costs are too much alike to tell, or longer jobs took more than in proportion, it is in proportion to the cost.
    """
    measured = sorted(one for one in measured if one[0] > 0)
    if not measured:
        return None
    slopes = [
        ((later[1] - earlier[1]) / (later[0] - earlier[0]), later[0] - earlier[0])
        for earlier, later in combinations(measured, 2)
        if later[0] >= LEAST_RATIO * earlier[0]
    ]
    if slopes:
        unit = max(0.0, _weighted_median(slopes))
        each = median(seconds - unit * cost for cost, seconds in measured)
        if each >= 0:
            return Pace(each, unit)
    return Pace(0.0, median(seconds / cost for cost, seconds in measured))


def pace(db: Database, model: str) -> Pace | None:
    """Return the pace of a model lately; None where nothing was measured."""
    rows = db.execute(
        "SELECT cost, finished - coalesce(ready, started) AS seconds FROM jobs "
        "WHERE status = 'succeeded' AND model = ? ORDER BY finished DESC LIMIT ?",
        (model, MEASURED_JOBS),
    )
    return fit([(row["cost"], max(0.0, row["seconds"])) for row in rows])


def estimate(db: Database, job: Job, now: float) -> Estimate:
    """Return the estimate of a job that waits or runs, as if those that run now went on side by side with the rest."""
    running = _running(db)
    if job.status == "running":
        position = sum(1 for row in running if row["place"] < job.number)
        own = [row for row in running if row["id"] == job.id]
        return Estimate(position, _left(own[0], pace(db, job.model), now) if own else 0.0)
    position, ahead = _ahead(db, job.number, running, now)
    own_pace = pace(db, job.model)
    if own_pace is None or ahead is None:
        return Estimate(position, None)
    return Estimate(position, ahead + own_pace.seconds(job.cost))


def forecast(db: Database, model: str, cost: float, now: float) -> Forecast:
    """Return what a job of a model and a cost would take if it came now."""
    position, wait = _ahead(db, None, _running(db), now)
    speed = pace(db, model)
    peaks = db.execute(
        "SELECT facts FROM outputs WHERE job IN "
        "(SELECT id FROM jobs WHERE status = 'succeeded' AND model = ? ORDER BY finished DESC LIMIT ?)",
        (model, MEASURED_JOBS),
    )
    work = [json.loads(row["facts"]).get("work") or {} for row in peaks]
    known = [one["peak_memory_bytes"] for one in work if one.get("peak_memory_bytes")]
    seconds = None if speed is None else speed.seconds(cost)
    return Forecast(seconds, position, wait, max(known, default=None))


def _ahead(
    db: Database, number: int | None, running: Sequence[Row], now: float
) -> tuple[int, float | None]:
    """Return how many jobs are before a number (of all without one), and the seconds until they are made, if known."""
    waiting = db.execute(
        "SELECT model, count(*) AS number, sum(cost) AS cost FROM jobs WHERE status = 'queued' AND number < ? GROUP BY model",
        (LAST if number is None else number,),
    )
    paces = {row["model"]: pace(db, row["model"]) for row in (*waiting, *running)}
    parts = [_left(row, paces[row["model"]], now) for row in running]
    for row in waiting:
        speed = paces[row["model"]]
        parts.append(None if speed is None else speed.seconds(row["cost"], row["number"]))
    before = [row for row in running if number is None or row["place"] < number]
    position = len(before) + sum(row["number"] for row in waiting)
    known = [part for part in parts if part is not None]
    return position, sum(known) / max(1, len(running)) if len(known) == len(parts) else None


def retry_after(db: Database, now: float) -> int:
    """Return in how many whole seconds the next waiting job may begin."""
    left = [_left(row, pace(db, row["model"]), now) for row in _running(db)]
    known = [seconds for seconds in left if seconds is not None]
    return max(1, min(LONGEST_SECONDS, round(min(known)))) if known else UNKNOWN_SECONDS


def _running(db: Database) -> list[Row]:
    return db.execute(
        "SELECT id, number AS place, 1 AS number, model, cost, coalesce(ready, started) AS since FROM jobs "
        "WHERE status = 'running' ORDER BY number"
    )


def _left(row: Row, speed: Pace | None, now: float) -> float | None:
    """Return the seconds that a running job needs, if that is known."""
    return None if speed is None else max(0.0, speed.seconds(row["cost"]) - (now - row["since"]))


def _weighted_median(values: Sequence[tuple[float, float]]) -> float:
    """Return the value below which half of the weights lie."""
    half = sum(weight for _, weight in values) / 2
    reached = 0.0
    for value, weight in sorted(values):
        reached += weight
        if reached >= half:
            return value
    raise AssertionError("weights are positive")
