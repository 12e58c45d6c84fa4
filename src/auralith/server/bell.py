"""Wake coroutines when a job changes, in whatever thread that was."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Bell:
    """Rings for all who listen; once it is closed, nobody should wait any more."""

    def __init__(self) -> None:
        self._listeners: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}
        self.is_closed = False

    def ring(self, *_: object) -> None:
        """Wake all who listen."""
        for heard, loop in list(self._listeners.items()):
            with suppress(RuntimeError):  # its loop has ended
                loop.call_soon_threadsafe(heard.set)

    def close(self) -> None:
        """Tell all who listen to end."""
        self.is_closed = True
        self.ring()

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """Give an event that every ring sets; clear it before looking, so that nothing is missed."""
        heard = asyncio.Event()
        self._listeners[heard] = asyncio.get_running_loop()
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
