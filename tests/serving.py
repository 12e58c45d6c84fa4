"""A server in this process: its application called directly, or on a real socket."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from auralith.jobs.tasks import ModelPlace
from auralith.server.app import make_app
from auralith.server.guard import Rules, allowed_hosts
from auralith.server.protocol import Protocol
from auralith.server.service import Service, ServiceSettings
from tests.conftest import GOLDEN

TINY = str(GOLDEN / "sao_tiny")
MODEL = ModelPlace("tiny", TINY)
QUICK: dict[str, Any] = {"prompt": "a drum", "seconds": 0.3, "window": "fit", "steps": 2}
Answer = httpx.Response
RULES = Rules(allowed_hosts("127.0.0.1", ()), body_bytes=100_000, upload_bytes=3_000_000)


def settings(folder: Path, **options: Any) -> ServiceSettings:
    """Settings of a service of the tiny model."""
    return ServiceSettings(folder, (MODEL,), ("cpu",), "float32", **options)


class Client:
    """Calls a service's application."""

    def __init__(
        self,
        service: Service,
        rules: Rules = RULES,
        sync: float = 60.0,
        review: Path | None = None,
        **headers: str,
    ) -> None:
        self.service, self.app = service, make_app(service, rules, sync, review)
        self.headers = headers

    def __call__(self, method: str, path: str, **options: Any) -> Answer:
        """Return the answer to a request."""

        async def call() -> Answer:
            transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://127.0.0.1", headers=self.headers
            ) as client:
                return await client.request(method, path, timeout=60, **options)

        return asyncio.run(call())

    def make(self, **body: Any) -> Answer:
        """Return the answer for a job, once it has ended."""
        headers = {"Prefer": "wait=60"}
        return self("POST", "/v1/audio/generations", json=QUICK | body, headers=headers)


@contextmanager
def listening(app: Any) -> Iterator[str]:
    """Give the URL of an application that listens."""
    bound = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, lifespan="off", log_level="error", http=Protocol, ws="none")
    )
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def serving(folder: Path, rules: Rules = RULES, **options: Any) -> Iterator[str]:
    """Give the URL of a server that makes jobs."""
    service = Service(settings(folder, **options))
    service.start()
    try:
        with listening(make_app(service, rules)) as url:
            yield url
            service.bell.close()  # ends the streams
    finally:
        service.stop(0.0)
