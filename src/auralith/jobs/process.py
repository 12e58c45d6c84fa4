"""A worker process as its lane sees it: started, told, listened to, and ended."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from auralith.jobs.tasks import Json, WorkerSettings

PACKAGES = Path(__file__).parents[2]


def module_command(module: str) -> tuple[list[str], str]:
    """Return what runs a module of this package, and the value of PYTHONPATH by which it is found.

    It finds this package, and nothing that happens to lie where the server was started.
    """
    places = [str(PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
    return [sys.executable, "-P", "-m", module], os.pathsep.join(places)


class WorkerProcess:
    """A worker process, and the lines to and from it."""

    def __init__(self, settings: WorkerSettings) -> None:
        command, packages = module_command("auralith.jobs.worker")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": packages},
        )
        self._messages: queue.SimpleQueue[Json | None] = queue.SimpleQueue()
        self._heard = time.monotonic()
        self.models: list[Json] = []
        """The models it has loaded, as `ModelCache.summary` gives them."""
        self.is_ready = False
        """True once it has loaded what it should before its first job."""
        self.trouble: str | None = None
        """Reason for which models could not be loaded before the first job."""
        threading.Thread(target=self._listen, daemon=True).start()
        self.send(asdict(settings))

    def send(self, message: Json) -> None:
        """Send a message; one that is dead gets none, and says so when it is listened to."""
        assert self._process.stdin is not None
        self._heard = time.monotonic()
        with suppress(OSError):
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def receive(self, seconds: float) -> Json | None:
        """Return the next message, or None if there is none for a while. Raise `EOFError` once the process has ended."""
        try:
            message = self._messages.get(timeout=seconds)
        except queue.Empty:
            return None
        if message is None:
            raise EOFError
        return message

    @property
    def silent_seconds(self) -> float:
        """Return for how long it has said nothing since it was told something."""
        return time.monotonic() - self._heard

    def stop(self) -> int:
        """End the process, if it has not, and return its exit code."""
        self._process.kill()
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        return code

    def end_code(self) -> int:
        """Return the exit code of a process that closed its output."""
        try:
            return self._process.wait(5)
        except subprocess.TimeoutExpired:
            return self.stop()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with suppress(ValueError, OSError):  # closed by `stop`, or cut off within a line
            for line in self._process.stdout:
                message = json.loads(line)
                self._heard = time.monotonic()
                match message["kind"]:
                    case "models":
                        self.models = message["models"]
                    case "ready":
                        self.is_ready = True
                    case "trouble":
                        self.trouble = message["detail"]
                    case _:
                        self._messages.put(message)
        self._messages.put(None)
