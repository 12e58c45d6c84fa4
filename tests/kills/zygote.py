"""Run commands of `auralith` in copies of a process that has imported the heavy libraries.

It is started by `python -m tests.kills.zygote`. The clock of dates stands still there, so that what is written twice is
the same. A request is a line of JSON on standard input. The answers are the process's id and, when it has ended, its wait
status. Imports take seconds and a fork milliseconds, so that hundreds of kills take minutes.
"""

import datetime
import gc
import importlib
import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

PRELOADED = (
    *("torch", "transformers", "accelerate", "safetensors.torch", "soundfile", "pyarrow.parquet"),
    *("matplotlib.figure", "matplotlib.backends.backend_agg", "torch.distributed.checkpoint"),
    *(
        "auralith.__main__",
        "auralith.cli.main",
        "auralith.pipeline",
        "auralith.training.finetune",
        "auralith.sets",
    ),
)
OPERATIONS = ("open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate")
"""What Python tells an audit hook before it touches a file or a folder."""


class StandingClock(datetime.datetime):
    """Dates of one moment."""

    __slots__ = ()

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "StandingClock":
        return cls(2026, 1, 1, tzinfo=tz)


def serve() -> None:
    """Answer requests until standard input ends; a copy leaves this function to run its command."""
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(request)
            return
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps(status), flush=True)


def _become(request: dict[str, Any]) -> None:
    """Make this process one that a shell would have started for the command."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["folder"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if request["most_bytes"]:
        most = (request["most_bytes"], resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    _count_operations(Path(request["folder"]), request["operation"], request["signal"])
    sys.argv = ["auralith", *request["arguments"]]


def _count_operations(folder: Path, last: int, number: int) -> None:
    """Signal this process before operation `last` on a file inside `folder`; 0 for never."""
    count, inside = 0, os.fspath(folder)

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in OPERATIONS or not _is_change(event, arguments):
            return
        if os.path.abspath(os.fsdecode(arguments[0])).startswith(inside):
            count += 1
            if count == last:
                os.kill(os.getpid(), number)

    if last:
        sys.addaudithook(hook)


def _is_change(event: str, arguments: tuple[Any, ...]) -> bool:
    if not isinstance(arguments[0], str | bytes | os.PathLike):
        return False
    return event != "open" or bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


if __name__ == "__main__":
    datetime.datetime = StandingClock  # before anybody takes it from there
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # or a copy would touch, and so copy, all of it when it ends
    serve()
    if len(sys.argv) > 1:
        from auralith.__main__ import main

        main()
