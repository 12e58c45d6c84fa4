"""Recordings of a run: which ones train and which validate, and the order of those that train.

The split is the dataset's own column, else drawn at random; the manifest of a curation has such a column (`split`), so
that near duplicates never stand on both sides. The autoencoder may draw them by epochs (arXiv 2407.14358, section 3.1):
the published set took 5 s chunks, at most three of a Freesound recording, further ones of a high-fidelity set (all of
FMA, and Freesound recordings that are stereo, at 48 kHz and full of high frequencies), so that these come twice. Which
recording is due is a function of the seed and the item's number in the run.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from auralith.data.recording import Recordings
from auralith.errors import InvalidRequest
from auralith.numbers import check_integer, check_number

SPLIT_COLUMN = "split"
Role = Literal["train", "validation", "test"]
ROLES: Mapping[str, Role] = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
    "test": "test",
    "testing": "test",
}


def roles_of(metadata: Iterable[Mapping[str, str]], column: str) -> list[Role | None]:
    """Return what each recording is for, None where its metadata doesn't say; an empty `column` asks nothing.

    Raises:
        InvalidRequest: the column holds a word that means no split; it is named.
    """
    return [_role(fields, column.lower()) for fields in metadata]


def _role(fields: Mapping[str, str], column: str) -> Role | None:
    word = (
        next((text for name, text in fields.items() if name.lower() == column), "")
        if column
        else ""
    )
    if not word.strip():
        return None
    role = ROLES.get(word.strip().lower())
    if role is None:
        raise InvalidRequest(
            f"the column {column!r} holds {word!r:.60}; write train, validation or test, "
            "or ignore the column with split_column="
        )
    return role


def split_up(
    order: Sequence[int], roles: Sequence[Role | None], validation_items: int
) -> tuple[list[int], list[int]]:
    """Return the recordings to train on and at most `validation_items` to validate on, both in the given order.

    `roles` belong to `order`. Rows marked as validation or test are never trained on, unmarked ones are. Where no row
    is marked as validation, the first ones to be trained on are held out, at most a tenth.
    """
    trained = [i for i, role in zip(order, roles, strict=True) if role in (None, "train")]
    marked = [i for i, role in zip(order, roles, strict=True) if role == "validation"]
    if marked:
        return trained, marked[:validation_items]
    held_out = min(validation_items, len(trained) // 10)
    return trained[held_out:], trained[:held_out]


CHUNK_STREAM = 2**43
TRUE_WORDS = ("true", "1", "yes")


@dataclass(frozen=True)
class ChunkSampling:
    """Number of chunks of a recording in an epoch; the published training sets 3 and a weight of 2."""

    chunks_per_recording: int = 0
    """Most chunks of a recording in an epoch. 0: no epochs, each crop is of any recording alike."""
    chunk_seconds: float = 5.0
    """Length of a chunk: a shorter recording has one."""
    high_fidelity_weight: int = 1
    """Factor by which a recording whose field `high_fidelity` is true comes more often."""
    unlimited_sources: tuple[str, ...] = ("fma",)
    """Recordings with one of these as their `source` have all their chunks in an epoch, once."""

    def __post_init__(self) -> None:
        check_integer(self, "chunks_per_recording", 0)
        check_number(self, "chunk_seconds", "s", above=0.0)
        check_integer(self, "high_fidelity_weight", 1)


class Epochs:
    """Order of recordings: every one its number of times an epoch, in an order drawn anew for each."""

    def __init__(
        self, recordings: Recordings, trained: Sequence[int], sampling: ChunkSampling, seed: int
    ) -> None:
        """Raises InvalidRequest where the length of a recording is needed and can't be read."""
        self.trained, self.seed = trained, seed
        counts: list[int] = []
        if sampling.chunks_per_recording:
            counts = [chunks(recordings, index, sampling) for index in trained]
        self.ends = np.cumsum(counts, dtype=np.int64)

    def recording(self, count: int) -> int | None:
        """Return the recording of the count-th item of the run; None without epochs."""
        if not len(self.ends):
            return None
        epoch, place = divmod(count, int(self.ends[-1]))
        chunk = self._order(epoch)[place]
        return self.trained[int(np.searchsorted(self.ends, chunk, side="right"))]

    @lru_cache(maxsize=2)  # noqa: B019  an epoch's order is used by all its steps; a task lives as long as its run
    def _order(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, CHUNK_STREAM, epoch])
        return rng.permutation(int(self.ends[-1]))


def chunks(recordings: Recordings, index: int, sampling: ChunkSampling) -> int:
    """Return how many chunks of a recording an epoch has."""
    fields = {
        name.lower(): text.strip().lower() for name, text in recordings[index].metadata.items()
    }
    whole = max(1, int(recordings.seconds(index) // sampling.chunk_seconds))
    if fields.get("source") in sampling.unlimited_sources:
        return whole
    weight = sampling.high_fidelity_weight if fields.get("high_fidelity") in TRUE_WORDS else 1
    return weight * min(whole, sampling.chunks_per_recording)
