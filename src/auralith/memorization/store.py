"""Embeddings of recordings on disk: unit vectors in float16, with landmarks, in shards that are written whole.

    index.json                  protocol of the embedder; of each shard its recordings, its rows and its SHA-256
    shard-00000.safetensors     vectors (row, dim) float16, and how many rows each recording has
                                hashes, frames of landmarks, how many each recording has, and over how many frames
                                recordings: JSON of ids, hashes of samples, lengths, and reasons of failures

A shard counts once the index names it, so a run that is killed goes on behind the last one; one that is missing or damaged
is made again. Vectors are mapped, not
loaded: 5.3 million windows of 512 numbers (7,300 hours) are 5.4 GB.
"""

import hashlib
import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float16, Int
from torch import Tensor

from auralith.checksums import read_record, write_record
from auralith.data.recording import Recordings
from auralith.embedders import Embedder
from auralith.embedders.embedder import ProtocolValue
from auralith.errors import AudioError, CheckpointError, InvalidRequest
from auralith.escaping import one_line
from auralith.files import exclusive, file_hash, whole_file
from auralith.fingerprint import Landmarks, landmarks_of, pruned
from auralith.fingerprint.landmark import PARAMETERS
from auralith.foreign import SHAPE_ERRORS, parse_json
from auralith.tensor_files import read_safetensors

log = logging.getLogger(__name__)

INDEX = "index.json"
RECORDINGS_PER_SHARD = 256
_COLUMNS = ("vectors", "windows", "hashes", "frames", "landmarks", "num_frames", "recordings")


@dataclass(frozen=True)
class StoreOptions:
    """Options of what is kept of each recording."""

    max_seconds: float | None = None
    """Length that is read of each recording; all of it if None."""
    all_landmarks: bool = False
    """Keep all landmarks, as of a query, and not the most prominent ones alone."""


@dataclass(frozen=True)
class EmbeddedRecording:
    """A recording in a store; one that could not be embedded has a failure and no rows."""

    id: str
    pcm_sha256: str
    """SHA-256 of rate, channels and samples of the whole recording, also where only its beginning is embedded."""
    seconds: float
    failure: str = ""


@dataclass(frozen=True)
class StoreProgress:
    """Recordings that are done, also by earlier runs."""

    done: int
    total: int
    failed: int


def embed_recordings(
    recordings: Recordings,
    embedder: Embedder,
    folder: Path,
    options: StoreOptions = StoreOptions(),
    *,
    per_shard: int = RECORDINGS_PER_SHARD,
) -> Iterator[StoreProgress]:
    """Embed what the store at `folder` has not yet, in order, and write it shard by shard.

    A shard that is missing or damaged is made again, with a warning.

    Raises:
        InvalidRequest: the folder's vectors were made in another way, or of other recordings; or another process works
            there.
        CheckpointError: the index is damaged.
        ResourceError: it can't be written.
    """
    made_by = {**embedder.protocol(), **_as_protocol(options)}
    ids = [recordings[i].id for i in range(len(recordings))]
    with exclusive(folder):
        index = _read_index(folder) if (folder / INDEX).exists() else _Index(made_by, embedder.dim)
        if index.protocol != made_by:
            raise InvalidRequest(
                f"{folder} holds embeddings of another embedder or other options; name a new folder"
            )
        damaged = [n for n, shard in enumerate(index.shards) if not _is_whole(folder, shard)]
        kept = _kept(folder, index, ids, damaged)
        done, failed = len(kept), sum(bool(one.failure) for one in kept)
        yield StoreProgress(done, len(ids), failed)
        for number, places in _missing(folder, index, damaged, len(ids), per_shard):
            parts = []
            for i in places:
                parts.append(_embedded(recordings, i, embedder, options))
                done, failed = done + 1, failed + bool(parts[-1].stored.failure)
                yield StoreProgress(done, len(ids), failed)
            index.shards[number : number + 1] = [_write_shard(folder, number, parts, index.dim)]
            write_record(folder / INDEX, vars(index))


