"""Wake coroutines when their job changes, in whatever thread that was."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from auralith.jobs.records import Job


class Bell:
    """Rings for who listens for a job; once it is closed, nobody should wait any more."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Event, tuple[str, asyncio.AbstractEventLoop]] = {}
        self.is_closed = False

    def changed(self, kind: str, job: Job) -> None:
        """Wake who listens for a job."""
        self._wake(job.id)

    def ring(self) -> None:
        """Wake all who listen."""
        self._wake(None)

    def _wake(self, job_id: str | None) -> None:
        for heard, (own, loop) in list(self._listeners.items()):
            if job_id in (None, own):
                with suppress(RuntimeError):  # its loop has ended
                    loop.call_soon_threadsafe(heard.set)

    def close(self) -> None:
        """Tell all who listen to end."""
        self.is_closed = True
        self.ring()

    @contextmanager
    def listening(self, job_id: str) -> Iterator[asyncio.Event]:
        """Give an event that every change of a job sets; clear it before looking, so that nothing is missed."""
        heard = asyncio.Event()
        self._listeners[heard] = job_id, asyncio.get_running_loop()
        try:
            yield heard
        finally:
            del self._listeners[heard]


async def wait_for(heard: asyncio.Event, seconds: float) -> bool:
    """Wait for a ring, so many seconds at most; return whether there was one."""
    try:
        await asyncio.wait_for(heard.wait(), seconds)
    except TimeoutError:
        return False
    return True
