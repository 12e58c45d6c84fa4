"""Suspects for review: every match, every error or indeterminate answer, and every tier of the metadata search.

The last row of a recording in a stage counts, not those of earlier runs under other settings. The recording's metadata
and the whole evidence are stored with the item, so that it can be shown unchanged later.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from auralith.curation.store import EVIDENCE, Store

REVIEWED_STAGES = ("identify", "metadata")
_SHOWN = (
    "rec_id",
    "source",
    "path",
    "url",
    "title",
    "author",
    "author_url",
    "album",
    "year",
    "duration_s",
)
"""Columns of `recordings` that a reviewer sees."""
_SHOWN_LICENSE = ("license_raw", "license_url_raw")


@dataclass(frozen=True)
class Suspect:
    """A recording that people should judge, with the evidence."""

    rec_id: str
    stage: str
    tier: str
    score: float | None
    is_match: bool
    grouped_by: str
    evidence_key: str
    payload: Mapping[str, Any]

    @property
    def item_id(self) -> str:
        """Return an id that depends only on the evidence; its first letter keeps spreadsheets from reading a number."""
        text = "\n".join((self.rec_id, self.stage, self.evidence_key))
        return "r" + hashlib.sha256(text.encode()).hexdigest()[:16]


def suspects(store: Store) -> list[Suspect]:
    """Return all suspects of a curation's present evidence."""
    rows = [row for stage in REVIEWED_STAGES for row in _flagged(_last_rows(store, stage))]
    recordings = _recordings(store, {row["rec_id"] for row in rows})
    return [_suspect(row, recordings.get(row["rec_id"], {})) for row in rows]


def _last_rows(store: Store, stage: str) -> Iterable[dict[str, Any]]:
    return {row["rec_id"]: row for row in store.read(stage).to_pylist()}.values()


def _flagged(rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (row for row in rows if row["verdict"] != "pass")


def _recordings(store: Store, wanted: set[str]) -> dict[str, dict[str, Any]]:
    table = store.recordings([*_SHOWN, *_SHOWN_LICENSE])
    return {row["rec_id"]: row for row in table.to_pylist() if row["rec_id"] in wanted}


def _suspect(row: dict[str, Any], recording: dict[str, Any]) -> Suspect:
    tier = _tier(row)
    grouping = {"C": "author", "E": "album"}.get(tier)
    own = {
        name: value
        for name, value in row.items()
        if name not in EVIDENCE.names and value is not None
    }
    return Suspect(
        rec_id=row["rec_id"],
        stage=row["stage"],
        tier=tier,
        score=row["score"],
        is_match=tier == "match",
        grouped_by=(recording.get(grouping) or "") if grouping else "",
        evidence_key=f"{row['provider']}/{row['provider_version']}/{row['params_hash']}",
        payload={
            "recording": recording,
            "evidence": {name: row[name] for name in EVIDENCE.names if name != "rec_id"} | own,
        },
    )


def _tier(row: dict[str, Any]) -> str:
    if row["status"] != "ok":
        return row["status"]
    return "indeterminate" if row["verdict"] == "quarantine" else row.get("tier") or "match"
