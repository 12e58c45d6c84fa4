"""The index of reference recordings: postings sorted by hash, and where those of each hash begin, memory-mapped.

    header.json    parameters, version, references, the cap of a bucket
    offsets.npy    2^22 + 1 places in the postings
    references.npy frames.npy   of each posting
    sounds.json    the folder of the sounds, if they lie in one; no part of what the index answers

References go to shards that fit into memory, and the shards are merged into one index. Hashes that occur everywhere
(silence, hum, test tones) carry little evidence, so a bucket beyond the cap keeps an even selection of its postings. An
index of other parameters or another version is refused.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Int, Integer

from auralith.errors import InvalidRequest
from auralith.escaping import one_line
from auralith.files import whole_folder
from auralith.fingerprint.landmark import HASH_BITS, PARAMETERS, Landmarks
from auralith.foreign import NPY_ERRORS, SHAPE_ERRORS, parse_json

VERSION = 1
SOUNDS = "sounds.json"
NUM_HASHES = 1 << HASH_BITS
_CHUNK = 4_000_000
_MOST_FRAMES = 1 << 31
"""Limits a reference, as `fingerprint.votes` keeps differences of places in 32 bits."""


@dataclass(frozen=True)
class IndexOptions:
    """Limits of building an index."""

    shard_postings: int = 20_000_000
    """Postings that are sorted at a time; each takes 16 bytes of memory."""
    bucket_cap: int = 4_096
    """Largest number of postings of one hash."""


@dataclass(frozen=True)
class Reference:
    """A recording in the index."""

    ref_id: str
    num_frames: int


@dataclass(frozen=True)
class _Shard:
    """Postings sorted by hash."""

    hashes: Integer[np.ndarray, " posting"]
    references: Integer[np.ndarray, " posting"]
    frames: Integer[np.ndarray, " posting"]


def build_index(
    sounds: Iterable[tuple[str, Landmarks]],
    folder: Path,
    options: IndexOptions | None = None,
    root: Path | None = None,
) -> int:
    """Write an index of (reference id, pruned landmarks), and return its number of postings.

    `root` is the folder of the sounds, which the index remembers, so that people can listen to what was found.

    Raises:
        CheckpointError: the folder exists.
        ResourceError: the folder can't be written.
        InvalidRequest: two references have the same id, or none is given.
    """
    options = options or IndexOptions()
    with whole_folder(folder) as target:
        references: list[Reference] = []
        counts = np.zeros(NUM_HASHES, np.int64)
        num_shards = 0
        for shard in _shards(sounds, references, options):
            counts += np.bincount(shard.hashes, minlength=NUM_HASHES)
            for name, column in vars(shard).items():
                np.save(target / f"shard-{num_shards}-{name}.npy", column)
            num_shards += 1
        if not references:
            raise InvalidRequest("there is no reference to index; give a folder of sounds")
        offsets = np.concatenate(([0], np.cumsum(np.minimum(counts, options.bucket_cap))))
        _merge(target, num_shards, counts, offsets, options.bucket_cap)
        np.save(target / "offsets.npy", offsets)
        header = {
            "version": VERSION,
            "parameters": asdict(PARAMETERS),
            "bucket_cap": options.bucket_cap,
            "thinned_buckets": int((counts > options.bucket_cap).sum()),
            "references": [[one.ref_id, one.num_frames] for one in references],
        }
        (target / "header.json").write_text(json.dumps(header, ensure_ascii=False))
        if root is not None:
            start = os.path.relpath(os.path.realpath(root), os.path.realpath(folder))
            (target / SOUNDS).write_text(json.dumps({"root": start}))
    return int(offsets[-1])


def sounds_root(folder: Path) -> Path | None:
    """Return the folder of the sounds that an index was made of; None if the index doesn't say."""
    try:
        return folder / str(parse_json((folder / SOUNDS).read_bytes())["root"])
    except (OSError, *SHAPE_ERRORS):
        return None


def _shards(
    sounds: Iterable[tuple[str, Landmarks]], references: list[Reference], options: IndexOptions
) -> Iterator[_Shard]:
    """Yield sorted shards, and append their references to `references`."""
    parts: list[tuple[np.ndarray, ...]] = []
    size = 0
    names: set[str] = set()
    for ref_id, landmarks in sounds:
        if ref_id in names:
            raise InvalidRequest(f"two references have the id {ref_id}; give each its own")
        names.add(ref_id)
        number = np.full(len(landmarks.hashes), len(references), np.uint32)
        columns = landmarks.hashes.astype(np.uint32), number, landmarks.frames.astype(np.uint32)
        parts.append(columns)
        references.append(Reference(ref_id, landmarks.num_frames))
        size += len(landmarks.hashes)
        if size >= options.shard_postings:
            yield _sorted(parts)
            parts, size = [], 0
    if parts:
        yield _sorted(parts)


def _sorted(parts: list[tuple[np.ndarray, ...]]) -> _Shard:
    hashes, references, frames = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(hashes, kind="stable")
    return _Shard(hashes[order], references[order], frames[order])