@dataclass
class _Index:
    """Contents of `index.json`; its shards have name, recordings, rows and SHA-256."""

    protocol: dict[str, ProtocolValue]
    dim: int
    shards: list[dict[str, Any]] = field(default_factory=list)

    def places(self) -> list[range]:
        """Return the places of the recordings of each shard."""
        ends = np.cumsum([0, *(shard["recordings"] for shard in self.shards)]).tolist()
        return [range(*pair) for pair in pairwise(ends)]


def _read_index(folder: Path) -> _Index:
    """Return the index of a store. Raises `CheckpointError` where it is missing or damaged."""
    try:
        read = read_record(folder / INDEX)
        shards = [
            {
                "name": Path(str(shard["name"])).name,
                **{key: int(shard[key]) for key in ("recordings", "rows")},
                "sha256": str(shard["sha256"]),
            }
            for shard in read["shards"]
        ]
        return _Index(dict(read["protocol"]), int(read["dim"]), shards)
    except OSError as error:
        raise CheckpointError(
            f"{folder} holds no whole store of embeddings ({error.strerror or error}); embed again"
        ) from error
    except SHAPE_ERRORS as error:
        raise CheckpointError(
            f"{folder / INDEX} is damaged; embed again in a new folder"
        ) from error


def _is_whole(folder: Path, shard: Mapping[str, Any]) -> bool:
    path = folder / shard["name"]
    return path.is_file() and file_hash(path) == shard["sha256"]


def _kept(
    folder: Path, index: _Index, ids: Sequence[str], damaged: Collection[int]
) -> list[EmbeddedRecording]:
    """Return the recordings of all whole shards. Raises `InvalidRequest` unless they are those at their places."""
    kept: list[EmbeddedRecording] = []
    for number, places in enumerate(index.places()):
        found: list[EmbeddedRecording] = []
        if number not in damaged:
            found = _recordings(_read_shard(folder / index.shards[number]["name"], index.dim))
        expected = [ids[i] for i in places if i < len(ids)]
        if places.stop > len(ids) or (found and [one.id for one in found] != expected):
            raise InvalidRequest(
                f"{folder} holds embeddings of other recordings; name a new folder"
            )
        kept += found
    return kept


def _missing(
    folder: Path, index: _Index, damaged: Sequence[int], total: int, per_shard: int
) -> Iterator[tuple[int, range]]:
    """Yield number and places of each shard to be made: the damaged ones, with a warning, and those to come."""
    known = index.places()
    for number in damaged:
        path, count = folder / index.shards[number]["name"], len(known[number])
        log.warning("%s is damaged or missing; its %d recordings are embedded again", path, count)
        yield number, known[number]
    first = known[-1].stop if known else 0
    for start in range(first, total, per_shard):
        yield len(index.shards), range(start, min(start + per_shard, total))
    if not index.shards:  # of no recordings
        yield 0, range(0)


def _as_protocol(options: StoreOptions) -> dict[str, ProtocolValue]:
    landmarks = "all" if options.all_landmarks else "prominent"
    return {"max_seconds": options.max_seconds, "landmarks": landmarks}


@dataclass(frozen=True)
class _Part:
    stored: EmbeddedRecording
    vectors: Float16[np.ndarray, "window dim"]
    landmarks: Landmarks


def _embedded(recordings: Recordings, i: int, embedder: Embedder, options: StoreOptions) -> _Part:
    id = recordings[i].id
    digest, seconds = "", 0.0
    try:
        waveform, rate = recordings.read(i)
        digest = _pcm_sha256(waveform, rate)
        waveform = waveform[:, : _samples(options.max_seconds, rate)]
        seconds = waveform.shape[1] / rate
        vectors = unit_rows(embedder.embed(waveform, rate).numpy())
    except AudioError as error:
        none = np.zeros(0, np.int64)
        nothing = Landmarks(none, none, np.zeros(0), 0, 0.0)
        failed = EmbeddedRecording(id, digest, seconds, one_line(str(error), 300))
        return _Part(failed, np.zeros((0, embedder.dim), np.float16), nothing)
    found = landmarks_of(iter([waveform.mean(0).numpy()]), rate)
    kept = found if options.all_landmarks else pruned(found)
    return _Part(EmbeddedRecording(id, digest, seconds), vectors, kept)


