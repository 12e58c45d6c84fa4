"""What identifies recordings: fingerprints of sound in, for each an answer with its matches.

One contract for all backends, local and remote. An error is never a pass: `no_match` needs a complete, well-formed
answer that says so, and whatever else comes back is "error" or "indeterminate".
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

Status = Literal["match", "no_match", "indeterminate", "error"]


@dataclass(frozen=True)
class ProviderInfo:
    """A backend, as evidence names it."""

    name: str
    version: str
    """Changes whenever the same sound may get another answer."""
    remote: bool
    min_seconds: float
    """Shorter sound can't be told: its answer is "indeterminate"."""
    deterministic: bool


@dataclass(frozen=True)
class AudioRef:
    """A sound to identify; the backend opens the file itself."""

    asset_id: str
    path: Path


@dataclass(frozen=True)
class Fingerprint:
    """What a backend keeps of a sound. `payload` is the backend's own; None if there is none, for `problem`."""

    asset_id: str
    seconds: float
    payload: Any = None
    problem: str | None = None
    """Why there is no fingerprint (a reason code such as "not_audio"); the answer then is "error"."""


@dataclass(frozen=True)
class Match:
    """A stretch of a sound that is a stretch of a reference."""

    ref_id: str
    query_start_s: float
    duration_s: float
    ref_start_s: float
    score: float
    """In the backend's own unit; more is surer."""
    p_value: float | None = None
    """Corrected for the size of the index; None where the backend has none."""
    kind: str = "audio"
    rule: str | None = None
    """What a rights holder asks for, such as "block"."""
    meta: dict[str, str] = field(default_factory=dict)
    """Of title, artist, album, isrc, label, what is known."""


@dataclass(frozen=True)
class Identification:
    """The answer for one sound. `matches` has something exactly where the status is "match"."""

    asset_id: str
    status: Status
    provider: str
    provider_version: str
    matches: tuple[Match, ...] = ()
    reason: str | None = None
    """Why it is neither a match nor none: "timeout", "too_short", "bad_json", "status_2007"."""
    raw: str | None = None
    """What a remote service answered, as it came."""
    at: str = ""
    """UTC, ISO 8601; empty for local backends, whose answers don't depend on the time."""

    def __post_init__(self) -> None:
        if bool(self.matches) != (self.status == "match"):
            raise ValueError("matches stand exactly where the status is match")
        if (self.status in ("error", "indeterminate")) != (self.reason is not None):
            raise ValueError("a reason stands exactly where there is no answer")


@runtime_checkable
class ContentIdentifier(Protocol):
    """A backend. Raises `AuralithError` only where it can't work at all (no library, no index, no key)."""

    info: ProviderInfo

    def analyze(self, audio: AudioRef) -> Fingerprint:
        """The fingerprint of a sound, without asking anyone; a file that can't be read gives one with a problem."""
        ...

    def identify(self, fingerprints: Sequence[Fingerprint]) -> list[Identification]:
        """An answer for each fingerprint, in order."""
        ...
