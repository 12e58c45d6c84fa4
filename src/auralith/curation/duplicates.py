"""Duplicates: groups of recordings that are equal or nearly equal.

Two recordings are a pair if their files, their decoded samples, or 90 % of the shorter one's fingerprint are equal;
union-find makes groups of all pairs, named by their lowest id. By default all members stay, as in the published data
set. Deduplication keeps one of each group: lossless before lossy, then the longest, then the lowest id.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auralith.sound.stream import is_lossless

if TYPE_CHECKING:
    import pyarrow as pa

MIN_COVER = 0.9
COLUMNS = ("rec_id", "status", "sha256", "pcm_sha256", "codec", "duration_s")
"""Columns of the probe's table that are needed here."""


@dataclass(frozen=True)
class FingerprintPair:
    """Two recordings with matching fingerprints; `cover` is the matching share of the shorter one, 0 … 1."""

    first: str
    second: str
    cover: float


@dataclass(frozen=True)
class Duplicates:
    """Groups by name; each has at least two members, the best first."""

    groups: Mapping[str, Sequence[str]]

    @property
    def group_of(self) -> dict[str, str]:
        """Return the group (`dup_group`) of each recording that has one."""
        return {member: name for name, group in self.groups.items() for member in group}

    @property
    def superfluous(self) -> list[str]:
        """Return the recordings that deduplication leaves out: every member but the best."""
        return [member for group in self.groups.values() for member in group[1:]]


def find_duplicates(probed: "pa.Table", pairs: Iterable[FingerprintPair] = ()) -> Duplicates:
    """Return the groups among recordings that were probed without an error; `probed` is the table of the probe.

    Pairs with other recordings are ignored.
    """
    rows = {
        row["rec_id"]: row for row in probed.select(COLUMNS).to_pylist() if row["status"] == "ok"
    }
    sets = _DisjointSets(sorted(rows, key=_id_order))
    for column in ("sha256", "pcm_sha256"):
        first_with: dict[str, str] = {}
        for rec_id, row in rows.items():
            if row[column]:
                sets.join(first_with.setdefault(row[column], rec_id), rec_id)
    for pair in pairs:
        if pair.cover >= MIN_COVER and pair.first in rows and pair.second in rows:
            sets.join(pair.first, pair.second)
    groups = {name: group for name, group in sets.groups().items() if len(group) > 1}
    return Duplicates({name: _best_first(group, rows) for name, group in groups.items()})


def _best_first(group: Sequence[str], rows: Mapping[str, Mapping[str, object]]) -> list[str]:
    def rank(rec_id: str) -> tuple[object, ...]:
        row = rows[rec_id]
        return (not is_lossless(str(row["codec"])), -_seconds(row), _id_order(rec_id))

    return sorted(group, key=rank)


def _seconds(row: Mapping[str, object]) -> float:
    seconds = row["duration_s"]
    return seconds if isinstance(seconds, float) else 0.0


def _id_order(rec_id: str) -> tuple[tuple[str, int], ...]:
    """Return a key that orders numbers in ids as numbers: freesound:9 before freesound:10."""
    words = re.findall(r"(\D*)(\d*)", rec_id)
    return tuple((text, int(digits) if digits else -1) for text, digits in words)


class _DisjointSets:
    """Union-find; the earlier of two roots wins, so that a set is named by its earliest member."""

    def __init__(self, members: Sequence[str]) -> None:
        self._order = {member: position for position, member in enumerate(members)}
        self._parent = {member: member for member in members}

    def join(self, first: str, second: str) -> None:
        low, high = sorted((self._root(first), self._root(second)), key=self._order.__getitem__)
        self._parent[high] = low

    def groups(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for member in self._parent:
            found[self._root(member)].append(member)
        return found

    def _root(self, member: str) -> str:
        while (parent := self._parent[member]) != member:
            self._parent[member] = self._parent[parent]
            member = self._parent[member]
        return member
