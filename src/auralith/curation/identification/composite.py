"""Several backends as one: a match of any is a match, and only if all say that there is none, there is none.

They are asked in their order, each only about what none before it has found, which spares requests to services.
"""

import json
from collections.abc import Sequence

from auralith.curation.identification.answers import answer
from auralith.curation.identification.interface import (
    AudioRef,
    ContentIdentifier,
    Fingerprint,
    Identification,
    ProviderInfo,
)
from auralith.errors import InvalidRequest


class CompositeIdentifier:
    """Identifies sounds by several backends. A sound that one of them can't tell needs a match of another."""

    def __init__(self, members: Sequence[ContentIdentifier]) -> None:
        """Raises `InvalidRequest` if there is none, or one twice."""
        infos = [member.info for member in members]
        names = [info.name for info in infos]
        if not names or len(set(names)) < len(names):
            raise InvalidRequest("name one or more different backends to identify by")
        self._members = tuple(members)
        self.info = ProviderInfo(
            "+".join(names),
            ";".join(f"{info.name}={info.version}" for info in infos),
            remote=any(info.remote for info in infos),
            min_seconds=max(info.min_seconds for info in infos),
            deterministic=all(info.deterministic for info in infos),
        )

    def analyze(self, audio: AudioRef) -> Fingerprint:
        """The fingerprints of all; a problem only if none has one."""
        parts = tuple(member.analyze(audio) for member in self._members)
        problem = parts[0].problem if all(part.problem for part in parts) else None
        seconds = max(part.seconds for part in parts)
        return Fingerprint(audio.asset_id, seconds, parts, problem)

    def identify(self, fingerprints: Sequence[Fingerprint]) -> list[Identification]:
        said: list[list[Identification]] = [[] for _ in fingerprints]
        for number, member in enumerate(self._members):
            places = [
                place
                for place, fingerprint in enumerate(fingerprints)
                if fingerprint.payload is not None and not _matched(said[place])
            ]
            parts = [fingerprints[place].payload[number] for place in places]
            for place, one in zip(places, member.identify(parts), strict=True):
                said[place].append(one)
        return [self._joined(*both) for both in zip(fingerprints, said, strict=True)]

    def _joined(self, fingerprint: Fingerprint, said: list[Identification]) -> Identification:
        """The match, else the first error, else the first that can't tell, else none."""
        asset = fingerprint.asset_id
        if fingerprint.problem is not None or not said:
            reason = fingerprint.problem or "no_fingerprint"
            return answer(self.info, asset, "error", reason)
        order = ("match", "error", "indeterminate", "no_match")
        first = min(said, key=lambda one: order.index(one.status))
        reason = None if first.reason is None else _reason(first)
        raw = {one.provider: one.raw for one in said if one.raw is not None}
        text = json.dumps(raw, ensure_ascii=False) if raw else None
        return answer(self.info, asset, first.status, reason, first.matches, text)


def _matched(said: list[Identification]) -> bool:
    return any(one.status == "match" for one in said)


def _reason(one: Identification) -> str:
    return f"{one.provider.replace('-', '_')}_{one.reason}"
