"""A process that makes sounds on one device: `python -m auralith.jobs.worker`.

JSON lines come in (settings first, then jobs, and cancellations) and go out (steps, sounds, and how a job ended). It is a
process of its own so that what kills it, such as native code or a lack of memory, costs one job one attempt. When its
input ends, so does it, whatever it is doing: the server is gone, and another one will give the job away again.
"""

import json
import logging
import os
import queue
import signal
import sys
import threading
from contextlib import suppress
from functools import partial
from typing import IO

import torch

from auralith.errors import AuralithError
from auralith.extras import quiet_libraries
from auralith.jobs.running import JobRunner
from auralith.jobs.tasks import Json, Task, WorkerSettings
from auralith.settings import build_settings


def main() -> None:
    """Work until the input ends."""
    for number in ("SIGINT", "SIGHUP"):  # of the terminal: the server decides
        with suppress(AttributeError, ValueError):
            signal.signal(getattr(signal, number), signal.SIG_IGN)
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints is no message
    logging.getLogger("auralith").setLevel(logging.ERROR)  # warnings may quote prompts
    quiet_libraries()
    lines = sys.stdin.buffer
    settings = build_settings(WorkerSettings, json.loads(lines.readline()))
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    send = partial(_write, out)
    runner = JobRunner(settings, send)
    tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()

    def listen() -> None:
        try:
            for line in lines:
                message = json.loads(line)
                if "cancel" in message:
                    runner.cancelled.add(message["cancel"])
                else:
                    tasks.put(Task.of_json(message))
        finally:
            os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
    if settings.preload:
        try:
            runner.preload()
        except AuralithError as error:
            send({"kind": "trouble", "detail": str(error)})
    send({"kind": "ready"})
    while True:
        runner.run(tasks.get())


def _write(out: IO[bytes], message: Json) -> None:
    try:
        out.write(json.dumps(message).encode() + b"\n")
    except OSError:  # the server is gone
        os._exit(0)


if __name__ == "__main__":
    main()
