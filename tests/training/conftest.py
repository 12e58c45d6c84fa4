"""Fixtures of the tests of training."""

import pytest

from auralith.training.state import Journal


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the curves: they are most of a short run's time, and one test of fine-tuning looks at them."""
    monkeypatch.setattr(Journal, "draw", lambda self: False)
