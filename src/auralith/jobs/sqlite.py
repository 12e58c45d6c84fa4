"""One SQLite file, opened only if it is whole and ours. A commit is on the disk before it returns (WAL, synchronous=FULL)."""

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from auralith.errors import InvalidRequest, ResourceError
from auralith.escaping import one_line
from auralith.jobs.database import Database, Row, StorageFull, storable
from auralith.jobs.schema import APPLICATION_ID, VERSION, create, upgrade


class SqliteDatabase(Database):
    """A file that one process works with; the folder's lock sees to that.

    What is read goes through a connection of its own, unless it is read within a change: so nobody who reads waits for
    a change that waits for the disk. What was committed is seen by the next statement.
    """

    is_shared = False
    for_update = for_update_unlocked = ""  # a change has the whole file

    def __init__(self, path: Path) -> None:
        """Open a database, or make one where there is no file.

        Raises:
            InvalidRequest: the file is damaged, of another program, or of a newer version; it is left as it is.
            ResourceError: it can't be read or written.
        """
        self.path = path
        self._lock, self._reading = threading.RLock(), threading.Lock()
        self._writer: int | None = None
        with ExitStack() as stack, _named_errors(path):
            self._connection = stack.enter_context(closing(_connected(path)))
            self._reader = self._connection  # the only one yet
            self._prepare()
            self._reader = stack.enter_context(closing(_connected(path)))
            self._reader.execute("PRAGMA query_only=ON")
            self._open = stack.pop_all()

    def close(self) -> None:
        """Close the connection; what was committed stays."""
        with self._lock, self._reading:
            self._open.close()

    def execute(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return the rows of a statement."""
        mine = [storable(value) for value in values]
        if self._writer == threading.get_ident():
            with _named_errors(self.path):
                return self._connection.execute(query, mine).fetchall()
        with self._reading, _named_errors(self.path):
            return self._reader.execute(query, mine).fetchall()

    @contextmanager
    def write(self, *, durable: bool = True, alone: bool = False) -> Iterator[Database]:
        """Keep the changes of a block together, or none of them; every block is alone here."""
        with self._lock, _named_errors(self.path):
            self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            self._writer = threading.get_ident()
            try:
                yield self
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._writer = None

    def now(self) -> float:
        """Return the time of this machine."""
        return time.time()

    def _prepare(self) -> None:
        application, version = self._number("application_id"), self._number("user_version")
        is_empty = not self.execute("SELECT 1 AS one FROM sqlite_schema")
        if not is_empty and application != APPLICATION_ID:
            raise InvalidRequest(
                f"{self.path} is a database of another program; give another folder with --data"
            )
        if version > VERSION:
            raise InvalidRequest(
                f"{self.path} was written by a newer version of Auralith; update, or give another folder with --data"
            )
        problem = self.execute("PRAGMA quick_check(1)")[0]["quick_check"]
        if problem != "ok":
            raise sqlite3.DatabaseError(problem)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA foreign_keys=ON")
        if version == VERSION:
            return
        with self.write():
            create(self) if is_empty else upgrade(self, version)
            self.execute(f"PRAGMA application_id={APPLICATION_ID}")
            self.execute(f"PRAGMA user_version={VERSION}")

    def _number(self, pragma: str) -> int:
        return self.execute(f"PRAGMA {pragma}")[0][pragma]


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = _row
    return connection


def _row(cursor: sqlite3.Cursor, values: tuple[Any, ...]) -> Row:
    return {column[0]: value for column, value in zip(cursor.description, values, strict=True)}


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