def read_start(
    recordings: Recordings, i: int, max_seconds: float | None = None
) -> tuple[Float[Tensor, "channel sample"], int]:
    """Return the beginning of a recording, of at most `max_seconds`, and its rate. Raises `AudioError` as `read` does."""
    return recordings.read(i, 0, _samples(max_seconds, recordings.info(i).sample_rate))


def _samples(seconds: float | None, rate: int) -> int | None:
    return None if seconds is None else round(seconds * rate)


def unit_rows(vectors: Float[np.ndarray, "row dim"]) -> Float16[np.ndarray, "row dim"]:
    """Return the rows with norm 1. Raises `AudioError` where a row is zero or not finite."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise AudioError("its embedding is zero or not finite", "not_finite")
    return (vectors / norms).astype(np.float16)


def _pcm_sha256(waveform: Float[Tensor, "channel sample"], sample_rate: int) -> str:
    digest = hashlib.sha256(f"{sample_rate} {waveform.shape[0]} ".encode())
    digest.update(waveform.contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


def _write_shard(folder: Path, number: int, parts: Sequence[_Part], dim: int) -> dict[str, Any]:
    from safetensors.numpy import save

    found = [part.landmarks for part in parts]
    names = json.dumps([vars(part.stored) for part in parts], ensure_ascii=True).encode()
    tensors = {
        "vectors": np.concatenate([np.zeros((0, dim), np.float16), *(p.vectors for p in parts)]),
        "windows": np.array([len(part.vectors) for part in parts], np.int64),
        "hashes": _joined([one.hashes for one in found]),
        "frames": _joined([one.frames for one in found]),
        "landmarks": np.array([len(one.hashes) for one in found], np.int64),
        "num_frames": np.array([one.num_frames for one in found], np.int64),
        "recordings": np.frombuffer(names, np.uint8),
    }
    path = folder / f"shard-{number:05}.safetensors"
    with whole_file(path) as file:
        file.write(save(tensors))
    return {
        "name": path.name,
        "recordings": len(parts),
        "rows": len(tensors["vectors"]),
        "sha256": file_hash(path),
    }


def _joined(parts: Sequence[np.ndarray]) -> Int[np.ndarray, " landmark"]:
    return np.concatenate([np.zeros(0, np.int32), *parts]).astype(np.int32)


@dataclass(frozen=True)
class EmbeddingStore:
    """An open store."""

    folder: Path
    protocol: Mapping[str, ProtocolValue]
    dim: int
    shards: tuple[Mapping[str, Any], ...]
    _tensors: tuple[Mapping[str, Tensor], ...]

    @classmethod
    def open(cls, folder: Path) -> "EmbeddingStore":
        """Open a store, and compare its shards with their checksums.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        index = _read_index(folder)
        for shard in index.shards:
            if not _is_whole(folder, shard):
                raise CheckpointError(f"{folder / shard['name']} is damaged; embed again")
        tensors = tuple(_read_shard(folder / shard["name"], index.dim) for shard in index.shards)
        return cls(folder, index.protocol, index.dim, tuple(index.shards), tensors)

    @cached_property
    def recordings(self) -> tuple[EmbeddedRecording, ...]:
        """Return all recordings, failed ones too, in their order."""
        return tuple(one for tensors in self._tensors for one in _recordings(tensors))

    @cached_property
    def owners(self) -> Int[np.ndarray, " row"]:
        """Return the place of each row's recording."""
        counts = self._counts("windows")
        return np.repeat(np.arange(len(counts)), counts)

    @cached_property
    def starts_s(self) -> Float[np.ndarray, " row"]:
        """Return where the window of each row starts in its recording."""
        firsts = np.concatenate(([0], np.cumsum(self._counts("windows"))[:-1]))
        hop = self.protocol.get("hop_s")
        return (np.arange(len(self.owners)) - firsts[self.owners]) * float(hop or 0.0)

    @property
    def vectors(self) -> "Vectors":
        """Return all rows, mapped."""
        return Vectors([one["vectors"].numpy() for one in self._tensors], self.dim)

    @cached_property
    def means(self) -> Float16[np.ndarray, "recording dim"]:
        """Return a row for each recording: the direction of the mean of its windows, zeros where it has none."""
        sums = np.zeros((len(self.recordings), self.dim), np.float32)
        vectors, size = self.vectors, 65_536
        for start in range(0, len(self.owners), size):
            part = slice(start, start + size)
            np.add.at(sums, self.owners[part], vectors[part].astype(np.float32))
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        return np.where(norms > 0, sums / np.where(norms > 0, norms, 1), 0).astype(np.float16)

    def landmarks(self) -> Iterator[tuple[str, Landmarks]]:
        """Yield id and landmarks of each recording that has rows."""
        for place, one in enumerate(self.recordings):
            if not one.failure:
                yield one.id, self.landmarks_at(place)

    def landmarks_at(self, place: int) -> Landmarks:
        """Return the landmarks of the recording at a place, without their prominence."""
        shard = int(np.searchsorted(self._firsts, place, side="right")) - 1
        columns, within = self._tensors[shard], place - self._firsts[shard]
        ends = self._landmark_ends[shard]
        part = slice(ends[within - 1] if within else 0, ends[within])
        hashes, frames = (
            columns[name][part].numpy().astype(np.int64) for name in ("hashes", "frames")
        )
        length = int(columns["num_frames"][within])
        seconds = length * PARAMETERS.seconds_per_frame
        return Landmarks(hashes, frames, np.zeros(len(hashes)), length, seconds)

    @cached_property
    def _firsts(self) -> Int[np.ndarray, " shard"]:
        """Places of the first recording of each shard."""
        return np.cumsum([0, *(len(one["windows"]) for one in self._tensors)])[:-1]

    @cached_property
    def _landmark_ends(self) -> list[Int[np.ndarray, "_"]]:
        return [np.cumsum(one["landmarks"].numpy()) for one in self._tensors]

    def _counts(self, name: str) -> Int[np.ndarray, " recording"]:
        return np.concatenate(
            [np.zeros(0, np.int64), *(one[name].numpy() for one in self._tensors)]
        )


