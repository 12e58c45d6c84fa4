"""Estimates of when jobs are made, by the speed of the last ones. A cost is in steps times seconds of sound."""

from dataclasses import dataclass

from auralith.jobs.database import Database
from auralith.jobs.records import Job

MEASURED_JOBS = 20
UNKNOWN_SECONDS = 10
"""Answer to when to come again, before anything was measured."""
LONGEST_SECONDS = 3_600


@dataclass(frozen=True)
class Estimate:
    """Place of a job among those that are not made yet, 0 for the next one, and the seconds until it is made."""

    position: int
    seconds: float | None
    """None before anything was measured."""


def pace(db: Database) -> float | None:
    """Return the seconds that a unit of cost took lately; None where nothing was measured."""
    (row,) = db.rows(
        "SELECT sum(finished - started) AS seconds, sum(cost) AS cost FROM (SELECT started, finished, cost FROM jobs "
        "WHERE status = 'succeeded' ORDER BY finished DESC LIMIT ?)",
        (MEASURED_JOBS,),
    )
    return row["seconds"] / row["cost"] if row["cost"] else None


def estimate(db: Database, job: Job) -> Estimate:
    """Return the estimate of a job that waits or runs, as if one after another was made."""
    (row,) = db.rows(
        "SELECT count(*) AS number, sum(cost) AS cost FROM jobs "
        "WHERE (status = 'running' OR status = 'queued') AND number < ?",
        (job.number,),
    )
    speed = pace(db)
    cost = (row["cost"] or 0.0) + job.cost
    return Estimate(row["number"], None if speed is None else speed * cost)


def retry_after(db: Database) -> int:
    """Return in how many whole seconds the next waiting job may begin."""
    rows = db.rows("SELECT cost FROM jobs WHERE status = 'running' ORDER BY number LIMIT 1")
    speed = pace(db)
    if speed is None or not rows:
        return UNKNOWN_SECONDS
    return max(1, min(LONGEST_SECONDS, round(speed * rows[0]["cost"])))
