"""Checks that every request passes before its route: host, origin, key, size and pace; and what every answer carries."""

import asyncio
import ipaddress
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from auralith.files import size_text
from auralith.jobs.problems import make_problem
from auralith.jobs.records import TooLarge, TooSlow
from auralith.server.keys import ApiKey, Caller, KeyRing

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
OPEN = ("/healthz", "/readyz")
"""Paths for probes, which know neither name nor key."""
PAGES = ("/", "/review", "/docs")
FILES = "/studio/"
"""The pages and the beginning of their files' paths: they hold no secret, and are read before a key can be given."""
UPLOADS = "/v1/assets"
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)
MOST_HEAD_BYTES = 32 * 2**10
BUSY_SECONDS = 1
"""Time after which a client is told to come again where there are too many."""


@dataclass(frozen=True)
class Rules:
    """Rules for requests."""

    hosts: frozenset[str]
    """Names that the Host header may have, without a port."""
    any_address: bool = False
    """Take any IP address as a host too: a page of someone else reaches a server by a name only."""
    keys: tuple[ApiKey, ...] = ()
    """API keys, of which a request needs one; none: no key is needed."""
    body_bytes: int = 2**20
    upload_bytes: int = 64 * 2**20
    body_seconds: float = 30.0
    """Time in which a body that is no upload has to arrive, and longest pause within an upload."""
    send_seconds: float = 60.0
    """Time in which a client has to take a piece of an answer."""
    requests: int = 512
    """Most requests that are answered at a time."""


