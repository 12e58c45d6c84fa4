"""The jobs of a server, their sounds and the uploads.

The folder belongs to one process, with the jobs in a file of SQLite, or to all servers that share a database of PostgreSQL.
A job's status changes by compare and set. A sound's file is written whole before its row. A job whose maker died is queued
again under the same request: at the next start if nobody else can have it, else when its lease ends.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from auralith.errors import InvalidRequest
from auralith.files import clear_leftovers, exclusive, make_folder, whole_file
from auralith.jobs.accepting import Accepting
from auralith.jobs.books import remove
from auralith.jobs.database import Database
from auralith.jobs.delivering import Delivering
from auralith.jobs.keeping import Keeping
from auralith.jobs.making import Making
from auralith.jobs.postgres import PostgresDatabase
from auralith.jobs.records import Limits
from auralith.jobs.sqlite import SqliteDatabase
from auralith.jobs.watching import Watch

DATABASE_FILE = "jobs.sqlite"
SHARED_FILE = "shared-folder"
"""Holds the name by which a shared database knows the folder."""
ORPHAN_SECONDS = 3_600.0
"""Age of a file that another process may still be about to make a row for."""


class JobStore(Accepting, Making, Delivering, Keeping):
    """Jobs of one folder. Every method may be called from any thread."""

    def __init__(
        self,
        folder: str | Path,
        limits: Limits | None = None,
        *,
        database: str | None = None,
        clock: Callable[[], float] | None = None,
        free_bytes: Callable[[Path], int] | None = None,
    ) -> None:
        """Take the folder for this process, or share it with the others of the database at a URL.

        Raises:
            InvalidRequest: another process has the folder, it is that of another database, or the database can't be used.
            ResourceError: the folder can't be written, or nobody answers at the URL.
        """
        super().__init__(folder, limits, clock=clock, free_bytes=free_bytes)
        with ExitStack() as stack:
            self._db = self._own(stack) if database is None else self._shared(database)
            stack.callback(self._db.close)
            for place in (self.sounds, self.uploads):
                make_folder(place)
                clear_leftovers(place)
            if not self._db.is_shared:
                self._recover()
            self._clear_orphans()
            if self._db.is_shared:
                stack.callback(Watch(self._db, self.watchers).stop)
            self._stack = stack.pop_all()

    def close(self) -> None:
        """Leave the folder to another process."""
        self._stack.close()

    def is_left(self, path: Path) -> bool:
        """Return whether no process still works on a file that nobody knows of."""
        if path.name[0] == ".":  # half-written; `clear_leftovers` has looked at it
            return False
        try:
            age = time.time() - path.stat().st_mtime
        except OSError:  # another process has removed it
            return False
        return not self._db.is_shared or age > ORPHAN_SECONDS

    def _own(self, stack: ExitStack) -> Database:
        stack.enter_context(exclusive(self.folder))
        if (self.folder / SHARED_FILE).exists():
            raise InvalidRequest(
                f"the jobs of {self.folder} are in PostgreSQL; give its URL with --database, or another folder"
            )
        return SqliteDatabase(self.folder / DATABASE_FILE)

    def _shared(self, url: str) -> Database:
        if (self.folder / DATABASE_FILE).exists():
            raise InvalidRequest(
                f"{self.folder} has jobs of its own, in {DATABASE_FILE}; give another folder with --data, or no --database"
            )
        db = PostgresDatabase(url)
        try:
            self._pair(db)
        except BaseException:
            db.close()
            raise
        return db

    def _pair(self, db: PostgresDatabase) -> None:
        """Make sure that this folder is the one whose sounds the database knows."""
        make_folder(self.folder)
        marker = self.folder / SHARED_FILE
        with db.write(alone=True):
            name = marker.read_text(encoding="utf-8").strip() if marker.exists() else None
            known = db.folder()
            if known != name:
                raise InvalidRequest(
                    f"{self.folder} is not the folder of the jobs in {db.place}; give the one that all its servers share "
                    "with --data, or an empty database"
                )
            if known is None:
                name = secrets.token_hex(16)
                with whole_file(marker) as file:
                    file.write(name.encode())
                db.set_folder(name)

    def _recover(self) -> None:
        with self._db.write():
            self._requeue("status = 'running'", (), "the server was restarted")

    def _clear_orphans(self) -> None:
        """Remove files without a row: of uploads and sounds that a kill cut off, and of what was being deleted."""
        kept = {row["file"] for row in self._db.execute("SELECT file FROM outputs")}
        kept |= {row["id"] for row in self._db.execute("SELECT id FROM assets")}
        for place in (self.sounds, self.uploads):
            remove(path for path in place.iterdir() if path.name not in kept and self.is_left(path))
