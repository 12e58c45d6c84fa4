"""Jobs that are made. Only who holds the claim on a job, and has renewed its lease, may say what becomes of it."""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from auralith.jobs.books import Books, record
from auralith.jobs.database import Database
from auralith.jobs.delivering import announce_end
from auralith.jobs.records import FINAL, Job, Status, Unknown, job_of

LEASE_SECONDS = 30.0
_WAITING = "status = 'queued', claim = NULL, lease = NULL, ready = NULL, progress = NULL"
_OVER = "claim = NULL, lease = NULL, progress = NULL"


class Making(Books):
    """Books of jobs that are made."""

    def claim(self) -> Job | None:
        """Return the job that waited longest, running now and claimed by the caller; None without one."""
        claim, now = secrets.token_hex(16), self._now()
        with self._db.write(durable=False) as db:  # a job whose claim is lost still waits
            cancelled = self._requeue("status = 'running' AND lease < ?", (now,), "its lease ended")
            rows = db.execute(
                "UPDATE jobs SET status = 'running', claim = ?, lease = ?, started = ?, ready = NULL, progress = NULL "
                "WHERE id = (SELECT id FROM jobs WHERE status = 'queued' ORDER BY number LIMIT 1"
                f"{db.for_update_unlocked}) AND status = 'queued' RETURNING *",
                (claim, now + LEASE_SECONDS, now),
            )
            for row in rows:
                self.refusals.forget()
                record(db, row["id"], "state", {"status": "running"})
        for job in cancelled:
            self._tell("end", job)
        for row in rows:
            job = job_of(row)
            self._tell("state", job)
            return job
        return None

    def look(self, job: Job) -> Job | None:
        """Return a claimed job as it is now; None if the claim is lost."""
        with suppress(Unknown):  # deleted
            current = self.job(job.id)
            if current.claim == job.claim and current.status == "running":
                return current
        return None

    def renew(self, job: Job) -> Job | None:
        """Renew the lease on a claimed job and return it as it is now; None if the claim is lost."""
        return self._claimed(job, "lease = ?", (self._now() + LEASE_SECONDS,), durable=False)

    def loaded(self, job: Job, model_hash: str | None) -> Job | None:
        """Note that the model of a claimed job is loaded, and the fingerprint of its weights; None if the claim is lost."""
        now = self._now()
        values = (now, model_hash, now + LEASE_SECONDS)
        return self._claimed(job, "ready = ?, model_hash = ?, lease = ?", values, durable=False)

    def step(self, job: Job, progress: Mapping[str, Any]) -> Job | None:
        """Note the progress of a claimed job, and renew its lease; None if the claim is lost."""
        values = (json.dumps(progress), self._now() + LEASE_SECONDS)
        return self._claimed(
            job, "progress = ?, lease = ?", values, "step", progress, durable=False
        )

    def preview(self, job: Job, about: Mapping[str, Any]) -> Job | None:
        """Tell of a preview of a claimed job; None if the claim is lost."""
        values = (self._now() + LEASE_SECONDS,)
        return self._claimed(job, "lease = ?", values, "preview", about, durable=False)

    def add_output(self, job: Job, file: str, facts: Mapping[str, Any]) -> Job | None:
        """Note a sound of a claimed job, whose file is written; None if the claim is lost."""
        size = (self.sounds / file).stat().st_size
        output_id = Path(file).stem

        def insert(db: Database) -> None:
            db.execute(
                "INSERT INTO outputs (id, job, file, num_bytes, facts) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) "
                "DO UPDATE SET file = excluded.file, num_bytes = excluded.num_bytes, facts = excluded.facts",
                (output_id, job.id, file, size, json.dumps(facts)),
            )

        return self._claimed(
            job,
            "lease = ?",
            (self._now() + LEASE_SECONDS,),
            "output",
            {"id": output_id, **facts},
            insert,
            durable=False,  # it is durable with the job's end, before which it would be made again, byte for byte
        )

    def finish(
        self, job: Job, status: Status, error: Mapping[str, Any] | None = None
    ) -> Job | None:
        """Say what became of a claimed job; None if the claim is lost. One that should be cancelled is."""
        assert status in FINAL
        if self.job(job.id).is_cancelled:
            status, error = "cancelled", None
        now = self._now()

        def end(db: Database) -> None:
            _drop_steps(db, job.id)
            announce_end(db, job, now)

        return self._claimed(
            job,
            f"status = ?, finished = ?, error = ?, {_OVER}",
            (status, now, None if error is None else json.dumps(error)),
            "end",
            {"status": status, **({} if error is None else {"error": dict(error)})},
            end,
        )

    def release(self, job: Job, reason: str, *, crashed: bool = False) -> Job | None:
        """Queue a claimed job again, at its place; None if the claim is lost."""
        if self.job(job.id).is_cancelled:
            return self.finish(job, "cancelled")
        return self._claimed(
            job,
            f"{_WAITING}, crashes = crashes + {int(crashed)}",
            (),
            "state",
            {"status": "queued", "reason": reason},
            lambda db: _drop_steps(db, job.id),
        )

    def cancel(self, job_id: str) -> Job:
        """Cancel a job: at once if it waits, at its next step if it runs; one that is finished stays. Raise `Unknown`."""
        ended = False
        with self._db.write() as db:
            job = self._job(job_id, db.for_update)
            if job.status == "queued":
                ended = True
                self._end_cancelled(db, job)
            elif job.status == "running":
                db.execute("UPDATE jobs SET is_cancelled = 1 WHERE id = ?", (job_id,))
        job = self.job(job_id)
        if ended:
            self._tell("end", job)
        return job

    def _claimed(
        self,
        job: Job,
        changes: str,
        values: Sequence[Any],
        kind: str = "",
        data: Mapping[str, Any] | None = None,
        also: Callable[[Database], None] | None = None,
        *,
        durable: bool = True,
    ) -> Job | None:
        """Change a job whose claim is still the caller's, with an event; return it, or None."""
        with self._db.write(durable=durable) as db:
            rows = db.execute(
                f"UPDATE jobs SET {changes} WHERE id = ? AND claim = ? AND status = 'running' RETURNING *",
                (*values, job.id, job.claim),
            )
            if not rows:
                return None
            if also is not None:
                also(db)
            if kind:
                record(db, job.id, kind, data or {})
        changed = job_of(rows[0])
        if kind:
            self._tell(kind, changed)
        return changed

    def _requeue(self, where: str, values: Sequence[Any], reason: str) -> list[Job]:
        """Queue running jobs again, within a change, or cancel those that should be; return the latter as they were."""
        cancelled = []
        rows = self._db.execute(
            f"SELECT * FROM jobs WHERE {where}{self._db.for_update_unlocked}", values
        )
        for job in map(job_of, rows):
            _drop_steps(self._db, job.id)
            if job.is_cancelled:
                cancelled.append(job)
                self._end_cancelled(self._db, job)
                continue
            self._db.execute(f"UPDATE jobs SET {_WAITING} WHERE id = ?", (job.id,))
            record(self._db, job.id, "state", {"status": "queued", "reason": reason})
        return cancelled

    def _end_cancelled(self, db: Database, job: Job) -> None:
        now = self._now()
        self.refusals.forget()
        db.execute(
            f"UPDATE jobs SET status = 'cancelled', finished = ?, {_OVER} WHERE id = ?",
            (now, job.id),
        )
        announce_end(db, job, now)
        record(db, job.id, "end", {"status": "cancelled"})


def _drop_steps(db: Database, job_id: str) -> None:
    """Delete the steps and previews of a job, which nobody needs once it has ended or begins anew."""
    db.execute("DELETE FROM events WHERE job = ? AND kind IN ('step', 'preview')", (job_id,))