def _recordings(tensors: Mapping[str, Tensor]) -> list[EmbeddedRecording]:
    """Return the recordings of a shard."""
    return [
        EmbeddedRecording(**entry) for entry in parse_json(tensors["recordings"].numpy().tobytes())
    ]


class Vectors:
    """Rows of several arrays as one, as `search.Rows`."""

    def __init__(self, parts: Sequence[Float16[np.ndarray, "_ dim"]], dim: int) -> None:
        self._parts = parts
        self._ends = np.cumsum([0, *map(len, parts)])
        self.shape = int(self._ends[-1]), dim

    def __getitem__(self, places: slice | Int[np.ndarray, "..."], /) -> Float16[np.ndarray, "..."]:
        if isinstance(places, slice):
            start, stop, _ = places.indices(self.shape[0])
            cuts = zip(self._parts, self._ends[:-1], strict=True)
            rows = [part[max(0, start - at) : max(0, stop - at)] for part, at in cuts]
            return np.concatenate([np.zeros((0, self.shape[1]), np.float16), *rows])
        found = np.empty((len(places), self.shape[1]), np.float16)
        owner = np.searchsorted(self._ends, places, side="right") - 1
        for number in np.unique(owner):
            here = owner == number
            found[here] = self._parts[number][places[here] - self._ends[number]]
        return found


def _read_shard(path: Path, dim: int) -> dict[str, Tensor]:
    """Return the columns of a shard, mapped. Its checksum was right, so it is what was written."""
    weights = read_safetensors(path)
    if set(weights) != set(_COLUMNS) or weights["vectors"].shape[1:] != (dim,):
        raise CheckpointError(f"{path} is of another version; embed again in a new folder")
    return {name: (weights[name].mapped or weights[name].read)() for name in _COLUMNS}
