"""The database of a server: one SQLite file, opened only if it is whole and ours.

A commit is on the disk before it returns (WAL with synchronous=FULL). `Database.write` is the one way to change
anything.
"""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from auralith.errors import InvalidRequest, ResourceError
from auralith.escaping import one_line

APPLICATION_ID = 0x41554C54
VERSION = 1
SCHEMA = """
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    request TEXT NOT NULL,
    source TEXT,
    cost REAL NOT NULL,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    claim TEXT,
    lease REAL,
    crashes INTEGER NOT NULL DEFAULT 0,
    is_cancelled INTEGER NOT NULL DEFAULT 0,
    progress TEXT,
    error TEXT
) STRICT;
CREATE INDEX jobs_by_status ON jobs (status, number);
CREATE TABLE outputs (
    id TEXT PRIMARY KEY,
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    file TEXT NOT NULL,
    num_bytes INTEGER NOT NULL,
    facts TEXT NOT NULL
) STRICT;
CREATE INDEX outputs_by_job ON outputs (job);
CREATE TABLE assets (
    id TEXT PRIMARY KEY,
    num_bytes INTEGER NOT NULL,
    facts TEXT NOT NULL,
    created REAL NOT NULL
) STRICT;
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    data TEXT NOT NULL
) STRICT;
CREATE INDEX events_by_job ON events (job, number);
CREATE TABLE keys (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    body_hash TEXT NOT NULL,
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    created REAL NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT;
"""


class StorageFull(ResourceError):
    """The disk is full: what was asked for was not kept, and what is kept is whole."""


class Database:
    """One connection, shared by the threads of one process."""

    def __init__(self, path: Path) -> None:
        """Open a database, or make one where there is no file.

        Raises:
            InvalidRequest: the file is damaged, of another program, or of a newer version; it is left as it is.
            ResourceError: it can't be read or written.
        """
        self.path, self._lock = path, threading.RLock()
        with _named_errors(path):
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            with _named_errors(path):
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the connection; what was committed stays."""
        with self._lock:
            self._connection.close()

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """Return the rows of a query."""
        with self._lock, _named_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    @contextmanager
    def write(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Give a connection whose changes are kept together at the end of the block, or not at all.

        What is not durable survives the end of the process, but perhaps not a power failure; it costs no waiting for the disk.
        Raises `StorageFull` where the disk is.
        """
        with self._lock, _named_errors(self.path):
            self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _prepare(self) -> None:
        self._connection.row_factory = sqlite3.Row
        application, version = self._number("application_id"), self._number("user_version")
        is_empty = not self._connection.execute("SELECT 1 FROM sqlite_schema").fetchall()
        if not is_empty and application != APPLICATION_ID:
            raise InvalidRequest(
                f"{self.path} is a database of another program; give another folder with --data"
            )
        if version > VERSION:
            raise InvalidRequest(
                f"{self.path} was written by a newer version of Auralith; update, or give another folder with --data"
            )
        problem = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA foreign_keys=ON")
        if is_empty:
            self._connection.executescript(
                f"BEGIN; {SCHEMA} PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={VERSION}; COMMIT;"
            )

    def _number(self, pragma: str) -> int:
        return self._connection.execute(f"PRAGMA {pragma}").fetchone()[0]


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Raise errors of SQLite that come of the disk or the file as errors with their remedy."""
    try:
        yield
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise StorageFull(f"no disk space left for {path.name}; free some") from error
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY):
            raise ResourceError(
                f"{path.name} can't be read or written ({error}); check the disk and the rights to its folder"
            ) from error
        raise
    except sqlite3.IntegrityError:
        raise
    except sqlite3.DatabaseError as error:
        raise InvalidRequest(
            f"{path} is damaged ({one_line(str(error), 120)}); put a backup in its place, or move it away with its -wal file to begin with "
            "no jobs"
        ) from error
