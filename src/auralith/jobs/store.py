"""The jobs of a server, their sounds and the uploads, in one folder that one process has.

A job's status changes by compare and set. A sound's file is written whole before its row; what has no row is removed at the
next start. A job that was running when the process died is queued again, under the same request.
"""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from auralith.files import clear_leftovers, exclusive, make_folder
from auralith.jobs.accepting import Accepting
from auralith.jobs.books import remove
from auralith.jobs.delivering import Delivering
from auralith.jobs.keeping import Keeping
from auralith.jobs.making import Making
from auralith.jobs.records import Limits
from auralith.jobs.sqlite import SqliteDatabase


class JobStore(Accepting, Making, Delivering, Keeping):
    """Jobs of one folder. Every method may be called from any thread."""

    def __init__(
        self,
        folder: str | Path,
        limits: Limits | None = None,
        *,
        clock: Callable[[], float] | None = None,
        free_bytes: Callable[[Path], int] | None = None,
    ) -> None:
        """Take the folder for this process, and queue again what was running when the last one ended.

        Raises `InvalidRequest` where another process has it or the database can't be used, `ResourceError` where it can't be
        written.
        """
        super().__init__(folder, limits, clock=clock, free_bytes=free_bytes)
        with ExitStack() as stack:
            stack.enter_context(exclusive(self.folder))
            for place in (self.sounds, self.uploads):
                make_folder(place)
                clear_leftovers(place)
            self._db = SqliteDatabase(self.folder / "jobs.sqlite")
            stack.callback(self._db.close)
            self._recover()
            self._clear_orphans()
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Leave the folder to another process."""
        self._stack.close()

    def _recover(self) -> None:
        with self._db.write():
            self._requeue("status = 'running'", (), "the server was restarted")

    def _clear_orphans(self) -> None:
        """Remove files without a row: of uploads and sounds that a kill cut off, and of what was being deleted."""
        kept = {row["file"] for row in self._db.execute("SELECT file FROM outputs")}
        kept |= {row["id"] for row in self._db.execute("SELECT id FROM assets")}
        for place in (self.sounds, self.uploads):
            remove(
                path for path in place.iterdir() if path.name not in kept and path.name[0] != "."
            )
