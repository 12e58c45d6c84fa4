"""PostgreSQL, which servers on several machines share.

A connection that was lost is made anew before the next change begins, never within one: what was not committed is not
there. No message has the URL in it, which may hold a password.
"""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from auralith.errors import Field, InvalidRequest, ResourceError
from auralith.escaping import one_line
from auralith.extras import LazyModule
from auralith.jobs.database import Database, Row, StorageFull, Unreachable, storable
from auralith.jobs.schema import APPLICATION_ID, VERSION, create, upgrade

if TYPE_CHECKING:
    import psycopg
    from psycopg import conninfo, rows
else:
    psycopg = LazyModule("psycopg", "postgres")
    conninfo, rows = (LazyModule(f"psycopg.{name}", "postgres") for name in ("conninfo", "rows"))

EXAMPLE = "postgresql://USER@HOST/NAME"
CONNECT_SECONDS = 5
PAUSE_SECONDS = 1.0
"""After an attempt to connect that failed, nobody tries again for this long."""
SETTINGS = """
SET idle_in_transaction_session_timeout = '20s';
SET lock_timeout = '30s';
SET default_transaction_isolation = 'read committed'
"""
"""A server that stands still within a change must not hold up the others."""
OWN_TABLE = "CREATE TABLE auralith (version BIGINT NOT NULL, folder TEXT)"


