"""Signals that ask a process to end do end it, wherever they come."""

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from auralith.errors import Interrupted
from auralith.signals import ENDING, raised_signals

pytestmark = pytest.mark.usefixtures("heeded_signals")


def in_a_finalizer(number: int) -> None:
    class Dropping:
        def __del__(self) -> None:
            signal.raise_signal(number)

    Dropping()


def in_native_code(number: int) -> None:
    ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(number))()


def where_all_is_caught(number: int) -> None:
    with suppress(BaseException):
        signal.raise_signal(number)


def where_it_becomes_another_error(number: int) -> None:
    try:
        signal.raise_signal(number)
    except BaseException as error:
        raise RuntimeError("something else") from error


def lose_and_go_on(lose: Callable[[int], None], number: int) -> None:
    lose(number)
    time.sleep(60)
    pytest.fail("the signal was lost")


PLACES = [in_a_finalizer, in_native_code, where_all_is_caught, where_it_becomes_another_error]


@pytest.mark.parametrize("number", ENDING)
@pytest.mark.parametrize("lose", PLACES)
def test_a_signal_that_is_lost_ends_the_block_all_the_same(
    lose: Callable[[int], None], number: int, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Interrupted) as caught, raised_signals():
        lose_and_go_on(lose, number)
    assert caught.value.signal_number == number
    assert "Traceback" not in capfd.readouterr().err


def test_a_signal_within_an_import_is_raised_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where C++ has called the code in between, an exception ends the process."""
    monkeypatch.syspath_prepend(tmp_path)
    reached = tmp_path / "reached"
    (tmp_path / "interrupted_import.py").write_text(
        f"import pathlib, signal\nsignal.raise_signal({signal.SIGINT.value})\n"
        f"pathlib.Path({str(reached)!r}).touch()\nimport interrupted_later\n"
    )
    (tmp_path / "interrupted_later.py").write_text("import time\ntime.sleep(60)\n")
    with pytest.raises(Interrupted), raised_signals():
        __import__("interrupted_import")
    assert reached.exists() and "interrupted_later" not in sys.modules


def test_handlers_and_hooks_are_put_back() -> None:
    def state() -> object:
        return [signal.getsignal(n) for n in ENDING], list(sys.meta_path), sys.unraisablehook

    before = state()
    with pytest.raises(Interrupted), raised_signals():
        signal.raise_signal(signal.SIGINT)
    assert state() == before


@pytest.mark.parametrize(
    ("code", "status", "line"),
    [
        ("handle(ENDING, leave_at_once); signal.raise_signal(15)", 143, "auralith: interrupted\n"),
        ("leave(130)", 130, ""),
        ("import atexit; atexit.register(signal.raise_signal, 2); leave(0)", 0, ""),
    ],
    ids=["before it began", "interrupted", "when all is done"],
)
def test_a_process_leaves_with_its_exit_code(code: str, status: int, line: str) -> None:
    program = f"import signal; from auralith.signals import *; {code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (status, line)
