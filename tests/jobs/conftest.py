"""Stores on each kind of database."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from auralith.jobs.records import Limits
from auralith.jobs.store import JobStore
from tests.jobs.stores import Clock

OpenStore = Callable[..., JobStore]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> str | None:
    """The database of a store: a file in its folder, or one of PostgreSQL."""
    return None if request.param == "sqlite" else request.getfixturevalue("schema_url")


@pytest.fixture
def open_store(tmp_path: Path, clock: Clock, database: str | None) -> Iterator[OpenStore]:
    """What opens a store, and again once it is closed."""
    with ExitStack() as stack:

        def open_store(limits: Limits | None = None) -> JobStore:
            store = JobStore(tmp_path / "data", limits, database=database, clock=clock)
            stack.callback(store.close)
            return store

        yield open_store


@pytest.fixture
def store(open_store: OpenStore) -> JobStore:
    return open_store()
