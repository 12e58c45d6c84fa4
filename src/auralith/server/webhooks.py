"""Webhooks: a URL of those that the server allows is told when a job has ended, signed as Standard Webhooks say.

A request that names a URL makes this machine send something there, so nothing is allowed by default, only what the list
says is, and never an address inside the network that the list does not name itself: the name is resolved here, its
addresses are checked, and the connection goes to the one that was checked. Redirects are not followed. Messages are rows of
the job database, so they outlive the process.
"""

import base64
import binascii
import hashlib
import hmac
import http.client
import ipaddress
import json
import logging
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from auralith.errors import AuralithError, Field, InvalidRequest, shown
from auralith.jobs.records import Delivery, Job, Unknown
from auralith.jobs.store import JobStore

SECRET_VARIABLE = "AURALITH_WEBHOOK_SECRET"
SECRET_PREFIX = "whsec_"
LEAST_SECRET, MOST_SECRET = 24, 64
"""Bytes of a secret."""
LONGEST_URL = 2_048
TIMEOUT = 5.0
"""Seconds for a connection, and between two pieces of an answer."""
LOOK_SECONDS = 1.0
"""Between two looks for messages that are due."""
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_PORTS = {"https": 443, "http": 80}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Target:
    """URLs that are allowed: those of a scheme, a host and a port whose path begins so."""

    scheme: str
    host: str
    port: int
    path: str

    def allows(self, url: "Target") -> bool:
        """Return whether a URL is among them."""
        is_within = url.path == self.path or url.path.startswith(f"{self.path.rstrip('/')}/")
        own = (self.scheme, self.host, self.port)
        return own == (url.scheme, url.host, url.port) and is_within

    @property
    def names_address(self) -> bool:
        """Return whether the host is an address, or this machine by name."""
        return self.host == "localhost" or _address(self.host) is not None


@dataclass(frozen=True)
class WebhookSettings:
    """Settings of webhooks; without a target none is allowed."""

    allowed: tuple[Target, ...] = ()
    secret: bytes = field(default=b"", repr=False)
    """Key of the signatures."""


def webhook_settings(urls: tuple[str, ...], secret: str) -> WebhookSettings:
    """Return the settings of a list of URLs and a secret as Standard Webhooks write it, whsec_ and base64.

    Raises `InvalidRequest` for a URL or a secret that can't be used, and for one without the other.
    """
    if not urls:
        return WebhookSettings()
    try:
        allowed = tuple(_parsed(url) for url in urls)
    except ValueError as error:
        raise InvalidRequest(Field("webhook_allow"), f" {error}") from error
    try:
        key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not (secret.startswith(SECRET_PREFIX) and LEAST_SECRET <= len(key) <= MOST_SECRET):
        raise InvalidRequest(
            f"{SECRET_VARIABLE} holds no secret to sign with; set it to {SECRET_PREFIX} and the base64 of "
            f"{LEAST_SECRET} to {MOST_SECRET} random bytes"
        )
    return WebhookSettings(allowed, key)


