"""An item as people compare it: the suspect and what it matches, where the two align, and which files they are.

All reviewed evidence lists its `matches`, the strongest first: a content match with the places of both stretches, a
metadata match with the fields of the catalogue. An item without a match is judged by its evidence alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auralith.curation.http import web_link
from auralith.curation.probe import sound_path
from auralith.curation.sources.intake import REFERENCES, root_of
from auralith.errors import AudioError
from auralith.sound.sources import SOUND_SUFFIXES

_NAMES = {
    "id": ("ref", "ref_id", "rec_id"),
    "title": ("title", "ref_title"),
    "author": ("author", "artist", "ref_artist"),
    "album": ("album", "ref_album"),
    "license": ("license", "license_raw"),
}
"""Fields of a side, and the names that recordings and matches have for them."""
_LINKS = ("url", "license_url_raw", "license_url")
_PLACES = ("query_start_s", "ref_start_s", "duration_s", "path", "source")


@dataclass(frozen=True)
class Side:
    """A recording as one side of the comparison; all text is untrusted."""

    id: str
    title: str
    author: str
    album: str
    license: str
    url: str
    """Page on the web; empty if none is known."""
    facts: Mapping[str, Any]
    """Whatever else is known: scores, flags, year."""
    sound: tuple[str, tuple[str, ...]] | None
    """Source of the file, and the paths below its folder that it may have; None if no file belongs to it."""


@dataclass(frozen=True)
class Match:
    """A recording that the suspect matches."""

    side: Side
    query_start_s: float | None
    """Place of the common stretch in the suspect, in seconds; None if only the metadata match."""
    ref_start_s: float | None
    """Its place in the other recording."""
    duration_s: float | None
    """Its length; None if the evidence gives none."""


@dataclass(frozen=True)
class Comparison:
    """The suspect and its matches, the strongest first."""

    suspect: Side
    matches: tuple[Match, ...]


def compared(payload: Mapping[str, Any]) -> Comparison:
    """Return the comparison that an item's payload holds."""
    recording, evidence = _mapping(payload.get("recording")), _mapping(payload.get("evidence"))
    path = recording.get("path")
    sound = (str(recording.get("source") or ""), (str(path),)) if path else None
    found = evidence.get("matches")
    matches = tuple(_match(_mapping(one)) for one in (found if isinstance(found, list) else ()))
    return Comparison(_side(recording, sound), matches)


def _match(facts: Mapping[str, Any]) -> Match:
    names = [str(facts["path"])] if facts.get("path") else _indexed(facts.get("ref"))
    source = str(facts.get("source") or REFERENCES)
    side = _side(facts, (source, tuple(names)) if names else None)
    query, ref = _number(facts.get("query_start_s")), _number(facts.get("ref_start_s"))
    if query is None or ref is None:
        query = ref = None
    return Match(side, query, ref, _number(facts.get("duration_s")))


def _indexed(ref: Any) -> list[str]:
    """Return the paths that `auralith curate index` may have made a reference's id of: without a suffix, behind the set."""
    if not isinstance(ref, str) or not ref:
        return []
    stems = dict.fromkeys([ref, ref.partition(":")[2]])
    suffixes = [written for one in sorted(SOUND_SUFFIXES) for written in (one, one.upper())]
    return [f"{stem}{suffix}" for stem in stems if stem for suffix in suffixes]


def _side(facts: Mapping[str, Any], sound: tuple[str, tuple[str, ...]] | None) -> Side:
    texts = {field: _first(facts, names) for field, names in _NAMES.items()}
    known = {name for names in _NAMES.values() for name in names} | {*_LINKS, *_PLACES}
    others = {n: v for n, v in facts.items() if n not in known and v not in (None, "", [])}
    link = next(filter(None, (web_link(_text(facts.get(name))) for name in _LINKS)), "")
    return Side(**texts, url=link, facts=others, sound=sound)


def sound_of(folder: Path, side: Side) -> Path | None:
    """Return the file of a side, below the folders that the review in `folder` knows; None if there is none."""
    if side.sound is None:
        return None
    source, names = side.sound
    for name in names:
        root = root_of(folder, source, name)
        if root is not None:
            try:
                return sound_path(root, name).resolve()
            except AudioError:  # outside of the folder, or gone
                continue
    return None


def _first(facts: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next(filter(None, (_text(facts.get(name)) for name in names)), "")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
