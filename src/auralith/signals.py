"""Signals that ask a process to end: raised as an exception, or noted until a good moment has come."""

import logging
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from auralith.errors import Interrupted

log = logging.getLogger(__name__)
# a terminal that is closed hangs up; Windows has no such signal
TERMINATION = [s for s in signal.Signals if s.name in ("SIGTERM", "SIGHUP")]
Handler = Callable[[int, FrameType | None], None]


@contextmanager
def handled(numbers: Iterable[signal.Signals], handler: Handler) -> Iterator[None]:
    """Let `handler` take these signals within the block.

    What the process ignores stays ignored, such as the hang-up under nohup. Only the main thread can receive signals; in
    others this does nothing.
    """
    outside = {}
    if threading.current_thread() is threading.main_thread():
        # None: a handler that Python could not put back
        outside = {
            n: h for n in numbers if (h := signal.getsignal(n)) not in (signal.SIG_IGN, None)
        }
    for number in outside:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, former in outside.items():
            signal.signal(number, former)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise a signal as `Interrupted`, so that everything is cleaned up as after Ctrl-C."""
    raise Interrupted(number)


class Stop:
    """The wish to stop: the signal that came first, if one did."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    def interruption(self, message: str) -> Interrupted:
        """Return the exception that ends the work; a signal that only another process got counts as Ctrl-C here."""
        number, self.signal = self.signal or signal.SIGINT, None
        return Interrupted(number, message)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Take a signal: the first one is noted, the second one raised at once."""
        if self.signal is not None:
            self.signal = None
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            raise Interrupted(number)
        self.signal = signal.Signals(number)
        log.warning("stopping after this step; a second Ctrl-C stops at once and loses it")


@contextmanager
def noted_signals() -> Iterator[Stop]:
    """Give what notes the first signal to end within the block. One that nobody acted on is raised at its end."""
    stop = Stop()
    with handled([signal.SIGINT, *TERMINATION], stop.note):
        yield stop
    if stop.signal is not None:
        raise stop.interruption("")
