"""Duplicates: recordings that are equal or sound the same, the groups that they form, and the step `fingerprint`.

Two recordings are a pair if their files, their decoded samples, or 90 % of the fingerprint of the shorter one are equal;
union-find makes groups of all pairs, named by their lowest id. By default all members stay, as in the published data
set. Deduplication keeps one of each group: lossless before lossy, then the longest, then the lowest id.

The step keeps the landmarks of every recording, about a kilobyte per second. The most prominent ones of all recordings
make one index, in which each recording is searched with all of its landmarks. Two recordings are a near pair if, at a
single offset, their landmarks agree in nearly every second of the shorter one, more than chance explains. Noise has few
landmarks that survive MP3, so two copies of rain may stay apart.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Int

from auralith.curation.engine import EngineSettings, StageProgress, run_stage
from auralith.curation.keys import newest_key
from auralith.curation.probe import sound_path
from auralith.curation.stage import CurationStep, Finding, Row, evidence_key, params_hash
from auralith.curation.store import EvidenceKey, Store, compute
from auralith.disjoint_sets import DisjointSets
from auralith.errors import AudioError
from auralith.files import exclusive
from auralith.fingerprint.index import LandmarkIndex, build_index
from auralith.fingerprint.landmark import (
    PARAMETERS,
    Landmarks,
    pruned,
    read_landmarks,
)
from auralith.fingerprint.significance import corrected, log_tail
from auralith.sound.stream import is_lossless

MIN_COVER = 0.9
COLUMNS = ("rec_id", "status", "sha256", "pcm_sha256", "codec", "duration_s")
"""Columns of the probe's table that are needed here."""
TABLE = "near"
_INDEX = ".near-index-"
_COLUMNS = ("rec_id", "landmarks", "prominent", "num_frames", "status")
_PART_ROWS = 5_000


@dataclass(frozen=True)
class FingerprintPair:
    """Two recordings with matching fingerprints; `cover` is the matching share of the shorter one, 0 … 1."""

    first: str
    second: str
    cover: float


@dataclass(frozen=True)
class DuplicateGroups:
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


def find_duplicates(probed: pa.Table, pairs: Iterable[FingerprintPair] = ()) -> DuplicateGroups:
    """Return the groups among recordings that were probed without an error; `probed` is the table of the probe.

    Pairs with other recordings are ignored.
    """
    rows = {
        row["rec_id"]: row for row in probed.select(COLUMNS).to_pylist() if row["status"] == "ok"
    }
    sets = DisjointSets(sorted(rows, key=_id_order))
    for column in ("sha256", "pcm_sha256"):
        first_with: dict[str, str] = {}
        for rec_id, row in rows.items():
            if row[column]:
                sets.join(first_with.setdefault(row[column], rec_id), rec_id)
    for pair in pairs:
        if pair.cover >= MIN_COVER and pair.first in rows and pair.second in rows:
            sets.join(pair.first, pair.second)
    groups = {name: group for name, group in sets.groups().items() if len(group) > 1}
    return DuplicateGroups({name: _best_first(group, rows) for name, group in groups.items()})


def _best_first(group: Sequence[str], rows: Mapping[str, Mapping[str, object]]) -> list[str]:
    def rank(rec_id: str) -> tuple[object, ...]:
        row = rows[rec_id]
        return (not is_lossless(str(row["codec"])), -_length(row), _id_order(rec_id))

    return sorted(group, key=rank)


def _length(row: Mapping[str, object]) -> float:
    seconds = row["duration_s"]
    return seconds if isinstance(seconds, float) else 0.0


def _id_order(rec_id: str) -> tuple[tuple[str, int], ...]:
    """Return a key that orders numbers in ids as numbers: freesound:9 before freesound:10."""
    words = re.findall(r"(\D*)(\d*)", rec_id)
    return tuple((text, int(digits) if digits else -1) for text, digits in words)


@dataclass(frozen=True)
class FingerprintSettings:
    """The step has no settings: the parameters of landmarks are those of every index."""


