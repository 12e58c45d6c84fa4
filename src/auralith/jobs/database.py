"""Interface of a database of jobs: rows, changes that are kept together, a clock.

`Database.write` is the one way to change anything. The SQL is what SQLite and PostgreSQL share; where a row must not
change until a change of it is done, a query ends with `for_update`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, ClassVar

from auralith.errors import ResourceError

Row = dict[str, Any]


class StorageFull(ResourceError):
    """The disk is full: what was asked for was not kept, and what is kept is whole."""


class Unreachable(ResourceError):
    """The database does not answer: nothing that was accepted is lost, and nothing is done until it answers again."""


class Database(ABC):
    """One connection, shared by the threads of one process."""

    is_shared: ClassVar[bool]
    """True where other processes work with it at the same time."""
    for_update: ClassVar[str]
    """End of a query whose rows nobody else changes before the change around it is kept."""
    for_update_unlocked: ClassVar[str]
    """The same for the rows that nobody else is about to change; the others are left out."""

    types: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs of words in the statements that make tables: SQLite's, and this database's for it."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection; what was committed stays."""

    @abstractmethod
    def execute(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """Return the rows of a statement; "?" stands for a value. What changes something belongs into `write`."""

    @abstractmethod
    def write(
        self, *, durable: bool = True, alone: bool = False
    ) -> AbstractContextManager["Database"]:
        """Keep the changes of a block together at its end, or none of them.

        What is not durable survives the end of the process, but perhaps not a power failure; it costs no waiting for the
        disk. No two blocks that are `alone` run at the same time, in whatever process. Raises `StorageFull` where the
        disk is.
        """

    @abstractmethod
    def now(self) -> float:
        """Return the seconds since 1970 by the clock that all who share the database go by."""

    @contextmanager
    def task(self, number: int) -> Iterator[bool]:
        """Tell whether the caller is the one process that does a task now, numbered from 1."""
        yield True


def storable(value: Any) -> Any:
    """Return a value as every database takes it: text without NUL and lone surrogates."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
    return value
