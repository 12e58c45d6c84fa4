"""API keys: who asks, and how much each may. Only hashes of keys are kept."""

import hashlib
import hmac
import math
import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from auralith.errors import Field, InvalidRequest, shown
from auralith.numbers import check_integer
from auralith.settings import build_settings, read_toml

MOST_PER_MINUTE = 1_000_000
_HASH = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


@dataclass(frozen=True)
class ApiKey:
    """An API key by its hash, and its limits; without one of them, that of the server alone counts."""

    name: str
    """Name of who has it. Jobs and sounds are the name's, so that a key can be replaced."""
    sha256: str
    """SHA-256 of the key, in hexadecimal."""
    queue: int | None = None
    """Most jobs of it that wait at a time."""
    per_minute: int | None = None
    """Most requests in a minute."""
    n: int | None = None
    """Most sounds of a job."""
    expires: str | None = None
    """Date, or date and time with its zone, from which it is refused, as 2027-01-31."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidRequest(
                Field("name"),
                f" is {shown(self.name)}; give up to 64 letters, digits, spaces, dots and dashes",
            )
        if not _HASH.fullmatch(self.sha256):
            raise InvalidRequest(
                Field("sha256"),
                " is not a SHA-256 of 64 small hexadecimal digits; sha256sum prints it",
            )
        check_integer(self, "queue", 1)
        check_integer(self, "per_minute", 1, MOST_PER_MINUTE)
        check_integer(self, "n", 1)
        _moment(self.expires)

    def has_expired(self, now: datetime) -> bool:
        """Return whether it is refused by now."""
        end = _moment(self.expires)
        return end is not None and now >= end


@dataclass(frozen=True)
class Caller:
    """Sender of a request, who sees the jobs and sounds of `owner`; None where no keys are needed: those of everybody."""

    owner: str | None = None
    key: ApiKey | None = None


@dataclass(frozen=True)
class _KeyFile:
    keys: tuple[ApiKey, ...]


def read_keys(path: Path) -> tuple[ApiKey, ...]:
    """Return the keys of a TOML file, a table [[keys]] for each. Raises `InvalidRequest` for anything else."""
    try:
        keys = build_settings(_KeyFile, _with_texts(read_toml(path))).keys
    except InvalidRequest as error:
        error.rename(lambda field: f"{field} in {path}")
        raise
    for what in ("name", "sha256"):
        values = [getattr(key, what) for key in keys]
        if len(set(values)) < len(values):
            raise InvalidRequest(f"two keys in {path} have the same {what}; change one of them")
    return keys


def _with_texts(table: dict[str, Any]) -> dict[str, Any]:
    """Return a table whose dates are texts, as TOML has them with quotes and without."""
    rows = table.get("keys")
    if not isinstance(rows, list):
        return table
    return table | {
        "keys": [
            {k: v.isoformat() if isinstance(v, date) else v for k, v in row.items()}
            if isinstance(row, dict)
            else row
            for row in rows
        ]
    }


def plain_key(secret: str) -> ApiKey:
    """Return a key without limits of its own, by the key itself."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return ApiKey(digest[:16], digest)


class KeyRing:
    """The keys of a server, and how often each was used."""

    def __init__(self, keys: Iterable[ApiKey], clock: Callable[[], float] = time.monotonic) -> None:
        self._keys = [
            (bytes.fromhex(key.sha256), key, Bucket(key.per_minute, clock)) for key in keys
        ]

    def __bool__(self) -> bool:
        """Return whether a key is needed."""
        return bool(self._keys)

    def find(self, secret: str) -> "tuple[ApiKey, Bucket] | None":
        """Return the key that a secret is; every one is compared, in constant time."""
        digest = hashlib.sha256(secret.encode()).digest()
        found = [
            (key, bucket)
            for hashed, key, bucket in self._keys
            if hmac.compare_digest(digest, hashed)
        ]
        return found[0] if found else None


class Bucket:
    """A token bucket: so many at once, and as many again within each minute. None: no limit."""

    def __init__(self, per_minute: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock, self._lock = per_minute, clock, threading.Lock()
        self._left, self._since = float(per_minute or 0), clock()

    def take(self) -> int:
        """Take one, and return 0; or return in how many seconds there is one."""
        if self._most is None:
            return 0
        with self._lock:
            now = self._clock()
            grown = (now - self._since) * self._most / 60
            self._left, self._since = min(self._most, self._left + grown), now
            if self._left >= 1:
                self._left -= 1
                return 0
            return math.ceil((1 - self._left) * 60 / self._most)


def _moment(text: str | None) -> datetime | None:
    """Return a date or a time; a date begins at midnight, UTC. Raises `InvalidRequest` for what is neither."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidRequest(
            Field("expires"), f" is {shown(text)}; write a date as 2027-01-31"
        ) from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)
