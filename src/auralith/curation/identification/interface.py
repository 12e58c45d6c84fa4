"""The contract of identification backends, local and remote: fingerprints of sounds in, an answer with matches for each.

An error is never a pass: `no_match` requires a complete, well-formed answer that reports no match; anything else is
"error" or "indeterminate".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from auralith.files import utc_now

Status = Literal["match", "no_match", "indeterminate", "error"]
META = ("title", "artist", "album", "isrc", "label")
"""Keys of `Match.meta`."""


@dataclass(frozen=True)
class ProviderInfo:
    """Description of a backend, as evidence records it."""

    name: str
    version: str
    """Changes whenever the same sound may get another answer."""
    remote: bool
    min_seconds: float
    """Shortest sound that the backend can judge, in seconds; the answer for a shorter one is "indeterminate"."""
    deterministic: bool


@dataclass(frozen=True)
class AudioRef:
    """A sound to identify; the backend opens the file itself."""

    asset_id: str
    path: Path


@dataclass(frozen=True)
class Fingerprint:
    """Fingerprint of a sound. `payload` is private to the backend, and None where `problem` prevented a fingerprint."""

    asset_id: str
    seconds: float
    payload: Any = None
    problem: str | None = None
    """Reason code of a missing fingerprint, such as "not_audio"; the answer is then "error"."""

    @property
    def missing_reason(self) -> str | None:
        """Return the reason code of a missing fingerprint; None if it is present."""
        if self.problem is None and self.payload is not None:
            return None
        return self.problem or "no_fingerprint"


@dataclass(frozen=True)
class Match:
    """A stretch of a sound that matches a stretch of a reference."""

    ref_id: str
    query_start_s: float
    duration_s: float
    ref_start_s: float
    score: float
    """Confidence in the backend's own unit; more is surer."""
    p_value: float | None = None
    """Probability under chance, corrected for the size of the index; None if the backend computes none."""
    kind: str = "audio"
    rule: str | None = None
    """Action that the rights holder requests, such as "block"."""
    meta: dict[str, str] = field(default_factory=dict)
    """Known metadata, by some of `META`."""


@dataclass(frozen=True)
class Identification:
    """Answer for one sound. `matches` is non-empty exactly when the status is "match"."""

    asset_id: str
    status: Status
    provider: str
    provider_version: str
    matches: tuple[Match, ...] = ()
    reason: str | None = None
    """Reason code of an error or an indeterminate answer: "timeout", "too_short", "bad_json", "status_2007"."""
    raw: str | None = None
    """Unchanged response of a remote service."""
    at: str = ""
    """Time in UTC, ISO 8601; empty for local backends, whose answers don't depend on the time."""

    def __post_init__(self) -> None:
        if bool(self.matches) != (self.status == "match"):
            raise ValueError("an answer has matches exactly when its status is match")
        if (self.status in ("error", "indeterminate")) != (self.reason is not None):
            raise ValueError(
                "a reason is required for errors and indeterminate answers, and only there"
            )


@runtime_checkable
class ContentIdentifier(Protocol):
    """A backend. It raises `AuralithError` only if it can't work at all: no library, no index, no key."""

    info: ProviderInfo

    def analyze(self, audio: AudioRef) -> Fingerprint:
        """Return the fingerprint of a sound, computed locally; that of an unreadable file has a problem."""
        ...

    def identify(self, fingerprints: Sequence[Fingerprint]) -> list[Identification]:
        """Return an answer for each fingerprint, in order."""
        ...


def answer(
    info: ProviderInfo,
    asset_id: str,
    status: Status,
    reason: str | None = None,
    matches: tuple[Match, ...] = (),
    raw: str | None = None,
) -> Identification:
    """Return an answer of a backend, with the time if the backend is remote."""
    at = utc_now() if info.remote else ""
    return Identification(asset_id, status, info.name, info.version, matches, reason, raw, at)


def complete_answer(
    info: ProviderInfo, asset_id: str, matches: tuple[Match, ...], raw: str | None = None
) -> Identification:
    """Return the answer of a backend that has judged a sound: "match" if there are matches, else "no_match"."""
    return answer(info, asset_id, "match" if matches else "no_match", None, matches, raw)


def unanswerable(info: ProviderInfo, fingerprint: Fingerprint) -> Identification | None:
    """Return the answer for a sound that has no fingerprint or is too short for the backend; None for any other."""
    if reason := fingerprint.missing_reason:
        return answer(info, fingerprint.asset_id, "error", reason)
    if fingerprint.seconds < info.min_seconds:
        return answer(info, fingerprint.asset_id, "indeterminate", "too_short")
    return None