@dataclass(frozen=True)
class NearSettings:
    """Conditions for two recordings to be a pair."""

    alpha: float = 1e-9
    """Largest probability that chance alone agrees as much, corrected for the number of recordings."""
    min_cover: float = MIN_COVER
    """Least share of the shorter one's seconds in which they agree."""
    min_share: float = 0.2
    """Least number of agreeing landmarks, as a share of the prominent ones. Loops of one drum machine at nearly one tempo
    reach 0.3, copies as MP3 have a median of 0.65."""


class FingerprintStage:
    """The step: landmarks of each recording, 8 bytes each, and the prominent ones. Every readable recording passes."""

    name = "fingerprint"
    provider = "landmark"
    provider_version = f"1+{params_hash(PARAMETERS)[:16]}"
    inputs: tuple[str, ...] = ("path",)

    def __init__(self, settings: FingerprintSettings = FingerprintSettings()) -> None:
        self.settings = settings

    @property
    def schema(self) -> pa.Schema:
        binary = pa.binary()
        return pa.schema([("landmarks", binary), ("prominent", binary), ("num_frames", pa.int32())])

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        return [self._finding(row, root) for row in rows]

    def _finding(self, row: Row, root: Path) -> Finding:
        if not row["path"]:
            return Finding("skipped", "quarantine", "no_path")
        try:
            found = read_landmarks(sound_path(root, row["path"]))
        except AudioError as error:
            return Finding("error", "quarantine", error.reason_code)
        columns = {"landmarks": _packed(found), "prominent": _packed(pruned(found))}
        columns |= {"num_frames": found.num_frames}
        return Finding("ok", "pass", columns=columns)


class NearStage:
    """Search for each recording among all others. `digest` names the recordings in the index at `index`."""

    name = TABLE
    provider = "landmark"
    inputs: tuple[str, ...] = ("landmarks", "prominent", "num_frames")

    def __init__(self, settings: NearSettings, digest: str, index: Path) -> None:
        self.settings, self.index = settings, index
        self.provider_version = f"1+{digest}"

    @property
    def schema(self) -> pa.Schema:
        pair = pa.struct([("other", pa.string()), ("cover", pa.float64())])
        return pa.schema([("pairs", pa.list_(pair))])

    @cached_property
    def _landmarks(self) -> LandmarkIndex:
        return LandmarkIndex.open(self.index)

    @cached_property
    def _numbers(self) -> Mapping[str, int]:
        return {one.ref_id: number for number, one in enumerate(self._landmarks.references)}

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        return [Finding("ok", "pass", columns={"pairs": self._pairs(row)}) for row in rows]

    def _pairs(self, row: Row) -> list[dict[str, Any]]:
        query, own = _unpacked(row, "landmarks"), self._numbers[row["rec_id"]]
        num_prominent = len(_unpacked(row, "prominent").hashes)
        seconds = _seconds(query.frames)
        least = max(1.0, self.settings.min_cover * len(seconds))  # one landmark in each second
        place, reference, frame = self._landmarks.postings(query.hashes)
        is_other = reference != own
        place, reference, frame = place[is_other], reference[is_other], frame[is_other]
        counts = np.bincount(reference)
        trials = int((query.num_frames + self._landmarks.num_frames - 1).sum())
        found: list[dict[str, Any]] = []
        for other in np.flatnonzero(counts >= least):
            here = reference == other
            frames = query.frames[place[here]]
            aligned = _aligned(frame[here] - frames)
            cover = len(_seconds(frames[aligned])) / len(seconds)
            share = len(np.unique(place[here][aligned])) / num_prominent
            possible = query.num_frames + int(self._landmarks.num_frames[other]) - 1
            tail = log_tail(int(aligned.sum()), 3 * int(counts[other]) / possible)
            if (
                cover >= self.settings.min_cover
                and share >= self.settings.min_share
                and corrected(tail, trials) <= self.settings.alpha
            ):
                found.append({"other": self._landmarks.references[other].ref_id, "cover": cover})
        return found


def find_near_duplicates(
    store: Store, fingerprint: CurationStep, settings: EngineSettings
) -> Iterator[StageProgress]:
    """Search for every recording that this step has fingerprinted among the others, unless that is done.

    Raises:
        InvalidRequest: another process works on the folder.
        ResourceError: something can't be read or written.
    """
    fingerprints = newest_key(store, fingerprint)
    if fingerprints is None:
        return
    with exclusive(store.folder):
        yield from _search(store, fingerprints, settings)
    for rest in store.folder.glob(f"{_INDEX}*"):
        shutil.rmtree(rest)


