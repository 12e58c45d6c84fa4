"""A look at whether other processes have changed a job, several times a second."""

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from auralith.errors import ResourceError
from auralith.jobs.database import Database

LOOK_SECONDS = 0.2


class Watch:
    """A thread that calls all who watch when there are new events, of this process or of another one."""

    def __init__(self, db: Database, watchers: Sequence[Callable[[], None]]) -> None:
        self._db, self._watchers = db, watchers
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        last = 0
        while not self._is_over.wait(LOOK_SECONDS):
            with suppress(ResourceError):  # it can't be reached: it is looked at again
                newest = self._newest()
                if newest != last:
                    for watcher in self._watchers:
                        watcher()
                last = newest

    def _newest(self) -> int:
        return self._db.execute("SELECT coalesce(max(number), 0) AS number FROM events")[0][
            "number"
        ]
