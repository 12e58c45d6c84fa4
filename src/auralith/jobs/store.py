"""The jobs of a server, their sounds and the uploads, in one folder that one process has.

A job is accepted when its row is committed, not before. Its status changes by compare and set: only who holds its claim,
and has renewed the lease on it, may say what became of it. A sound's file is written whole before its row; what has no
row is removed at the next start. A job that was running when the process died is queued again, under the same request.
"""

import json
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from sqlite3 import Connection, Row
from typing import Any

from auralith.files import clear_leftovers, exclusive, make_folder, size_text
from auralith.jobs.database import Database, StorageFull
from auralith.jobs.estimates import Estimate, estimate, retry_after
from auralith.jobs.records import (
    FINAL,
    Event,
    InUse,
    Job,
    KeyReused,
    Limits,
    QueueFull,
    Status,
    Stored,
    Unknown,
    job_of,
)

LEASE_SECONDS = 30.0
KEY_SECONDS = 24 * 3_600.0
"""Time for which an idempotency key is known."""
OnChange = Callable[[str, Job], None]
"""Gets the kind of each event and the job after it, in the thread that changed it."""


class JobStore:
    """Jobs of one folder. Every method may be called from any thread."""

    def __init__(
        self,
        folder: str | Path,
        limits: Limits | None = None,
        *,
        clock: Callable[[], float] = time.time,
        free_bytes: Callable[[Path], int] | None = None,
    ) -> None:
        """Take the folder for this process, and queue again what was running when the last one ended.

        Raises `InvalidRequest` where another process has it or the database can't be used, `ResourceError` where it can't be
        written.
        """
        self.folder, self.limits = Path(folder), limits or Limits()
        self.listeners: list[OnChange] = []
        self._clock = clock
        self._free = free_bytes or (lambda path: shutil.disk_usage(path).free)
        self.sounds, self.uploads = self.folder / "audio", self.folder / "assets"
        with ExitStack() as stack:
            stack.enter_context(exclusive(self.folder))
            for place in (self.sounds, self.uploads):
                make_folder(place)
                clear_leftovers(place)
            self._db = Database(self.folder / "jobs.sqlite")
            stack.callback(self._db.close)
            self._recover()
            self._clear_orphans()
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Leave the folder to another process."""
        self._stack.close()

    def has_room(self) -> bool:
        """Return whether the disk has more than the reserve."""
        return self._free(self.folder) > self.limits.reserve_bytes

    def require_room(self) -> None:
        """Raise `StorageFull` unless the disk has more than the reserve."""
        if not self.has_room():
            raise StorageFull(
                f"less than {size_text(self.limits.reserve_bytes)} of disk space are left; free some, or ask again later"
            )

    # jobs that come in

    def accept(
        self,
        request: Mapping[str, Any],
        cost: float,
        source: str | None = None,
        key: tuple[str, str] | None = None,
        body_hash: str = "",
    ) -> tuple[Job, bool]:
        """Return the job of a request once it is on the disk, and whether it is new.

        `key` is an owner and the idempotency key that it chose: with the same `body_hash` it gives the same job for a day.

        Raises:
            KeyReused: the key came with another body.
            QueueFull: too many jobs wait.
            StorageFull: the disk is full.
            Unknown: the source is not there.
        """
        now = self._clock()
        with self._db.write() as db:
            known = None if key is None else self.replay(key, body_hash)
            if known is not None:
                return known, False
            self.require_room()
            (waiting,) = db.execute("SELECT count(*) FROM jobs WHERE status = 'queued'").fetchone()
            if waiting >= self.limits.queue:
                raise QueueFull(
                    f"{waiting} jobs wait, the most that are taken; ask again later",
                    retry_after(self._db),
                )
            if source is not None:
                self.sound(source)
            job_id = secrets.token_hex(16)
            db.execute(
                "INSERT INTO jobs (id, status, request, source, cost, created) VALUES (?, 'queued', ?, ?, ?, ?)",
                (job_id, json.dumps(request), source, cost, now),
            )
            db.execute("DELETE FROM keys WHERE created < ?", (now - KEY_SECONDS,))
            if key is not None:
                db.execute(
                    "INSERT INTO keys VALUES (?, ?, ?, ?, ?)", (*key, body_hash, job_id, now)
                )
            _record(db, job_id, "state", {"status": "queued"})
        job = self.job(job_id)
        self._tell("state", job)
        return job, True

    def replay(self, key: tuple[str, str], body_hash: str) -> Job | None:
        """Return the job that a key gave, or None. Raise `KeyReused` for another body."""
        rows = self._db.rows(
            "SELECT * FROM keys WHERE owner = ? AND key = ? AND created >= ?",
            (*key, self._clock() - KEY_SECONDS),
        )
        if not rows:
            return None
        if rows[0]["body_hash"] != body_hash:
            raise KeyReused(
                "this Idempotency-Key came with another request before; choose a new key for a new request"
            )
        return self.job(rows[0]["job"])

    # looking at jobs

    def job(self, job_id: str) -> Job:
        """Return a job. Raise `Unknown`."""
        rows = self._db.rows("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if not rows:
            raise Unknown("there is no job of this id; it may have been deleted")
        return job_of(rows[0])

    def jobs(
        self, status: str | None = None, limit: int = 50, before: int | None = None
    ) -> list[Job]:
        """Return jobs, the newest first: those of a status, those with a lower number."""
        rows = self._db.rows(
            "SELECT * FROM jobs WHERE (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR number < ?2) "
            "ORDER BY number DESC LIMIT ?3",
            (status, before, limit),
        )
        return [job_of(row) for row in rows]

    def count(self, status: str) -> int:
        """Return how many jobs have a status."""
        return self._db.rows("SELECT count(*) FROM jobs WHERE status = ?", (status,))[0][0]

    def estimate(self, job: Job) -> Estimate:
        """Return the place of a job that waits or runs, and the seconds until it is made."""
        return estimate(self._db, job)

    def outputs(self, job_id: str) -> list[Stored]:
        """Return the sounds of a job that are there, in their order."""
        rows = self._db.rows("SELECT * FROM outputs WHERE job = ? ORDER BY rowid", (job_id,))
        return [self._output(row) for row in rows]

    def events(self, job_id: str, after: int = 0) -> list[Event]:
        """Return the events of a job with a higher number."""
        rows = self._db.rows(
            "SELECT * FROM events WHERE job = ? AND number > ? ORDER BY number", (job_id, after)
        )
        return [Event(row["number"], row["kind"], json.loads(row["data"])) for row in rows]

    # making jobs

    def claim(self) -> Job | None:
        """Return the job that waited longest, running now and claimed by the caller; None without one."""
        claim, now = secrets.token_hex(16), self._clock()
        with self._db.write() as db:
            self._requeue(db, "status = 'running' AND lease < ?", (now,), "its lease ended")
            row = db.execute(
                "UPDATE jobs SET status = 'running', claim = ?, lease = ?, started = ?, progress = NULL WHERE id = "
                "(SELECT id FROM jobs WHERE status = 'queued' ORDER BY number LIMIT 1) AND status = 'queued' RETURNING *",
                (claim, now + LEASE_SECONDS, now),
            ).fetchone()
            if row is None:
                return None
            _record(db, row["id"], "state", {"status": "running"})
        job = job_of(row)
        self._tell("state", job)
        return job

    def renew(self, job: Job) -> Job | None:
        """Renew the lease on a claimed job and return it as it is now; None if the claim is lost."""
        return self._claimed(job, "lease = ?", (self._clock() + LEASE_SECONDS,), durable=False)

    def step(self, job: Job, progress: Mapping[str, Any]) -> Job | None:
        """Note the progress of a claimed job, and renew its lease; None if the claim is lost."""
        values = (json.dumps(progress), self._clock() + LEASE_SECONDS)
        return self._claimed(
            job, "progress = ?, lease = ?", values, "step", progress, durable=False
        )

    def add_output(self, job: Job, file: str, facts: Mapping[str, Any]) -> Job | None:
        """Note a sound of a claimed job, whose file is written; None if the claim is lost."""
        size = (self.sounds / file).stat().st_size
        output_id = Path(file).stem

        def insert(db: Connection) -> None:
            db.execute(
                "INSERT OR REPLACE INTO outputs VALUES (?, ?, ?, ?, ?)",
                (output_id, job.id, file, size, json.dumps(facts)),
            )

        return self._claimed(
            job, "progress = progress", (), "output", {"id": output_id, **facts}, insert
        )

    def finish(
        self, job: Job, status: Status, error: Mapping[str, Any] | None = None
    ) -> Job | None:
        """Say what became of a claimed job; None if the claim is lost. One that should be cancelled is."""
        assert status in FINAL
        if self.job(job.id).is_cancelled:
            status, error = "cancelled", None
        values = (status, self._clock(), None if error is None else json.dumps(error))
        return self._claimed(
            job,
            "status = ?, finished = ?, error = ?, claim = NULL, lease = NULL, progress = NULL",
            values,
            "end",
            {"status": status, **({} if error is None else {"error": dict(error)})},
            _drop_steps(job.id),
        )

    def release(self, job: Job, reason: str, *, crashed: bool = False) -> Job | None:
        """Queue a claimed job again, at its place; None if the claim is lost."""
        if self.job(job.id).is_cancelled:
            return self.finish(job, "cancelled")
        return self._claimed(
            job,
            f"status = 'queued', claim = NULL, lease = NULL, progress = NULL, crashes = crashes + {int(crashed)}",
            (),
            "state",
            {"status": "queued", "reason": reason},
            _drop_steps(job.id),
        )

    def _claimed(
        self,
        job: Job,
        changes: str,
        values: Sequence[Any],
        kind: str = "",
        data: Mapping[str, Any] | None = None,
        also: Callable[[Connection], None] | None = None,
        *,
        durable: bool = True,
    ) -> Job | None:
        """Change a job whose claim is still the caller's, with an event; return it, or None."""
        with self._db.write(durable=durable) as db:
            row = db.execute(
                f"UPDATE jobs SET {changes} WHERE id = ? AND claim = ? AND status = 'running' RETURNING *",
                (*values, job.id, job.claim),
            ).fetchone()
            if row is None:
                return None
            if also is not None:
                also(db)
            if kind:
                _record(db, job.id, kind, data or {})
        changed = job_of(row)
        if kind:
            self._tell(kind, changed)
        return changed

    def _requeue(self, db: Connection, where: str, values: Sequence[Any], reason: str) -> None:
        """Queue running jobs again, or cancel those that should be."""
        for row in db.execute(
            f"SELECT id, is_cancelled FROM jobs WHERE {where}", values
        ).fetchall():
            _drop_steps(row["id"])(db)
            if row["is_cancelled"]:
                _cancel(db, row["id"], self._clock())
                continue
            db.execute(
                "UPDATE jobs SET status = 'queued', claim = NULL, lease = NULL, progress = NULL WHERE id = ?",
                (row["id"],),
            )
            _record(db, row["id"], "state", {"status": "queued", "reason": reason})

    # ending and deleting jobs

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: at once if it waits, at its next step if it runs; one that is finished stays. Raise `Unknown`."""
        kind = ""
        with self._db.write() as db:
            job = self.job(job_id)
            if job.status == "queued":
                kind = "end"
                _cancel(db, job_id, self._clock())
            elif job.status == "running":
                db.execute("UPDATE jobs SET is_cancelled = 1 WHERE id = ?", (job_id,))
        job = self.job(job_id)
        if kind:
            self._tell(kind, job)
        return job

    def delete(self, job_id: str) -> None:
        """Delete a finished job and its sounds. Raise `Unknown`, and `InUse` for one that is not, or whose sound is needed."""
        with self._db.write() as db:
            if not self.job(job_id).is_final:
                raise InUse("the job is not finished; cancel it first")
            outputs = self.outputs(job_id)
            needed = self._needed()
            if any(one.id in needed for one in outputs):
                raise InUse("a job that waits or runs starts from its sound; delete that one first")
            db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
        _remove(one.path for one in outputs)

    def sweep(self) -> int:
        """Delete what is too old, and the oldest of what is too much; return how many jobs and uploads that were."""
        oldest = self._clock() - self.limits.keep_days * 86_400
        size = self._db.rows(
            "SELECT (SELECT coalesce(sum(num_bytes), 0) FROM outputs) + "
            "(SELECT coalesce(sum(num_bytes), 0) FROM assets)"
        )[0][0]
        candidates = self._db.rows(
            "SELECT id, finished AS time, 'job' AS kind, (SELECT coalesce(sum(num_bytes), 0) FROM outputs WHERE job = jobs.id)"
            " AS size FROM jobs WHERE finished IS NOT NULL UNION ALL "
            "SELECT id, created, 'asset', num_bytes FROM assets ORDER BY time"
        )
        gone = 0
        for row in candidates:
            if row["time"] >= oldest and (size <= self.limits.keep_bytes or not row["size"]):
                continue
            with suppress(InUse, Unknown):
                self.delete(row["id"]) if row["kind"] == "job" else self.delete_asset(row["id"])
                size, gone = size - row["size"], gone + 1
        return gone

    # uploads, and sounds by their id

    def add_asset(self, asset_id: str, facts: Mapping[str, Any]) -> Stored:
        """Note an upload whose file is written as `uploads / asset_id`."""
        size = (self.uploads / asset_id).stat().st_size
        with self._db.write() as db:
            db.execute(
                "INSERT INTO assets VALUES (?, ?, ?, ?)",
                (asset_id, size, json.dumps(facts), self._clock()),
            )
        return self.sound(asset_id)

    def delete_asset(self, asset_id: str) -> None:
        """Delete an upload. Raise `Unknown`, and `InUse` while a job that waits or runs starts from it."""
        with self._db.write() as db:
            if asset_id in self._needed():
                raise InUse("a job that waits or runs starts from it; delete that one first")
            if not db.execute("DELETE FROM assets WHERE id = ?", (asset_id,)).rowcount:
                raise Unknown("there is no upload of this id; it may have been deleted")
        _remove([self.uploads / asset_id])

    def sound(self, sound_id: str) -> Stored:
        """Return an upload or a sound that was made. Raise `Unknown`."""
        for row in self._db.rows("SELECT * FROM assets WHERE id = ?", (sound_id,)):
            return Stored(row["id"], self.uploads / row["id"], json.loads(row["facts"]))
        return self.output(sound_id)

    def output(self, output_id: str) -> Stored:
        """Return a sound that was made. Raise `Unknown`."""
        for row in self._db.rows("SELECT * FROM outputs WHERE id = ?", (output_id,)):
            return self._output(row)
        raise Unknown("there is no sound of this id; it may have been deleted")

    def _output(self, row: Row) -> Stored:
        return Stored(row["id"], self.sounds / row["file"], json.loads(row["facts"]))

    def _needed(self) -> set[str]:
        rows = self._db.rows("SELECT source FROM jobs WHERE status IN ('queued', 'running')")
        return {row["source"] for row in rows}

    def _recover(self) -> None:
        with self._db.write() as db:
            self._requeue(db, "status = 'running'", (), "the server was restarted")

    def _clear_orphans(self) -> None:
        """Remove files without a row: of uploads and sounds that a kill cut off, and of what was being deleted."""
        kept = {row["file"] for row in self._db.rows("SELECT file FROM outputs")}
        kept |= {row["id"] for row in self._db.rows("SELECT id FROM assets")}
        for place in (self.sounds, self.uploads):
            _remove(
                path for path in place.iterdir() if path.name not in kept and path.name[0] != "."
            )

    def _tell(self, kind: str, job: Job) -> None:
        for listener in self.listeners:
            listener(kind, job)


def _record(db: Connection, job_id: str, kind: str, data: Mapping[str, Any]) -> None:
    db.execute(
        "INSERT INTO events (job, kind, data) VALUES (?, ?, ?)", (job_id, kind, json.dumps(data))
    )


def _drop_steps(job_id: str) -> Callable[[Connection], None]:
    """Return what deletes the steps of a job, which nobody needs once it has ended or begins anew."""
    query = "DELETE FROM events WHERE job = ? AND kind = 'step'"
    return lambda db: db.execute(query, (job_id,)) and None


def _cancel(db: Connection, job_id: str, now: float) -> None:
    db.execute(
        "UPDATE jobs SET status = 'cancelled', finished = ?, claim = NULL, lease = NULL, progress = NULL WHERE id = ?",
        (now, job_id),
    )
    _record(db, job_id, "end", {"status": "cancelled"})


def _remove(paths: Iterator[Path] | Sequence[Path]) -> None:
    for path in paths:
        with suppress(OSError):  # the next start tries again
            path.unlink()