class _Refusal(Exception):
    """A request is refused with a problem."""

    def __init__(self, problem: dict[str, Any], **headers: str) -> None:
        super().__init__(problem["detail"])
        self.problem = problem
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Guard:
    """An ASGI application around another one."""

    def __init__(
        self,
        app: Asgi,
        rules: Rules,
        on_refusal: Callable[[str], None],
        on_answer: Callable[[int, float], None],
    ) -> None:
        """`on_refusal` gets a reason; `on_answer` a status, and the seconds from a request's head to that of its answer."""
        self._app, self._rules = app, rules
        self._on_refusal, self._on_answer = on_refusal, on_answer
        self._keys = KeyRing(rules.keys)
        self._answering = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fixed = (*HEADERS, (b"x-request-id", secrets.token_hex(8).encode()))
        begin = time.perf_counter()

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                more = [pair for pair in fixed if pair[0] not in names]
                message["headers"] = [*message["headers"], *more]
                self._on_answer(message["status"], time.perf_counter() - begin)
            await asyncio.wait_for(send(message), self._rules.send_seconds)

        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        self._answering += 1
        try:
            self._check(scope, headers)
            await self._app(scope, self._limited(scope["path"], receive), answer)
        except _Refusal as refusal:
            self._on_refusal(refusal.problem["type"].rpartition(":")[2])
            await _send_problem(answer, refusal)
        except TimeoutError:  # the client takes nothing; what is cut off shows it
            return
        finally:
            self._answering -= 1

    def _check(self, scope: Scope, headers: dict[bytes, str]) -> None:
        """Raise `_Refusal`, or note who asks in the scope."""
        path = scope["path"]
        scope["auralith.caller"] = Caller()
        _check_head(scope, headers)
        if path in OPEN:
            return
        if self._answering > self._rules.requests:
            line = f"more than {self._rules.requests} requests are being answered; ask again later"
            raise _Refusal(make_problem(503, "overloaded", line), retry_after=str(BUSY_SECONDS))
        host = headers.get(b"host", "")
        if not self._knows(host):
            line = "the Host header names another server; use its own name, or --allow-host"
            raise _Refusal(make_problem(403, "host", line))
        origin = headers.get(b"origin")
        if origin is not None and _netloc(origin) != host.lower():
            raise _Refusal(
                make_problem(403, "origin", "a page of another origin can't use this server")
            )
        if not (path in PAGES or path.startswith(FILES)):
            scope["auralith.caller"] = self._caller(headers)
        length, most = headers.get(b"content-length", "0"), self._most(path)
        if length.isdigit() and int(length[:20]) > most:
            raise _Refusal(make_problem(413, "too-large", _too_large(most)))

    def _knows(self, host: str) -> bool:
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        if name.lower() in self._rules.hosts:
            return True
        return self._rules.any_address and _is_address(name.strip("[]"))

    def _caller(self, headers: dict[bytes, str]) -> Caller:
        """Return who asks; raise `_Refusal` where the key is missing, wrong, expired, or used too often."""
        if not self._keys:
            return Caller()
        scheme, _, token = headers.get(b"authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get(b"x-api-key", "")
        found = self._keys.find(given)
        if found is None:
            line = "an API key is needed; send Authorization: Bearer KEY"
            raise _Refusal(make_problem(401, "key", line), www_authenticate="Bearer")
        key, bucket = found
        if key.has_expired(datetime.now(UTC)):
            line = f"this API key expired on {key.expires}; ask for a new one"
            raise _Refusal(
                make_problem(401, "key-expired", line),
                www_authenticate='Bearer error="invalid_token"',
            )
        wait = bucket.take()
        if wait:
            line = f"this API key may ask {key.per_minute} times a minute; ask again in {wait} s"
            raise _Refusal(make_problem(429, "rate-limited", line), retry_after=str(wait))
        return Caller(key.name, key)

    def _most(self, path: str) -> int:
        return self._rules.upload_bytes if path == UPLOADS else self._rules.body_bytes

    def _limited(self, path: str, receive: Receive) -> Receive:
        """Return what receives a body, and raises where it is larger than it said (`TooLarge`) or too slow (`TooSlow`)."""
        most, size, is_whole = self._most(path), 0, False
        seconds, loop = self._rules.body_seconds, asyncio.get_running_loop()
        end = loop.time() + seconds

        async def limited() -> Message:
            nonlocal size, is_whole
            if is_whole:  # what comes now is that the client has gone
                return await receive()
            left = seconds if path == UPLOADS else end - loop.time()
            try:
                message = await asyncio.wait_for(receive(), max(0.0, left))
            except TimeoutError as error:
                raise TooSlow(
                    f"the body did not arrive within {seconds:g} s; send it again"
                ) from error
            size += len(message.get("body", b""))
            is_whole = not message.get("more_body", False)
            if size > most:
                raise TooLarge(_too_large(most))
            return message

        return limited


def _check_head(scope: Scope, headers: dict[bytes, str]) -> None:
    """Raise `_Refusal` for a head that is large, or whose body two programs may take to be of different lengths."""
    size = len(scope.get("raw_path") or b"") + len(scope.get("query_string") or b"")
    size += sum(len(name) + len(value) for name, value in scope["headers"])
    if size > MOST_HEAD_BYTES:
        line = f"path and headers are larger than {size_text(MOST_HEAD_BYTES)}; send less"
        raise _Refusal(make_problem(431, "too-large", line))
    if b"transfer-encoding" in headers and b"content-length" in headers:
        line = "Content-Length and Transfer-Encoding say different lengths; send one of them"
        raise _Refusal(make_problem(400, "malformed-head", line), connection="close")


def allowed_hosts(host: str, more: Iterable[str]) -> frozenset[str]:
    """Return the names that a server bound to `host` goes by."""
    own = f"[{host}]" if ":" in host else host
    return frozenset({"localhost", "127.0.0.1", "[::1]", own.lower(), *map(str.lower, more)})


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches what is bound to a host."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _netloc(origin: str) -> str | None:
    """Return host and port of an origin; None for what is none, as "null"."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _too_large(most: int) -> str:
    return f"the body is larger than {size_text(most)}; send less"


async def _send_problem(send: Send, refusal: _Refusal) -> None:
    body = json.dumps(refusal.problem).encode()
    headers = {
        "content-type": "application/problem+json",
        "content-length": str(len(body)),
        **refusal.headers,
    }
    await send(
        {
            "type": "http.response.start",
            "status": refusal.problem["status"],
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
