"""Checks that every request passes before its route: host, origin, key and size; and what every answer carries."""

import hashlib
import hmac
import ipaddress
import json
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from auralith.files import size_text
from auralith.jobs.problems import make_problem
from auralith.jobs.records import TooLarge

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
OPEN = ("/healthz", "/readyz")
"""Paths for probes, which know neither name nor key."""
PAGES = ("/", "/review")
FILES = "/studio/"
"""The pages and the beginning of their files' paths: they hold no secret, and are read before a key can be given."""
UPLOADS = "/v1/assets"
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
)


@dataclass(frozen=True)
class Rules:
    """Rules for requests."""

    hosts: frozenset[str]
    """Names that the Host header may have, without a port."""
    any_address: bool = False
    """Take any IP address as a host too: a page of someone else reaches a server by a name only."""
    keys: tuple[str, ...] = ()
    """API keys, of which a request needs one; none: no key is needed."""
    body_bytes: int = 2**20
    upload_bytes: int = 64 * 2**20


class Guard:
    """An ASGI application around another one."""

    def __init__(self, app: Asgi, rules: Rules, on_refusal: Callable[[str], None]) -> None:
        self._app, self._rules, self._on_refusal = app, rules, on_refusal
        self._keys = [hashlib.sha256(key.encode()).digest() for key in rules.keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fixed = (*HEADERS, (b"x-request-id", secrets.token_hex(8).encode()))

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                more = [pair for pair in fixed if pair[0] not in names]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            self._on_refusal(refusal["type"].rpartition(":")[2])
            await _send_problem(answer, refusal)
            return
        await self._app(scope, self._limited(scope["path"], receive), answer)

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> dict[str, Any] | None:
        path = scope["path"]
        if path in OPEN:
            return None
        host = headers.get(b"host", "")
        if not self._knows(host):
            return make_problem(
                403,
                "host",
                "the Host header names another server; use its own name, or --allow-host",
            )
        origin = headers.get(b"origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return make_problem(403, "origin", "a page of another origin can't use this server")
        owner = self._owner(headers)
        if owner is None and not (path in PAGES or path.startswith(FILES)):
            return make_problem(401, "key", "an API key is needed; send Authorization: Bearer KEY")
        scope["auralith.owner"] = owner or ""
        length, most = headers.get(b"content-length", "0"), self._most(path)
        if length.isdigit() and int(length[:20]) > most:
            return make_problem(413, "too-large", _too_large(most))
        return None

    def _knows(self, host: str) -> bool:
        name = host.partition("]")[0] + "]" if host.startswith("[") else host.partition(":")[0]
        if name.lower() in self._rules.hosts:
            return True
        return self._rules.any_address and _is_address(name.strip("[]"))

    def _owner(self, headers: dict[bytes, str]) -> str | None:
        """Return who asks, as a short hash of the key; None where the key is wrong. Every key is compared."""
        if not self._keys:
            return ""
        scheme, _, token = headers.get(b"authorization", "").partition(" ")
        given = token.strip() if scheme.lower() == "bearer" else headers.get(b"x-api-key", "")
        digest = hashlib.sha256(given.encode()).digest()
        found = [hmac.compare_digest(digest, key) for key in self._keys]
        return digest.hex()[:16] if any(found) else None

    def _most(self, path: str) -> int:
        return self._rules.upload_bytes if path == UPLOADS else self._rules.body_bytes

    def _limited(self, path: str, receive: Receive) -> Receive:
        """Return what receives a body, and raises `TooLarge` where it is larger than it said."""
        most, size = self._most(path), 0

        async def limited() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > most:
                raise TooLarge(_too_large(most))
            return message

        return limited


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


def _too_large(most: int) -> str:
    return f"the body is larger than {size_text(most)}; send less"


async def _send_problem(send: Send, found: dict[str, Any]) -> None:
    body = json.dumps(found).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
    ]
    if found["status"] == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": found["status"], "headers": headers})
    await send({"type": "http.response.body", "body": body})
