"""HTTP/1.1 as uvicorn speaks it with h11, for clients that are slow, or too many."""

import asyncio
import json
from http import HTTPStatus
from typing import Any

from auralith.extras import require
from auralith.jobs.problems import make_problem

require("uvicorn", "serve")

import h11  # noqa: E402 (uvicorn needs it)
from uvicorn.protocols.http.h11_impl import H11Protocol  # noqa: E402

HEADER_SECONDS = 10.0
"""Time in which the head of a request has to arrive, once the connection is open or its first byte is there."""
MOST_CONNECTIONS = 768
"""Most connections at a time: systems often let a process have 1,024 files."""


class Protocol(H11Protocol):
    """A connection that is closed if no request arrives in time, or if there are too many others."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Take a connection, or refuse it."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            self._refuse(503, "overloaded", "too many clients are connected; come again later")
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Read what came."""
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Wait for the rest of a request's head, or for no more."""
        if self.conn.their_state is not h11.IDLE or self.transport.is_closing():
            self._unwatch()
        elif self._late is None:
            self._late = self.loop.call_later(HEADER_SECONDS, self._give_up)

    def _unwatch(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        if self.conn.their_state is h11.IDLE:
            line = f"no request arrived within {HEADER_SECONDS:g} s; send it again"
            self._refuse(408, "too-slow", line)

    def _refuse(self, status: int, kind: str, line: str) -> None:
        body = json.dumps(make_problem(status, kind, line))
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\nretry-after: 1\r\nconnection: close\r\n\r\n"
        )
        self.transport.write((head + body).encode())
        self.transport.close()