class Webhooks:
    """Sends what is due, in a thread of its own."""

    def __init__(self, store: JobStore, settings: WebhookSettings) -> None:
        self._store, self._settings = store, settings
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def require_allowed(self, url: str) -> None:
        """Raise `InvalidRequest` unless a URL may be told."""
        if not self._settings.allowed:
            raise InvalidRequest(
                Field("webhook"),
                " is set, but this server tells no URL; leave it out, or start it with --webhook-allow",
            )
        try:
            self._target(url)
        except ValueError as error:
            raise InvalidRequest(Field("webhook"), f" {error}") from error

    def start(self) -> None:
        """Begin to send, also what was due before this process."""
        if self._settings.allowed:
            self._thread.start()

    def stop(self) -> None:
        """Send no more; what was not taken is sent by the next process."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join()

    def send_due(self) -> None:
        """Send the messages that are due now."""
        for delivery in self._store.take_deliveries():
            if self._is_over.is_set():
                return
            try:
                self._send(delivery)
            except (OSError, http.client.HTTPException, ValueError) as error:
                reason = str(error) or type(error).__name__
                goes_on = self._store.undelivered(delivery, reason[:200])
                log.warning(
                    "webhook %s of job %s failed (%.100s)%s",
                    delivery.id,
                    delivery.job,
                    reason,
                    "" if goes_on else "; it is given up",
                )
            else:
                self._store.delivered(delivery)

    def _run(self) -> None:
        while not self._is_over.wait(LOOK_SECONDS):
            try:
                self.send_due()
            except AuralithError as error:  # the disk or the database: the next time
                log.warning("webhooks wait: %s", error)

    def _send(self, delivery: Delivery) -> None:
        """Send a message; raise where it was not taken. A URL that is no longer allowed is not told."""
        url = self._target(delivery.url)
        body = json.dumps(self._message(delivery)).encode()
        headers = signed_headers(delivery.id, body, self._settings.secret, int(time.time()))
        connection = _connection(url)
        try:
            connection.request("POST", _request_path(delivery.url), body, headers)
            status = connection.getresponse().status
        finally:
            connection.close()
        if not 200 <= status < 300:
            raise ValueError(f"it answered {status}")

    def _message(self, delivery: Delivery) -> dict[str, Any]:
        """Return what is told: which job ended, how, and which sounds it has. The rest is asked for by those who have a key."""
        try:
            job = self._store.job(delivery.job)
        except Unknown as error:
            raise ValueError("the job was deleted") from error
        outputs = [
            {"id": one.id, "url": f"/v1/audio/{one.id}", "sha256": one.facts.get("sha256")}
            for one in self._store.outputs(job.id)
        ]
        data = {"id": job.id, "url": f"/v1/jobs/{job.id}", "status": job.status, "outputs": outputs}
        return {"type": f"job.{job.status}", "timestamp": _time(job), "data": data}

    def _target(self, text: str) -> Target:
        """Return where a URL leads; raise `ValueError` unless it is allowed."""
        url = _parsed(text)
        if not any(target.allows(url) for target in self._settings.allowed):
            raise ValueError(f"{shown(text)} is not allowed; this server tells other URLs only")
        return url


def signed_headers(message_id: str, body: bytes, secret: bytes, now: int) -> Mapping[str, str]:
    """Return the headers of a message: its id, its time in seconds, and the signature of both and of the body."""
    content = f"{message_id}.{now}.".encode() + body
    signature = base64.b64encode(hmac.digest(secret, content, hashlib.sha256)).decode()
    return {
        "Content-Type": "application/json",
        "User-Agent": "auralith",
        "webhook-id": message_id,
        "webhook-timestamp": str(now),
        "webhook-signature": f"v1,{signature}",
    }


def _parsed(text: str) -> Target:
    """Return the parts of a URL that can be allowed; raise `ValueError` with the reason for another one."""
    if (
        len(text) > LONGEST_URL
        or not text.isascii()
        or any(c <= " " or c in "\\\x7f" for c in text)
    ):
        raise ValueError(f"{shown(text)} is not a URL of up to {LONGEST_URL} printable characters")
    url = _split(text)
    if url.username is not None or url.fragment or not url.hostname:
        raise ValueError(f"{shown(text)} is not scheme://host/path alone; write it so")
    target = Target(url.scheme, url.hostname.rstrip("."), _port(url), url.path or "/")
    if any(part in (".", "..") for part in unquote(target.path).replace("\\", "/").split("/")):
        raise ValueError(f"{shown(text)} has a path with dots; write it plainly")
    if target.scheme != "https" and not (target.scheme == "http" and _is_loopback(target.host)):
        raise ValueError(f"{shown(text)} is not https; only this machine is told over http")
    return target


def _split(text: str) -> SplitResult:
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError as error:
        raise ValueError(f"{shown(text)} is not a URL ({error})") from error
    return url


def _port(url: SplitResult) -> int:
    return _PORTS.get(url.scheme, 0) if url.port is None else url.port


def _request_path(text: str) -> str:
    url = urlsplit(text)
    return (url.path or "/") + (f"?{url.query}" if url.query else "")


def _connection(url: Target) -> http.client.HTTPConnection:
    """Return a connection to the first address of a host that may be told; raise `ValueError` without one."""
    found = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not url.names_address:
        addresses = [one for one in addresses if _is_public(one)]
    if not addresses:
        raise ValueError("its name leads to a private address, which must be allowed by itself")
    if url.scheme == "http":
        connection = http.client.HTTPConnection(url.host, url.port, timeout=TIMEOUT)
        connection.sock = socket.create_connection((addresses[0], url.port), TIMEOUT)
        return connection
    context = ssl.create_default_context()
    secure = http.client.HTTPSConnection(url.host, url.port, timeout=TIMEOUT, context=context)
    plain = socket.create_connection((addresses[0], url.port), TIMEOUT)
    try:
        secure.sock = context.wrap_socket(plain, server_hostname=url.host)
    except BaseException:
        plain.close()
        raise
    return secure


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _is_public(text: str) -> bool:
    """Return whether an address is one of the open network; a mapped or tunneled one counts as what is inside."""
    address = _address(text)
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if address in _NAT64:
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            return _is_public(str(inside))
    return address is not None and address.is_global and not address.is_multicast


def _time(job: Job) -> str:
    moment = datetime.fromtimestamp(job.finished or job.created, UTC)
    return moment.isoformat(timespec="milliseconds")
