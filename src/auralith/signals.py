"""Signals that ask a process to end: raised as an exception, or noted until a good moment has come."""

import logging
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from auralith.errors import Interrupted

log = logging.getLogger(__name__)
# Ctrl-C, a polite kill, a terminal that is closed; Windows has not all of them
ENDING = [s for s in signal.Signals if s.name in ("SIGINT", "SIGTERM", "SIGHUP")]
_RETRY_SECONDS = 0.02
"""From a signal that could not be raised, or whose exception was dropped, to the next attempt."""
Handler = Callable[[int, FrameType | None], None]


def handle(numbers: Iterable[signal.Signals], handler: Handler) -> dict[signal.Signals, Any]:
    """Let `handler` take these signals from now on, and return what took them before.

    What the process ignores stays ignored, such as the hang-up under nohup. Only the main thread can receive signals; in
    others this does nothing.
    """
    former = {}
    if threading.current_thread() is threading.main_thread():
        # None: a handler that Python could not put back
        former = {n: h for n in numbers if (h := signal.getsignal(n)) not in (signal.SIG_IGN, None)}
    for number in former:
        signal.signal(number, handler)
    return former


@contextmanager
def handled(numbers: Iterable[signal.Signals], handler: Handler) -> Iterator[None]:
    """Let `handler` take these signals within the block, as `handle` does."""
    former = handle(numbers, handler)
    try:
        yield
    finally:
        for number, outside in former.items():
            signal.signal(number, outside)


@contextmanager
def raised_signals() -> Iterator[None]:
    """Raise the signals that ask the process to end as `Interrupted`, and let nothing else end the block after one.

    An exception that comes at any moment gets lost: native code and `__del__` drop it, Python makes another error of it.
    One that is dropped is raised again at once, and another error becomes `Interrupted` at the end of the block.
    """
    raiser = _Raiser()
    with handled(ENDING, raiser.take), _unraisable_kept_quiet():
        sys.meta_path.insert(0, raiser)
        try:
            yield
        finally:
            raiser.is_active = False
            sys.meta_path.remove(raiser)
            if raiser.signal is not None and not isinstance(sys.exception(), KeyboardInterrupt):
                raise Interrupted(raiser.signal)


class _Raiser:
    """Raises a signal as `Interrupted` until that leaves the block; also a finder of modules, which finds none."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.is_active = True
        self._error: weakref.ref[Interrupted] | None = None

    def take(self, number: int, frame: FrameType | None) -> None:
        """Take a signal: raise it, unless a module is being imported."""
        self.signal = signal.Signals(number)
        if _is_importing(frame):
            # C++ in the middle of an import may abort the process over an exception, but not over a failed import
            self._retry_soon()
        else:
            self._raise(self.signal)

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Raise a signal that came within an import where the next module is looked for."""
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and self.signal is not None and not self._is_on_its_way():
            self._raise(self.signal)

    def _raise(self, number: signal.Signals) -> NoReturn:
        error = Interrupted(number)
        self._error = weakref.ref(error, self._retry_soon)
        try:
            raise error
        finally:
            del error  # or the frame in its traceback would keep it for ever

    def _retry_soon(self, _: object = None) -> None:
        """Send the signal once more after a moment: here, what it raises could be dropped again."""
        if self.is_active:
            timer = threading.Timer(_RETRY_SECONDS, self._retry)
            timer.daemon = True
            timer.start()

    def _retry(self) -> None:
        if self.is_active and self.signal is not None and not self._is_on_its_way():
            if hasattr(signal, "pthread_kill"):  # to the main thread, or it would sleep on
                signal.pthread_kill(threading.main_thread().ident or 0, self.signal)
            else:
                signal.raise_signal(self.signal)

    def _is_on_its_way(self) -> bool:
        return self._error is not None and self._error() is not None


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


@contextmanager
def _unraisable_kept_quiet() -> Iterator[None]:
    """Print no traceback of an `Interrupted` that came where nothing can be raised; it is raised again."""
    former = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if not isinstance(unraisable.exc_value, Interrupted):
            former(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = former


def leave(code: int) -> NoReturn:
    """End the process with an exit code that no signal changes any more.

    One that was interrupted leaves at once: threads of native libraries that still compute would abort it while Python
    ends.
    """
    for number in ENDING:  # Python would hand them back to the system, which kills
        signal.signal(number, signal.SIG_IGN)
    if code <= 128:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # closed, or nobody reads it any more
            stream.flush()
    os._exit(code)


def leave_at_once(number: int, frame: FrameType | None) -> NoReturn:
    """End the process on a signal that comes before there is anything to clean up."""
    os.write(2, b"auralith: interrupted\n")
    os._exit(128 + number)


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
            raise Interrupted(number)
        self.signal = signal.Signals(number)
        log.warning("stopping after this step; a second Ctrl-C stops at once and loses it")


@contextmanager
def noted_signals() -> Iterator[Stop]:
    """Give what notes the first signal to end within the block. One that nobody acted on is raised at its end."""
    stop = Stop()
    with handled(ENDING, stop.note):
        yield stop
    if stop.signal is not None:
        raise stop.interruption("")