def _search(
    store: Store, fingerprints: EvidenceKey, settings: EngineSettings
) -> Iterator[StageProgress]:
    make, ids = _stage(store, fingerprints), _ids(store, fingerprints)
    stage, step = make(), CurationStep(TABLE, NearSettings(), lambda _: make, heavy=True)
    total, done = len(ids), len(store.finished(TABLE, evidence_key(stage)))
    yield StageProgress(TABLE, done, total, {"pass": done})
    if done == total:
        return
    if not stage.index.is_dir():
        rows = (row for part in _parts(store, fingerprints) for row in part.to_pylist())
        build_index(((row["rec_id"], _unpacked(row, "prominent")) for row in rows), stage.index)
    before = 0
    for part in _parts(store, fingerprints):
        for at in run_stage(store, step, stage, make, [(store.folder, part)], settings):
            done = max(done, before + at.done)
            yield StageProgress(TABLE, done, total, {"pass": done})
        before += part.num_rows


def near_pairs(store: Store, fingerprint: CurationStep | None) -> list[FingerprintPair]:
    """Return the pairs among the recordings that this step has fingerprinted; none if they were not searched for, or
    the step is left out (None)."""
    fingerprints = None if fingerprint is None else newest_key(store, fingerprint)
    if fingerprints is None:
        return []
    key = evidence_key(_stage(store, fingerprints)())
    table = store.read(TABLE, ["rec_id", "pairs"], key)
    return [
        FingerprintPair(row["rec_id"], pair["other"], pair["cover"])
        for row in table.to_pylist()
        for pair in row["pairs"] or ()
    ]


def _stage(store: Store, fingerprints: EvidenceKey) -> Callable[[], NearStage]:
    """Return a function that makes the search among the fingerprinted recordings; its version depends on all their ids."""
    names = "\n".join([str(fingerprints), *_ids(store, fingerprints)])
    digest = hashlib.sha256(names.encode()).hexdigest()[:16]
    return partial(NearStage, NearSettings(), digest, store.folder.resolve() / f"{_INDEX}{digest}")


def _ids(store: Store, fingerprints: EvidenceKey) -> list[str]:
    """Return the recordings that have landmarks, sorted."""
    table = store.read(FingerprintStage.name, ["rec_id", "status"], fingerprints)
    return sorted(set(table.filter(compute.equal(table["status"], "ok"))["rec_id"].to_pylist()))


def _parts(store: Store, fingerprints: EvidenceKey) -> Iterator[pa.Table]:
    """Yield the landmarks of those recordings in parts, each recording once."""
    seen: set[str] = set()
    for table in store.parts(FingerprintStage.name, _COLUMNS, fingerprints, _PART_ROWS):
        ok = table.filter(compute.equal(table["status"], "ok"))
        new = [id not in seen and not seen.add(id) for id in ok["rec_id"].to_pylist()]
        yield ok.filter(pa.array(new, pa.bool_())).select(_COLUMNS[:-1])


def _packed(landmarks: Landmarks) -> bytes:
    return np.stack((landmarks.hashes, landmarks.frames)).astype("<u4").tobytes()


def _unpacked(row: Row, column: str) -> Landmarks:
    """Return the landmarks that `_packed` wrote, without their prominence."""
    hashes, frames = np.frombuffer(row[column], "<u4").reshape(2, -1).astype(np.int64)
    seconds = row["num_frames"] * PARAMETERS.seconds_per_frame
    return Landmarks(hashes, frames, np.zeros(len(hashes)), row["num_frames"], seconds)


def _seconds(frames: Int[np.ndarray, " landmark"]) -> Int[np.ndarray, " second"]:
    """Return the seconds that have frames."""
    return np.unique((frames * PARAMETERS.seconds_per_frame).astype(np.int64))


def _aligned(offsets: Int[np.ndarray, " hit"]) -> Bool[np.ndarray, " hit"]:
    """Return which offsets are the most common one or next to it."""
    values, counts = np.unique(offsets, return_counts=True)
    return np.abs(offsets - values[np.argmax(counts)]) <= 1
