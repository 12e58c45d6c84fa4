"""What an export shows of an item, and what an import brings back, whatever the form of the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from auralith.curation.review.queue import Case, Entry

SHOWN = ("title", "author", "album", "url", "path")
"""Of the recording."""
REFERENCE = ("ref_id", "ref_title", "ref_artist", "ref_album", "duration_delta_s")
"""Of the strongest match."""


@dataclass(frozen=True)
class Exported:
    """An item on its way out."""

    case: Case
    payload: Mapping[str, Any]
    curation: str
    reviewer: str
    audio_prefix: str

    @property
    def facts(self) -> dict[str, Any]:
        """Flat columns for any table; text is untrusted."""
        item, recording = self.case.item, self.payload.get("recording") or {}
        match = best_match(self.payload)
        return {
            "item_id": item.item_id,
            "curation": self.curation,
            "stage": item.stage,
            "tier": item.tier,
            "score": item.score,
            "rec_id": item.rec_id,
            **{name: recording.get(name) for name in SHOWN},
            **{name: match.get(name) for name in REFERENCE},
            "state": self.case.state,
        }

    @property
    def audio(self) -> str:
        """Where a player finds the sound: its file, else its page, if that is a web address."""
        recording = self.payload.get("recording") or {}
        if recording.get("path"):
            return self.audio_prefix + quote(recording["path"])
        return web_address(recording.get("url"))


def best_match(payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first of an item's matches; empty if its evidence has none."""
    matches = (payload.get("evidence") or {}).get("matches") or [{}]
    return matches[0] if isinstance(matches[0], Mapping) else {}


def web_address(text: object) -> str:
    """The text if it is an http(s) address, so that no other scheme gets into a page."""
    known = isinstance(text, str) and text.lower().startswith(("https://", "http://"))
    return str(text) if known else ""


@dataclass(frozen=True)
class Handed:
    """A row of an imported file."""

    place: str
    """Where it stands: "line 3"; each row has its own."""
    curation: str
    entry: Entry | None
    """None if it brings no decision."""
    problem: str = ""
    """Why the row can't be used."""
