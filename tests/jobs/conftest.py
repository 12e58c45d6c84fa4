"""Stores on each kind of database."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from auralith.jobs.store import JobStore
from tests.jobs.stores import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[JobStore]:
    store = JobStore(tmp_path, clock=clock)
    yield store
    store.close()
