"""Exports are traced with sizes that are symbols, which the checks of shapes do not know."""

from collections.abc import Iterator

import jaxtyping
import pytest


@pytest.fixture(scope="module", autouse=True)
def _untyped_tracing() -> Iterator[None]:
    """Let torch trace with sizes that are symbols, which are no instances of int."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