class PostgresDatabase(Database):
    """The current schema of a database, with one connection for all threads of this process."""

    is_shared = True
    for_update = " FOR UPDATE"
    for_update_unlocked = " FOR UPDATE SKIP LOCKED"
    types = (
        ("INTEGER PRIMARY KEY AUTOINCREMENT", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
        (" INTEGER", " BIGINT"),
        (" REAL", " DOUBLE PRECISION"),
        (") STRICT", ")"),
    )

    def __init__(self, url: str) -> None:
        """Connect, and make the tables if the schema is empty.

        Raises:
            InvalidRequest: the URL is none, the tables are of another program or of a newer version, or can't be made.
            Unreachable: nobody answers there, or not to this user.
            MissingExtra: the library is not installed.
        """
        self._url = url
        self.place, self._secret = _read(url)
        self._lock = threading.RLock()
        self._is_changing = False
        self._down_until = 0.0
        self._connection = self._connect()
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the connection; what was committed stays."""
        with self._lock:
            self._connection.close()

    def execute(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return the rows of a statement."""
        with self._lock:
            if not self._is_changing:
                return self._first(query, values)
            return self._run(query, values)

    @contextmanager
    def write(self, *, durable: bool = True, alone: bool = False) -> Iterator[Database]:
        """Keep the changes of a block together, or none of them. Raises `Unreachable` where the connection is lost."""
        with self._lock:
            self._first("BEGIN" if durable else "BEGIN; SET LOCAL synchronous_commit = off")
            self._is_changing = True
            try:
                if alone:
                    self._run(f"SELECT pg_advisory_xact_lock({self._key(0)})")
                yield self
                self._run("COMMIT")
            except BaseException:
                with suppress(psycopg.Error):
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._is_changing = False

    def now(self) -> float:
        """Return the time of the database's machine."""
        query = "SELECT CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION) AS now"
        return self.execute(query)[0]["now"]

    @contextmanager
    def task(self, number: int) -> Iterator[bool]:
        """Tell whether no other process does a task now; this one does until the block ends."""
        key = self._key(number)
        is_mine = self.execute(f"SELECT pg_try_advisory_lock({key}) AS is_mine")[0]["is_mine"]
        try:
            yield is_mine
        finally:
            if is_mine:
                with suppress(ResourceError):  # without a connection, there is no lock either
                    self.execute(f"SELECT pg_advisory_unlock({key})")

    def folder(self) -> str | None:
        """Return the name of the folder that all servers share, if there is one yet."""
        return self.execute("SELECT folder FROM auralith")[0]["folder"]

    def set_folder(self, name: str) -> None:
        """Keep the name of the folder, within a change."""
        self.execute("UPDATE auralith SET folder = ?", (name,))

    def _key(self, number: int) -> str:
        return f"{APPLICATION_ID + number}, hashtext(current_schema())"

    def _first(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """Run what begins something: if the connection was lost meanwhile, on a new one."""
        if not self._connection.broken:
            try:
                return self._run(query, values)
            except Unreachable:
                if not self._connection.broken:
                    raise
        self._connection = self._connect()
        return self._run(query, values)

    def _run(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        stored: Any = [storable(value) for value in values] or None
        text: Any = query.replace("?", "%s")
        try:
            cursor = self._connection.execute(text, stored)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise self._named(error) from error

    def _connect(self) -> "psycopg.Connection[Any]":
        if time.monotonic() < self._down_until:
            raise Unreachable(f"{self.place} can't be reached; jobs wait until it can")
        given = conninfo.conninfo_to_dict(self._url)
        defaults: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS,
            "application_name": "auralith",
        }
        more = {name: value for name, value in defaults.items() if name not in given}
        try:
            made: Any = psycopg.connect(self._url, autocommit=True, **more)
            made.row_factory = rows.dict_row
            made.execute(SETTINGS)
        except psycopg.Error as error:
            self._down_until = time.monotonic() + PAUSE_SECONDS
            raise self._named(error) from None  # a chain would show what the URL is
        return made

    def _prepare(self) -> None:
        with self.write(alone=True):
            (facts,) = self.execute(
                "SELECT current_schema() AS name, current_setting('server_encoding') AS encoding"
            )
            if facts["name"] is None:
                raise InvalidRequest(
                    f"{self.place} has no schema that this user may use; give one with ?options=-csearch_path%3DNAME"
                )
            if facts["encoding"] != "UTF8":
                raise InvalidRequest(
                    f"{self.place} keeps text as {facts['encoding']}; create a database with ENCODING 'UTF8'"
                )
            names = {
                row["name"]
                for row in self.execute(
                    "SELECT relname AS name FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace "
                    "WHERE nspname = current_schema() AND relkind IN ('r', 'p')"
                )
            }
            if not names:
                create(self)
                self.execute(OWN_TABLE)
                self.execute("INSERT INTO auralith (version) VALUES (?)", (VERSION,))
                return
            self._upgrade(names)

    def _upgrade(self, names: set[str]) -> None:
        if "auralith" not in names:
            raise InvalidRequest(
                f"{self.place} holds tables of another program; give an empty database, or a schema with "
                "?options=-csearch_path%3DNAME"
            )
        (row,) = self.execute("SELECT version FROM auralith")
        if row["version"] > VERSION:
            raise InvalidRequest(
                f"{self.place} was written by a newer version of Auralith; update, or give another database"
            )
        if row["version"] < VERSION:
            upgrade(self, row["version"])
            self.execute("UPDATE auralith SET version = ?", (VERSION,))

    def _named(self, error: "psycopg.Error") -> Exception:
        """Return an error of the server or of the way to it as one with its remedy; a defect as it is."""
        text = one_line(str(error), 240)
        if self._secret:
            text = text.replace(self._secret, "…")
        if isinstance(error, psycopg.errors.DiskFull):
            return StorageFull(f"no disk space left for {self.place}; free some")
        if isinstance(error, psycopg.errors.InsufficientPrivilege):
            return InvalidRequest(
                f"{self.place} does not let this user work ({text}); grant it the rights to its schema"
            )
        if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
            return Unreachable(
                f"{self.place} can't be used ({text}); check that it runs, and the URL"
            )
        if isinstance(error, psycopg.errors.ReadOnlySqlTransaction):
            return Unreachable(f"{self.place} can be read only; give the URL of the primary")
        return error


def _read(url: str) -> tuple[str, str]:
    """Return how messages call the database of a URL, and its password."""
    if not url.startswith(("postgresql://", "postgres://")):
        raise InvalidRequest(
            Field("database"),
            f" is no URL of PostgreSQL; write it as {EXAMPLE}, or leave it out for a file in the folder",
        )
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise InvalidRequest(
            Field("database"),
            f" can't be read; write it as {EXAMPLE}, with %XX for what has a meaning in URLs",
        ) from None  # the reason quotes it
    where = str(parts.get("host") or "this machine")
    port = f":{parts['port']}" if "port" in parts else ""
    name = one_line(str(parts.get("dbname") or parts.get("user") or ""), 100)
    return f"PostgreSQL {name} at {one_line(where, 100)}{port}", str(parts.get("password") or "")
