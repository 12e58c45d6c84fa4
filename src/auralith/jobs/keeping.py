"""Sounds and uploads that are kept, starred or deleted. A file is written whole before its row, and removed after it."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from auralith.jobs.books import Books, no_sound, remove
from auralith.jobs.records import InUse, Stored, Unknown

SWEEPING = 1
"""Number of the task."""


class Keeping(Books):
    """Books of what is kept."""

    def add_asset(self, asset_id: str, facts: Mapping[str, Any], owner: str = "") -> Stored:
        """Note an upload of an owner, whose file is written as `uploads / asset_id`."""
        size = (self.uploads / asset_id).stat().st_size
        with self._db.write() as db:
            db.execute(
                "INSERT INTO assets (id, num_bytes, facts, created, owner) VALUES (?, ?, ?, ?, ?)",
                (asset_id, size, json.dumps(facts), self._now(), owner),
            )
        return self.sound(asset_id)

    def delete_asset(self, asset_id: str, owner: str | None = None) -> None:
        """Delete an upload. Raise `Unknown`, and `InUse` while a job that waits or runs starts from it."""
        with self._db.write(alone=True) as db:
            self.sound(asset_id, owner)
            if asset_id in self._needed():
                raise InUse("a job that waits or runs starts from it; delete that one first")
            if not db.execute("DELETE FROM assets WHERE id = ? RETURNING id", (asset_id,)):
                raise Unknown("there is no upload of this id; it may have been deleted")
        remove([self.uploads / asset_id])

    def star(self, output_id: str, is_starred: bool) -> Stored:
        """Star a sound that was made, so that it is kept until it is deleted by hand, or take its star. Raise `Unknown`."""
        with self._db.write() as db:
            rows = db.execute(
                "UPDATE outputs SET is_starred = ? WHERE id = ? RETURNING *",
                (int(is_starred), output_id),
            )
            if not rows:
                raise no_sound()
        return self._output(rows[0])

    def delete(self, job_id: str) -> None:
        """Delete a finished job and its sounds. Raise `Unknown`, and `InUse` for one that is not, or whose sound is needed."""
        with self._db.write(alone=True) as db:
            if not self.job(job_id).is_final:
                raise InUse("the job is not finished; cancel it first")
            outputs = self.outputs(job_id)
            needed = self._needed()
            if any(one.id in needed for one in outputs):
                raise InUse("a job that waits or runs starts from its sound; delete that one first")
            db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
        remove(one.path for one in outputs)

    def sweep(self) -> int:
        """Delete what is too old, and the oldest of what is too much; return how many jobs and uploads that were.

        A job of which a sound is starred stays.
        """
        with self._db.task(SWEEPING) as is_mine:
            return self._sweep() if is_mine else 0

    def _sweep(self) -> int:
        oldest = self._now() - self.limits.keep_days * 86_400
        size = self._db.execute(
            "SELECT CAST((SELECT coalesce(sum(num_bytes), 0) FROM outputs) + "
            "(SELECT coalesce(sum(num_bytes), 0) FROM assets) AS BIGINT) AS size"
        )[0]["size"]
        candidates = self._db.execute(
            "SELECT id, finished AS since, 'job' AS kind, "
            "CAST((SELECT coalesce(sum(num_bytes), 0) FROM outputs WHERE job = jobs.id) AS BIGINT) AS size FROM jobs "
            "WHERE finished IS NOT NULL AND id NOT IN (SELECT job FROM outputs WHERE is_starred = 1) UNION ALL "
            "SELECT id, created, 'asset', num_bytes FROM assets ORDER BY since"
        )
        gone = 0
        for row in candidates:
            if row["since"] >= oldest and (size <= self.limits.keep_bytes or not row["size"]):
                continue
            with suppress(InUse, Unknown):
                self.delete(row["id"]) if row["kind"] == "job" else self.delete_asset(row["id"])
                size, gone = size - row["size"], gone + 1
        return gone

    def _needed(self) -> set[str]:
        """Return the ids of sounds and uploads that jobs which wait or run start from."""
        rows = self._db.execute(
            "SELECT source FROM jobs WHERE status IN ('queued', 'running') AND source IS NOT NULL"
        )
        return {row["source"] for row in rows}
