"""Base of the store's parts: the database, the folder, and looking at what is there."""

import json
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from auralith.files import size_text
from auralith.jobs.database import Database, Row, StorageFull
from auralith.jobs.estimates import Estimate, Forecast, estimate, forecast
from auralith.jobs.records import Event, Job, Limits, Stored, Unknown, job_of
from auralith.jobs.refusals import Refusals
from auralith.jobs.search import search_patterns

OnChange = Callable[[str, Job], None]
"""Gets the kind of each event and the job after it, in the thread that changed it."""


class Books:
    """Jobs, sounds and uploads as they are."""

    _db: Database

    def __init__(
        self,
        folder: str | Path,
        limits: Limits | None = None,
        *,
        clock: Callable[[], float] | None = None,
        free_bytes: Callable[[Path], int] | None = None,
    ) -> None:
        self.folder, self.limits = Path(folder), limits or Limits()
        self.listeners: list[OnChange] = []
        """Called for every change that this process makes."""
        self.refusals = Refusals()
        self.watchers: list[Callable[[], None]] = [self.refusals.forget]
        """Called soon after other processes changed something."""
        self.sounds, self.uploads = self.folder / "audio", self.folder / "assets"
        self._clock = clock
        self._free = free_bytes or (lambda path: shutil.disk_usage(path).free)

    def has_room(self) -> bool:
        """Return whether the disk has more than the reserve."""
        return self._free(self.folder) > self.limits.reserve_bytes

    def require_room(self) -> None:
        """Raise `StorageFull` unless the disk has more than the reserve."""
        if not self.has_room():
            raise StorageFull(
                f"less than {size_text(self.limits.reserve_bytes)} of disk space are left; free some, or ask again later"
            )

    def job(self, job_id: str, owner: str | None = None) -> Job:
        """Return a job. Raise `Unknown`, for one of another owner too."""
        job = self._job(job_id)
        if owner not in (None, job.owner):
            raise _no_job()
        return job

    def jobs(
        self,
        status: str | None = None,
        limit: int = 50,
        before: int | None = None,
        *,
        owner: str | None = None,
        source: str | None = None,
        search: str = "",
        starred: bool = False,
    ) -> list[Job]:
        """Return jobs, the newest first.

        Those of a status, those with a lower number than `before`, those of an owner, those that start from the sound
        `source`, those whose prompt or label has every word of `search`, those of which a sound is starred.
        """
        terms: list[tuple[str, Any]] = [
            *([] if status is None else [("status = ?", status)]),
            *([] if before is None else [("number < ?", before)]),
            *([] if owner is None else [("owner = ?", owner)]),
            *([] if source is None else [("source = ?", source)]),
            *(("search LIKE ? ESCAPE '!'", pattern) for pattern in search_patterns(search)),
        ]
        tests = [test for test, _ in terms]
        if starred:
            tests.append("id IN (SELECT job FROM outputs WHERE is_starred = 1)")
        where = f"WHERE {' AND '.join(tests)} " if tests else ""
        rows = self._db.execute(
            f"SELECT * FROM jobs {where}ORDER BY number DESC LIMIT ?",
            (*(value for _, value in terms), limit),
        )
        return [job_of(row) for row in rows]

    def count(self, status: str, owner: str | None = None) -> int:
        """Return how many jobs have a status, of all or of one owner."""
        more, values = ("", ()) if owner is None else (" AND owner = ?", (owner,))
        return self._db.execute(
            f"SELECT count(*) AS number FROM jobs WHERE status = ?{more}", (status, *values)
        )[0]["number"]

    def estimate(self, job: Job) -> Estimate:
        """Return the place of a job that waits or runs, and the seconds until it is made."""
        return estimate(self._db, job, self._now())

    def forecast(self, model: str, cost: float) -> Forecast:
        """Return what a job of a model and a cost would take if it came now."""
        return forecast(self._db, model, cost, self._now())

    def outputs(self, job_id: str) -> list[Stored]:
        """Return the sounds of a job that are there, in their order."""
        return self.outputs_of([job_id])[job_id]

    def outputs_of(self, job_ids: Collection[str]) -> dict[str, list[Stored]]:
        """Return the sounds of each of some jobs, as `outputs` does."""
        found: dict[str, list[Stored]] = {job_id: [] for job_id in job_ids}
        if found:
            places = ", ".join("?" * len(found))
            # an id ends with the place of the sound among those of its job
            rows = self._db.execute(
                f"SELECT * FROM outputs WHERE job IN ({places}) ORDER BY length(id), id",
                tuple(found),
            )
            for row in rows:
                found[row["job"]].append(self._output(row))
        return found

    def events(self, job_id: str, after: int = 0) -> list[Event]:
        """Return the events of a job with a higher number."""
        rows = self._db.execute(
            "SELECT * FROM events WHERE job = ? AND number > ? ORDER BY number", (job_id, after)
        )
        return [Event(row["number"], row["kind"], json.loads(row["data"])) for row in rows]

    def sound(self, sound_id: str, owner: str | None = None) -> Stored:
        """Return an upload or a sound that was made. Raise `Unknown`, for one of another owner too."""
        for row in self._db.execute("SELECT * FROM assets WHERE id = ?", (sound_id,)):
            if owner in (None, row["owner"]):
                return Stored(row["id"], self.uploads / row["id"], json.loads(row["facts"]))
        return self.output(sound_id, owner)

    def output(self, output_id: str, owner: str | None = None) -> Stored:
        """Return a sound that was made. Raise `Unknown`, for one of another owner too."""
        rows = self._db.execute(
            "SELECT outputs.*, jobs.owner FROM outputs JOIN jobs ON jobs.id = outputs.job WHERE outputs.id = ?",
            (output_id,),
        )
        for row in rows:
            if owner in (None, row["owner"]):
                return self._output(row)
        raise no_sound()

    def _job(self, job_id: str, ending: str = "") -> Job:
        for row in self._db.execute(f"SELECT * FROM jobs WHERE id = ?{ending}", (job_id,)):
            return job_of(row)
        raise _no_job()

    def _output(self, row: Row) -> Stored:
        path = self.sounds / row["file"]
        return Stored(row["id"], path, json.loads(row["facts"]), bool(row["is_starred"]))

    def _now(self) -> float:
        return self._db.now() if self._clock is None else self._clock()

    def _tell(self, kind: str, job: Job) -> None:
        for listener in self.listeners:
            listener(kind, job)


def _no_job() -> Unknown:
    return Unknown("there is no job of this id; it may have been deleted")


def no_sound() -> Unknown:
    """Return the error for an id that no sound has."""
    return Unknown("there is no sound of this id; it may have been deleted")


def record(db: Database, job_id: str, kind: str, data: Mapping[str, Any]) -> None:
    """Note an event of a job, within a change of that job: so their numbers rise in the order in which they are seen."""
    db.execute(
        "INSERT INTO events (job, kind, data) VALUES (?, ?, ?)", (job_id, kind, json.dumps(data))
    )


def remove(paths: Iterable[Path]) -> None:
    """Remove files; those that can't be are tried again when what has no row is cleared."""
    for path in paths:
        with suppress(OSError):
            path.unlink()
