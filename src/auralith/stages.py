"""Seconds that the stages of a generation take, for whoever asks: `with measured() as seconds: model.generate(request)`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

CPU = torch.device("cpu")
_clock: ContextVar["_Clock | None"] = ContextVar("clock", default=None)


class _Clock:
    """A clock that runs for one stage at a time, the innermost."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._name, self._since = "", time.perf_counter()

    def switch(self, name: str) -> str:
        """Run for another stage from now on; return the name of the one before."""
        now, before = time.perf_counter(), self._name
        if before:
            self.seconds[before] = self.seconds.get(before, 0.0) + now - self._since
        self._name, self._since = name, now
        return before


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Give a table of the seconds of each stage inside the block, without those of the stages within it."""
    clock = _Clock()
    token = _clock.set(clock)
    try:
        yield clock.seconds
    finally:
        _clock.reset(token)


@contextmanager
def stage(name: str, device: torch.device = CPU) -> Iterator[None]:
    """Measure the block as a stage, if anybody asks; a GPU is then waited for at both ends."""
    clock = _clock.get()
    if clock is None:
        yield
        return
    settle(device)
    outer = clock.switch(name)
    try:
        yield
    finally:
        settle(device)
        clock.switch(outer)


def settle(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
