"""The guard: recordings that an evaluation set contains never reach training.

An overlap is found in two ways. By id: the user gives blocklists, one CSV per set, as the sets themselves publish them;
they apply to recordings of the source that the set was drawn from. By content: the index also holds the evaluation audio,
whose reference ids name the set ("song_describer:123"), so a match in the identification evidence is an overlap. Sets of
YouTube clips can only be found by content. The version of the provider is a hash of lists and overlaps, so that a longer
list checks everything again.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from auralith.curation.stage import Finding, Row
from auralith.curation.store import Store
from auralith.errors import InvalidRequest
from auralith.tables import strict_rows
from auralith.tables.cells import joined

Overlaps = Mapping[str, Sequence[str]]
"""Evaluation sets that each recording (by rec_id) was found in by its sound."""
OVERLAP_COLUMNS = ("rec_id", "best_ref", "matches")
"""Columns of the identification evidence that overlaps are read from."""


class _Published(NamedTuple):
    source: str
    column: str
    """Column of the ids in the table that the set is published with."""


PUBLISHED = {
    "audiocaps": _Published("youtube", "youtube_id"),
    "musiccaps": _Published("youtube", "ytid"),
    "song_describer": _Published("jamendo", "track_id"),
    "clotho": _Published("freesound", "sound_id"),
    "fsd50k": _Published("freesound", "fname"),
    "esc50": _Published("freesound", "src_file"),
    "urbansound8k": _Published("freesound", "fsID"),
}
_NUMERIC = ("freesound", "fma", "jamendo")
"""Sources whose ids are whole numbers; other values in their column ("Not found") are ignored."""


@dataclass(frozen=True)
class EvalSet:
    """An evaluation set and the list of its recordings."""

    name: str
    """Name of the set, as in the reason `eval_overlap:<name>`; the sets in `PUBLISHED` need neither source nor column."""
    ids: Path | None = None
    """CSV with a header; None for a set that is only compared by content."""
    source: str = ""
    column: str = ""


@dataclass(frozen=True)
class GuardSettings:
    """Settings of the guard: recordings that training must not contain."""

    sets: tuple[EvalSet, ...] = ()


def read_blocklist(eval_set: EvalSet) -> tuple[str, frozenset[str]]:
    """Return the source of a set and the ids in it.

    Raises:
        InvalidRequest: the file can't be read, lacks the column, or has no id; the source is unknown.
    """
    known = PUBLISHED.get(eval_set.name)
    source = eval_set.source or (known.source if known else "")
    column = eval_set.column or (known.column if known else "id")
    if not source:
        raise InvalidRequest(
            f"evaluation set '{eval_set.name}' has no source; say which recordings its ids"
            f" mean, or use one of {', '.join(PUBLISHED)}"
        )
    if eval_set.ids is None:
        return source, frozenset()
    ids = frozenset(_ids(eval_set.ids, column, source))
    if not ids:
        raise InvalidRequest(
            f"{eval_set.ids} has no {source} id in column '{column}'; check the file"
        )
    return source, ids


def _ids(path: Path, column: str, source: str) -> Iterable[str]:
    for row in strict_rows(path, [column]):
        id = joined(row.cells[column])
        if source not in _NUMERIC:
            yield from filter(None, [id])
        elif id.isascii() and id.isdigit():
            yield str(int(id))


def overlaps_of(
    matches: Iterable[tuple[str, str]], sets: Iterable[str] | None
) -> dict[str, list[str]]:
    """Return the overlaps in pairs of rec_id and matched reference id: those whose reference belongs to one of the sets.

    None means every set. The sets of each recording are sorted, so that the order of the matches doesn't matter.
    """
    wanted = None if sets is None else set(sets)
    found: dict[str, set[str]] = {}
    for rec_id, reference in matches:
        name, colon, _ = reference.partition(":")
        if colon and (wanted is None or name in wanted):
            found.setdefault(rec_id, set()).add(name)
    return {rec_id: sorted(names) for rec_id, names in sorted(found.items())}


def read_overlaps(store: Store, sets: Sequence[str]) -> dict[str, list[str]]:
    """Return the overlaps in the identification evidence of all providers."""
    return overlaps_in(store.read("identify", OVERLAP_COLUMNS), sets) if sets else {}


def overlaps_in(evidence: pa.Table, sets: Sequence[str] | None = None) -> dict[str, list[str]]:
    """Return the overlaps in these rows: `best_ref`, and `ref` of each of `matches`. Without `sets` those of every set."""
    rows = evidence.select(OVERLAP_COLUMNS).to_pylist()
    return overlaps_of([(row["rec_id"], ref) for row in rows for ref in _references(row)], sets)


def overlap_digests(overlaps: Overlaps) -> dict[str, str]:
    """Return a digest of the recordings that each evaluation set was found in."""
    members: dict[str, list[str]] = defaultdict(list)
    for rec_id in sorted(overlaps):
        for name in overlaps[rec_id]:
            members[name].append(rec_id)
    return {
        name: hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
        for name, ids in members.items()
    }


def _references(row: Mapping[str, Any]) -> list[str]:
    matches = [match["ref"] for match in row["matches"] or ()]
    return [ref for ref in [row["best_ref"], *matches] if ref]


class GuardStage:
    """Source id and fingerprint matches × evaluation sets → refuse with `eval_overlap:<set>`."""

    name = "guard"
    provider = "auralith"
    inputs: tuple[str, ...] = ("source", "source_id")

    def __init__(
        self, settings: GuardSettings | None = None, overlaps: Overlaps | None = None
    ) -> None:
        self.settings = settings or GuardSettings()
        self._overlaps = overlaps or {}
        self._blocklists = [(one.name, *read_blocklist(one)) for one in self.settings.sets]
        self.provider_version = _version(self._blocklists, self._overlaps)

    @property
    def schema(self) -> pa.Schema:
        return pa.schema([("eval_sets", pa.list_(pa.string())), ("overlap_by", pa.string())])

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        """Return a finding for each recording; never an error."""
        return [self._finding(row) for row in rows]

    def _finding(self, row: Row) -> Finding:
        by_id = [
            name
            for name, source, ids in self._blocklists
            if row["source"] == source and row["source_id"] in ids
        ]
        by_sound = [s for s in self._overlaps.get(row["rec_id"], ()) if s not in by_id]
        found = [*by_id, *by_sound]
        if not found:
            return _FREE
        columns = {"eval_sets": found, "overlap_by": "id" if by_id else "fingerprint"}
        return Finding("ok", "refuse", f"eval_overlap:{found[0]}", columns=columns)


_FREE = Finding("ok", "pass", columns={"eval_sets": None, "overlap_by": None})


def _version(blocklists: Iterable[tuple[str, str, frozenset[str]]], overlaps: Overlaps) -> str:
    digest = hashlib.sha256()
    for name, source, ids in blocklists:
        digest.update("\n".join([f"set {name} {source}", *sorted(ids), ""]).encode())
    for rec_id in sorted(overlaps):
        digest.update(f"{rec_id} {' '.join(overlaps[rec_id])}\n".encode())
    return digest.hexdigest()[:16]
