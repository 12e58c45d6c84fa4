"""Jobs that come in. A job is accepted when its row is committed, not before."""

import json
import secrets
from collections.abc import Mapping
from typing import Any

from auralith.jobs.books import Books, record
from auralith.jobs.estimates import retry_after
from auralith.jobs.records import Job, KeyReused, QueueFull
from auralith.jobs.search import search_text

KEY_SECONDS = 24 * 3_600.0
"""Time for which an idempotency key is known."""


class Accepting(Books):
    """Books that take jobs."""

    def accept(
        self,
        request: Mapping[str, Any],
        cost: float,
        source: str | None = None,
        key: tuple[str, str] | None = None,
        body_hash: str = "",
        *,
        owner: str = "",
        owner_queue: int | None = None,
        webhook: str | None = None,
    ) -> tuple[Job, bool]:
        """Return the job of a request once it is on the disk, and whether it is new.

        `key` is an owner and the idempotency key that it chose: with the same `body_hash` it gives the same job for a day.
        No more jobs than `owner_queue` of the same owner wait.

        Raises:
            KeyReused: the key came with another body.
            QueueFull: too many jobs wait.
            StorageFull: the disk is full.
            Unknown: the source is not there.
        """
        with self._db.write(alone=True) as db:
            known = None if key is None else self.replay(key, body_hash)
            if known is not None:
                return known, False
            self.require_room()
            self._require_place(owner, owner_queue)
            if source is not None:
                self.sound(source)
            job_id, now = secrets.token_hex(16), self._now()
            model, search = request.get("model") or "", search_text(request)
            db.execute(
                "INSERT INTO jobs (id, status, request, source, cost, created, owner, model, search, webhook) "
                "VALUES (?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?)",
                (job_id, json.dumps(request), source, cost, now, owner, model, search, webhook),
            )
            db.execute("DELETE FROM keys WHERE created < ?", (now - KEY_SECONDS,))
            if key is not None:
                db.execute(
                    "INSERT INTO keys (owner, key, body_hash, job, created) VALUES (?, ?, ?, ?, ?)",
                    (*key, body_hash, job_id, now),
                )
            record(db, job_id, "state", {"status": "queued"})
        job = self.job(job_id)
        self._tell("state", job)
        return job, True

    def replay(self, key: tuple[str, str], body_hash: str) -> Job | None:
        """Return the job that a key gave, or None. Raise `KeyReused` for another body."""
        rows = self._db.execute(
            "SELECT body_hash, job FROM keys WHERE owner = ? AND key = ? AND created >= ?",
            (*key, self._now() - KEY_SECONDS),
        )
        if not rows:
            return None
        if rows[0]["body_hash"] != body_hash:
            raise KeyReused(
                "this Idempotency-Key came with another request before; choose a new key for a new request"
            )
        return self.job(rows[0]["job"])

    def _require_place(self, owner: str, owner_queue: int | None) -> None:
        """Raise `QueueFull` where there is no place, and remember it within the change, as `Refusals` needs it."""
        waiting = self.count("queued")
        if waiting >= self.limits.queue:
            raise self._full(f"{waiting} jobs wait", None)
        if owner_queue is not None and (own := self.count("queued", owner)) >= owner_queue:
            raise self._full(f"{own} jobs of this API key wait", owner)

    def _full(self, what: str, owner: str | None) -> QueueFull:
        refusal = QueueFull(
            f"{what}, the most that are taken; ask again later", retry_after(self._db, self._now())
        )
        self.refusals.note(owner, refusal)
        return refusal
