"""The training sounds that others are compared with: embeddings, index of landmarks, groups of duplicates."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float16, Int
from torch import Tensor

from auralith.checksums import read_record, write_record
from auralith.data.recording import Recordings
from auralith.embedders import Embedder
from auralith.errors import AudioError, CheckpointError
from auralith.fingerprint import LandmarkIndex, build_index, search
from auralith.memorization.duplicates import (
    LANDMARK_P,
    MEL_CORRELATION,
    MIN_COSINE,
    ConfirmedDuplicates,
    Pair,
    confirmed,
    find_duplicates,
    refuted_cosine,
)
from auralith.memorization.mel import (
    SECONDS_PER_FRAME,
    WINDOW_SECONDS,
    mel_correlation,
    mel_of,
)
from auralith.memorization.search import near_pairs
from auralith.memorization.store import EmbeddingStore, Vectors, embed_recordings, read_start
from auralith.tables.names import find_column

EMBEDDINGS, LANDMARKS, DUPLICATES = "embeddings", "landmarks-", "duplicates-"
_NEIGHBORS = 8
"""Other recordings of which each one may be a duplicate."""
_PATIENCE = 200
"""Refuted pairs in a row after which no further one is looked at."""
COMPARED_AS_THEY_ARE = ("clap",)
"""Beginnings of the names of embedders that were trained for cosines. Vectors of others point to about one direction all,
so they are seen from the mean of the training sounds."""
_BLOCK = 65_536
_COMPARED_SECONDS = 60.0
"""Length of two recordings that is compared to confirm a pair."""
_SHOWN = {
    "title": ("title",),
    "author": ("author",),
    "license": ("license_spdx", "license_raw"),
    "url": ("url",),
}
"""Facts that are shown of a training sound, and the meanings of the columns it is in, the first one that has a value."""


@dataclass(frozen=True)
class WorkProgress:
    """A stage of the work."""

    stage: str
    done: int
    total: int
    text: str = ""


def center_of(store: EmbeddingStore) -> Float[np.ndarray, " dim"]:
    """Return the mean of all windows of a store; zeros for embedders that were trained for cosines.

    Standardizing each number, too, would be worse: the ones that hardly differ between sounds are those that codecs change.
    """
    name = str(store.protocol.get("embedder", ""))
    sums = np.zeros(store.dim)
    if name.startswith(COMPARED_AS_THEY_ARE):
        return sums
    for start in range(0, len(store.owners), _BLOCK):
        sums += store.vectors[start : start + _BLOCK].astype(np.float64).sum(0)
    return sums / max(1, len(store.owners))


def centered(
    rows: Float16[np.ndarray, "row dim"], center: Float[np.ndarray, " dim"]
) -> Float16[np.ndarray, "row dim"]:
    """Return the rows seen from a center, with norm 1; a row at the center is zero. They stay as they are around zero."""
    if not center.any():
        return rows
    moved = rows.astype(np.float64) - center
    norms = np.linalg.norm(moved, axis=1, keepdims=True)
    return (moved / np.where(norms > 0, norms, 1)).astype(np.float16)


@dataclass(frozen=True)
class CenteredRows:
    """Rows of a store seen from a center, as `search.Rows`."""

    vectors: Vectors
    center: Float[np.ndarray, " dim"]

    @property
    def shape(self) -> tuple[int, int]:
        return self.vectors.shape

    def __getitem__(self, places: slice | Int[np.ndarray, "..."], /) -> Float16[np.ndarray, "..."]:
        return centered(self.vectors[places], self.center)


@dataclass(frozen=True)
class TrainingSounds:
    """Training sounds that are embedded and indexed."""

    recordings: Recordings
    store: EmbeddingStore
    index: LandmarkIndex | None
    """None where no recording could be read."""
    duplicates: ConfirmedDuplicates
    device: str = "cpu"
    """Device of searches; the results are the same on any."""

    @cached_property
    def groups(self) -> Int[np.ndarray, " row"]:
        """Return the number of the group of each row; a recording without duplicates is a group of its own."""
        names = {id: name for name, members in self.duplicates.copies.items() for id in members}
        own = [names.get(one.id, one.id) for one in self.store.recordings]
        _, numbers = np.unique(np.array(own, dtype=object), return_inverse=True)
        return numbers[self.store.owners] if len(own) else np.zeros(0, np.int64)

    @cached_property
    def place_of(self) -> Mapping[str, int]:
        """Return the place of each recording."""
        return {one.id: place for place, one in enumerate(self.store.recordings)}

    @cached_property
    def rows(self) -> CenteredRows:
        """Return the windows of all recordings."""
        return CenteredRows(self.store.vectors, center_of(self.store))

    @property
    def digest(self) -> str:
        """Return the digest of what is embedded."""
        return _digest(self.store)

    def read(
        self, id: str, start_s: float, stop_s: float
    ) -> tuple[Float[Tensor, "channel sample"], int]:
        """Return a stretch of a recording and its rate. Raises `AudioError` as `Recordings.read` does."""
        place = self.place_of[id]
        rate = self.recordings.info(place).sample_rate
        return self.recordings.read(place, round(start_s * rate), round(stop_s * rate))

    def facts(self, id: str) -> dict[str, str]:
        """Return title, author, license and URL of a recording, those that its manifest has."""
        fields = self.recordings[self.place_of[id]].metadata
        found: dict[str, str] = {}
        for name, meanings in _SHOWN.items():
            columns = [find_column(fields, meaning) for meaning in meanings]
            values = (fields[column].strip() for column in columns if column)
            if value := next(filter(None, values), ""):
                found[name] = value
        return found


def prepare_training(
    recordings: Recordings,
    embedder: Embedder,
    folder: Path,
    *,
    min_cosine: float = MIN_COSINE,
    device: str = "cpu",
) -> Iterator[WorkProgress]:
    """Embed the training sounds, index their landmarks and find their duplicates, as far as that isn't done.

    Raises:
        InvalidRequest: the folder belongs to other sounds or another embedder, or another process works there.
        CheckpointError: what is there is damaged. ResourceError: it can't be written.
    """
    for at in embed_recordings(recordings, embedder, folder / EMBEDDINGS):
        yield WorkProgress("training", at.done, at.total, f"{at.failed} failed")
    store = EmbeddingStore.open(folder / EMBEDDINGS)
    digest = _digest(store)
    index = folder / f"{LANDMARKS}{digest}"
    if not index.exists() and any(not one.failure for one in store.recordings):
        yield WorkProgress("landmarks", 0, 1)
        build_index(store.landmarks(), index)
        yield WorkProgress("landmarks", 1, 1)
    path = folder / f"{DUPLICATES}{digest}.json"
    if not path.exists():
        pairs: list[Pair] = []
        yield WorkProgress("duplicates", 0, 1)
        rows = centered(store.means, center_of(store))
        near = near_pairs(rows, min_cosine, _NEIGHBORS, device=device)
        yield from _confirm_pairs(near, _Tests(recordings, store, index), pairs)
        write_record(path, {"least": min_cosine, "pairs": [asdict(pair) for pair in pairs]})


def _confirm_pairs(
    near: Sequence[tuple[int, int, float]], tests: "_Tests", pairs: list[Pair]
) -> Iterator[WorkProgress]:
    """Append the nearest pairs to `pairs`, the nearest first, until many in a row were refuted."""
    for number, (one, other, cosine) in enumerate(near):
        yield WorkProgress("duplicates", number, len(near))
        pair = tests.ids[one], tests.ids[other], cosine
        pairs += confirmed([pair], tests.samples, tests.same_landmarks, tests.same_mel)
        if number >= _PATIENCE and not any(p.confirmed_by for p in pairs[-_PATIENCE:]):
            break
    yield WorkProgress("duplicates", len(near), len(near))


def open_training(recordings: Recordings, folder: Path, device: str = "cpu") -> TrainingSounds:
    """Return what `prepare_training` made. Raises `CheckpointError` where it is damaged."""
    store = EmbeddingStore.open(folder / EMBEDDINGS)
    digest = _digest(store)
    index = folder / f"{LANDMARKS}{digest}"
    path = folder / f"{DUPLICATES}{digest}.json"
    try:
        record = read_record(path)
        pairs = [Pair(**entry) for entry in record["pairs"]]
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged; remove it, and run this again") from error
    least = refuted_cosine(pairs, record["least"])
    ids = [one.id for one in store.recordings]
    opened = LandmarkIndex.open(index) if index.exists() else None
    return TrainingSounds(recordings, store, opened, find_duplicates(ids, pairs, least), device)


def _digest(store: EmbeddingStore) -> str:
    text = json.dumps([dict(shard) for shard in store.shards], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class _Tests:
    """Tests of pairs of training sounds; what landmarks find of the first one is kept for its next pair."""

    def __init__(self, recordings: Recordings, store: EmbeddingStore, index: Path) -> None:
        self._recordings, self._store = recordings, store
        self.ids = [one.id for one in store.recordings]
        self._places = {id: place for place, id in enumerate(self.ids)}
        self._index = LandmarkIndex.open(index) if index.exists() else None
        self._found: tuple[str, set[str]] = ("", set())
        self.samples = {one.id: one.pcm_sha256 for one in store.recordings}

    def same_landmarks(self, first: str, second: str) -> bool:
        if self._index is None:
            return False
        if self._found[0] != first:
            found = search(self._index, self._store.landmarks_at(self._places[first]))
            self._found = first, {one.ref_id for one in found if one.p_value <= LANDMARK_P}
        return second in self._found[1]

    def same_mel(self, first: str, second: str) -> bool:
        try:
            one, other = (
                mel_of(*read_start(self._recordings, self._places[id], _COMPARED_SECONDS))
                for id in (first, second)
            )
        except AudioError:  # was counted where it was embedded, or is silent at its beginning
            return False
        match = mel_correlation(one, other)
        is_whole = match.duration_s > WINDOW_SECONDS - SECONDS_PER_FRAME
        return is_whole and match.correlation >= MEL_CORRELATION
