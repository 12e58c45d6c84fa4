"""Messages to the URLs that want to know when a job has ended: noted together with the end, sent until one is taken.

A message may be sent twice, if who sent it died before that was noted; its id tells. What it says is the job as it is then.
"""

import secrets

from auralith.jobs.books import Books
from auralith.jobs.database import Database
from auralith.jobs.records import Delivery, Job

PAUSES = (5.0, 300.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 36_000.0)
"""Seconds from each attempt to the next one."""


class Delivering(Books):
    """Books of messages to be sent."""

    def take_deliveries(self, most: int = 16) -> list[Delivery]:
        """Return messages that are due, for the caller to send now; they are due again later unless `delivered` says so."""
        now = self._now()
        taken = []
        with self._db.write() as db:
            rows = db.execute(
                "SELECT id, job, url, attempts FROM deliveries WHERE status = 'pending' AND due <= ? ORDER BY due LIMIT ?"
                f"{db.for_update_unlocked}",
                (now, most),
            )
            for row in rows:
                due = now + PAUSES[min(row["attempts"], len(PAUSES) - 1)]
                taken.append(Delivery(row["id"], row["job"], row["url"], row["attempts"] + 1))
                db.execute(
                    "UPDATE deliveries SET attempts = attempts + 1, due = ? WHERE id = ?",
                    (due, row["id"]),
                )
        return taken

    def delivered(self, delivery: Delivery) -> None:
        """Note that a message was taken."""
        self._note(delivery, "delivered", None)

    def undelivered(self, delivery: Delivery, reason: str) -> bool:
        """Note that an attempt failed; return whether there will be another one."""
        is_last = delivery.attempts > len(PAUSES)
        self._note(delivery, "failed" if is_last else "pending", reason)
        return not is_last

    def _note(self, delivery: Delivery, status: str, error: str | None) -> None:
        with self._db.write() as db:
            db.execute(
                "UPDATE deliveries SET status = ?, error = ? WHERE id = ? AND attempts = ? AND status = 'pending'",
                (status, error, delivery.id, delivery.attempts),
            )


def announce_end(db: Database, job: Job, now: float) -> None:
    """Note that the end of a job is to be told, if it should be, within the change that ends it."""
    if job.webhook is not None:
        db.execute(
            "INSERT INTO deliveries (id, job, url, status, due) VALUES (?, ?, ?, 'pending', ?)",
            (f"msg_{secrets.token_hex(16)}", job.id, job.webhook, now),
        )
