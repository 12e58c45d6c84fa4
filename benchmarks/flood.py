"""Many clients in one process, for `benchmarks.serve`: python -m benchmarks.flood URL CLIENTS SECONDS BODY.

They ask once a second each on average, independently of each other, over connections of their own that stay open, and what
they got is printed as JSON. HTTP is spoken with asyncio alone, since a client library takes longer than the server does.
"""

import asyncio
import json
import random
import sys
import time
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

PATH = "/v1/audio/generations"


@dataclass
class Flood:
    """Answers that the clients got."""

    refused: list[float] = field(default_factory=list)
    """Seconds of each refusal, from the first byte sent to the last one received."""
    accepted: list[str] = field(default_factory=list)
    """Ids of jobs."""
    late: list[float] = field(default_factory=list)
    """Seconds by which requests left later than they should have: what the clients were short of."""


async def client(number: int, url: str, end: float, body: dict[str, Any], flood: Flood) -> None:
    """Ask until the end, under a new idempotency key each time, as `auralith.client` does."""
    draw, place = random.Random(number), urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    due = time.perf_counter() + draw.random()
    for turn in range(sys.maxsize):
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        begin = time.perf_counter()
        if begin > end:
            break
        flood.late.append(begin - due)
        data = json.dumps(body | {"seed": 1_000 * number + turn}).encode()
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Type: application/json\r\n"
            f"Idempotency-Key: {number}-{turn}\r\nContent-Length: {len(data)}\r\n\r\n"
        )
        writer.write(head.encode() + data)
        status, answer = await answered(reader)
        spent = time.perf_counter() - begin
        if status == 429:
            flood.refused.append(spent)
        else:
            assert status == 202, answer
            flood.accepted.append(json.loads(answer)["id"])
        due = max(due + draw.uniform(0.5, 1.5), time.perf_counter())
    writer.close()


async def answered(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Return status and body of the next answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    return int(head.split()[1]), await reader.readexactly(length)


async def flooded(url: str, clients: int, seconds: float, body: dict[str, Any]) -> Flood:
    """Return what so many clients got in so many seconds."""
    flood, end = Flood(), time.perf_counter() + seconds
    await asyncio.gather(*(client(number, url, end, body, flood) for number in range(clients)))
    return flood


if __name__ == "__main__":
    url, clients, seconds, body = sys.argv[1:]
    found = asyncio.run(flooded(url, int(clients), float(seconds), json.loads(body)))
    print(json.dumps(asdict(found)))
