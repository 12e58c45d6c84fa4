"""Answers as all backends make them, and what none of them needs to look at."""

from datetime import UTC, datetime

from auralith.curation.identification.interface import (
    Fingerprint,
    Identification,
    Match,
    ProviderInfo,
    Status,
)


def answer(
    info: ProviderInfo,
    asset_id: str,
    status: Status,
    reason: str | None = None,
    matches: tuple[Match, ...] = (),
    raw: str | None = None,
) -> Identification:
    """What a backend says of a sound; with the time if the backend is a remote one."""
    at = datetime.now(UTC).isoformat(timespec="seconds") if info.remote else ""
    return Identification(asset_id, status, info.name, info.version, matches, reason, raw, at)


def found(
    info: ProviderInfo, asset_id: str, matches: tuple[Match, ...], raw: str | None = None
) -> Identification:
    """A whole answer: a match if there are matches, else none."""
    return answer(info, asset_id, "match" if matches else "no_match", None, matches, raw)


def untellable(info: ProviderInfo, fingerprint: Fingerprint) -> Identification | None:
    """The answer for a sound without a fingerprint, or one too short for the backend; None for any other."""
    if fingerprint.problem is not None or fingerprint.payload is None:
        reason = fingerprint.problem or "no_fingerprint"
        return answer(info, fingerprint.asset_id, "error", reason)
    if fingerprint.seconds < info.min_seconds:
        return answer(info, fingerprint.asset_id, "indeterminate", "too_short")
    return None
