"""Other people's programs: started from a list of arguments, never by a shell, and ended when their time is up.

A program is the leader of a process group of its own, so that what it starts ends with it. Its output goes to a file,
since a pipe that some grandchild keeps open would never end.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from tempfile import TemporaryFile

from auralith.errors import InvalidRequest, ResourceError

MOST_BYTES = 16 << 20
"""Of an answer; what is longer is none."""


@dataclass(frozen=True)
class Ended:
    """How a program ended."""

    code: int | None
    """Exit status, negative for a signal; None: its time was up."""
    output: bytes
    """What it wrote to standard output, `MOST_BYTES` at most."""


def find_program(name: str, remedy: str) -> str:
    """The path of a program, given by a path or by a name in PATH. Raises `InvalidRequest` if there is none."""
    found = shutil.which(name)
    if found is None:
        raise InvalidRequest(f"there is no program '{name}'; {remedy}")
    return os.path.abspath(found)


def run_program(arguments: Sequence[str], timeout_s: float) -> Ended:
    """Run a program to its end, or to the end of `timeout_s`; its whole process group is then killed.

    Raises:
        ResourceError: it can't be started.
    """
    with TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise ResourceError(f"{arguments[0]} can't be started ({error})") from error
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
        output.seek(0)
        return Ended(code, output.read(MOST_BYTES))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the group of a program that still runs (its time is up, or we are stopped)."""
    if process.returncode is None:
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