def _merge(
    folder: Path, num_shards: int, counts: np.ndarray, offsets: np.ndarray, cap: int
) -> None:
    """Copy the postings of the shards to their places, and remove the shards."""
    names = ("references", "frames")
    merged = {
        name: np.lib.format.open_memmap(
            folder / f"{name}.npy", "w+", np.uint32, (max(1, int(offsets[-1])),)
        )
        for name in names
    }
    seen = np.zeros(NUM_HASHES, np.int64)
    """Postings of each hash in earlier shards."""
    for number in range(num_shards):
        columns = {
            name: np.load(folder / f"shard-{number}-{name}.npy", mmap_mode="r")
            for name in ("hashes", *names)
        }
        for start in range(0, len(columns["hashes"]), _CHUNK):
            part = slice(start, start + _CHUNK)
            hashes = np.asarray(columns["hashes"][part], np.int64)
            rank = seen[hashes] + _rank_in_run(hashes)
            kept, place = _places(rank, counts[hashes], offsets[hashes], cap)
            for name in names:
                merged[name][place] = columns[name][part][kept]
            seen += np.bincount(hashes, minlength=NUM_HASHES)
        del columns
        for name in ("hashes", *names):
            (folder / f"shard-{number}-{name}.npy").unlink()
    for column in merged.values():
        column.flush()


def _rank_in_run(hashes: Int[np.ndarray, " posting"]) -> Int[np.ndarray, " posting"]:
    """Return the rank of each value among its equals; the values are sorted."""
    return np.arange(len(hashes)) - np.searchsorted(hashes, hashes)


def _places(
    rank: np.ndarray, count: np.ndarray, offset: np.ndarray, cap: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return which postings are kept and their places: every (count/cap)-th of a bucket beyond the cap, all of others."""
    slot = np.where(count > cap, rank * cap // count, rank)
    before = np.where(count > cap, (rank - 1) * cap // count, -1)
    kept = (slot != before) | (rank == 0)
    return kept, (offset + slot)[kept]


@dataclass(frozen=True)
class LandmarkIndex:
    """An open index on disk."""

    folder: Path
    references: tuple[Reference, ...]
    digest: str
    """Digest of the header, which names every reference: another index gives other answers."""

    @classmethod
    def open(cls, folder: Path) -> "LandmarkIndex":
        """Open an index. Raises `InvalidRequest` if the folder is not one, or has another version or other parameters."""
        try:
            text = (folder / "header.json").read_bytes()
            header = parse_json(text)
            version, parameters = header["version"], header["parameters"]
            references = tuple(Reference(str(name), int(n)) for name, n in header["references"])
            if not all(0 <= one.num_frames <= _MOST_FRAMES for one in references):
                raise ValueError("a reference has an impossible length")
        except (OSError, *SHAPE_ERRORS) as error:
            raise InvalidRequest(
                f"{folder} is not a landmark index; make one with auralith curate index"
            ) from error
        if version != VERSION or parameters != asdict(PARAMETERS):
            raise InvalidRequest(
                f"{folder} was made by another version or with other parameters; index the sounds again"
            )
        return cls(folder, references, hashlib.sha256(text).hexdigest()[:16])

    @cached_property
    def num_frames(self) -> Int[np.ndarray, " reference"]:
        return np.array([one.num_frames for one in self.references], np.int64)

    @cached_property
    def _columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        try:
            offsets, references, frames = (
                np.load(self.folder / f"{name}.npy", mmap_mode="r")
                for name in ("offsets", "references", "frames")
            )
        except NPY_ERRORS as error:
            raise InvalidRequest(
                f"{self.folder} is damaged ({one_line(str(error), 200)}); index again"
            ) from error
        if (
            offsets.shape != (NUM_HASHES + 1,)
            or {references.ndim, frames.ndim} != {1}
            or not {column.dtype.kind for column in (offsets, references, frames)} <= set("iu")
            or offsets[0] < 0
            or min(len(frames), len(references)) < offsets[-1]
            or (
                offsets[1:] < offsets[:-1]
            ).any()  # a difference of unsigned numbers is never less than 0
        ):
            raise InvalidRequest(f"{self.folder} is damaged; index again")
        return offsets, references, frames

    def postings(
        self, hashes: Int[np.ndarray, " query"]
    ) -> tuple[Int[np.ndarray, " hit"], Int[np.ndarray, " hit"], Int[np.ndarray, " hit"]]:
        """Return (place in the query, reference, frame) of every posting of these hashes.

        Raises:
            InvalidRequest: the index is damaged.
        """
        offsets, references, frames = self._columns
        starts, stops = offsets[hashes], offsets[hashes + 1]
        lengths = stops - starts
        query = np.repeat(np.arange(len(hashes)), lengths)
        first = np.repeat(starts - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
        place = np.arange(len(query)) + first
        owners, at = references[place].astype(np.int64), frames[place].astype(np.int64)
        in_range = (owners >= 0) & (owners < len(self.references))
        if not in_range.all() or not ((at >= 0) & (at < self.num_frames[owners])).all():
            raise InvalidRequest(f"{self.folder} is damaged; index again")
        return query, owners, at
