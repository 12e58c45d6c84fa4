"""Latents and text states of whole recordings, computed once: the cache that training reads.

A cache is a folder: `cache.json` says which autoencoder and text encoder made it and what silence is, and
`shard-*.safetensors` hold the recordings, one after another along the frame axis. A shard is written whole or not at
all and is mapped, not read: a crop costs its own frames. Its checksum lies beside it and is compared when the
cache is opened, that of `cache.json` is inside. Behind its last frame of sound every recording keeps the
frames in which silence sets in; after those comes the one latent of silence, for as long as a crop reaches.

Tensors of a shard, in items that lie end to end: mean, std (frame, channel); text (token, dim), real tokens only;
records (JSON as bytes); frame_ends, text_ends and record_ends, where each item ends; num_frames and seconds.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from auralith.checksums import FORMAT, checksum_path, file_with_checksum, has_its_checksum
from auralith.config import AudioFormat
from auralith.data.latent_header import CacheHeader, Failures, require_same, shard_path
from auralith.data.report import DatasetReport
from auralith.errors import CheckpointError
from auralith.files import canonical_json
from auralith.foreign import SHAPE_ERRORS, parse_json

log = logging.getLogger(__name__)
HASHING_THREADS = 4
METADATA_KEY = "auralith"


@dataclass(frozen=True)
class LatentRecord:
    """A recording of a cache."""

    id: str
    path: str
    seconds: float
    """Length of the whole file, as the file has it."""
    num_frames: int
    """Latent frames that hold sound."""
    prompts: tuple[str, ...]
    """Its wordings; where the cache holds text, their states are the variants of `LatentCache.text`."""
    metadata: dict[str, str]


@dataclass(frozen=True)
class EncodedItem:
    """A recording ready to be stored. `mean` and `std` reach beyond its sound, to where silence is constant."""

    record: LatentRecord
    mean: Float[Tensor, "channel stored"]
    std: Float[Tensor, "channel stored"]


def write_shard(
    folder: Path,
    index: int,
    header: CacheHeader,
    items: Sequence[EncodedItem],
    texts: Mapping[str, Float[Tensor, "token dim"]],
    failures: Failures = (),
) -> None:
    """Write a shard, whole or not at all; `texts` has the states of every prompt, or of none.

    Everything is stored in the number format it comes in.
    """
    places = {prompt: place for place, prompt in enumerate(texts)}
    records = [_packed(item.record, places) for item in items]
    states = list(texts.values())
    tensors = {
        "records": torch.frombuffer(bytearray(b"".join(records) or b" "), dtype=torch.uint8),
        "record_ends": _ends([len(record) for record in records]),
        "frame_ends": _ends([item.mean.shape[-1] for item in items]),
        "num_frames": torch.tensor([item.record.num_frames for item in items], dtype=torch.int64),
        "seconds": torch.tensor([item.record.seconds for item in items], dtype=torch.float64),
        "text_ends": _ends([len(state) for state in states]),
    }
    if items:
        tensors["mean"] = torch.cat([item.mean.T for item in items])
        tensors["std"] = torch.cat([item.std.T for item in items])
    if states:
        tensors["text"] = torch.cat(states)
    # one entry: safetensors writes several in random order, and equal shards should be equal files
    metadata = {METADATA_KEY: canonical_json({"key": header.shard_key, "failures": failures})}
    with file_with_checksum(shard_path(folder, index)) as file:
        file.write(save(tensors, metadata))


def _packed(record: LatentRecord, places: Mapping[str, int]) -> bytes:
    texts = [places[prompt] for prompt in record.prompts] if places else []
    own = {"id": record.id, "path": record.path, "metadata": record.metadata}
    return canonical_json({**own, "prompts": record.prompts, "texts": texts}).encode()


_RECORD_FIELDS = {"id", "path", "metadata", "prompts", "texts"}


def _ends(lengths: Sequence[int]) -> Tensor:
    return torch.tensor(lengths, dtype=torch.int64).cumsum(0)


class DamagedShard(CheckpointError):
    """A shard is not as it was written; encoding again replaces it, and no other."""

    def __init__(self, path: Path, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(
            f"{path} is damaged ({reason}); repeat the 'auralith encode' that wrote it, with the same arguments: "
            "only this shard is encoded again"
        )


def verify_shard(folder: Path, index: int, header: CacheHeader) -> None:
    """Read all of a shard to compare it with its checksum; in format 1 it may have none.

    Raises:
        DamagedShard: it is another than was written, or lacks the checksum that it should have.
    """
    path = shard_path(folder, index)
    try:
        is_whole = has_its_checksum(path)
    except OSError as error:
        raise DamagedShard(path, error.strerror or "it can't be read") from error
    if is_whole is None and header.format == FORMAT:
        raise DamagedShard(path, "its checksum, which lies beside it, is missing")
    if is_whole is False:
        raise DamagedShard(path, "its checksum is another")


class Shard:
    """A shard, open: its index is in memory, everything else stays in the file."""

    def __init__(self, folder: Path, index: int, header: CacheHeader) -> None:
        """Open a shard, whose content is not verified.

        Raises:
            DamagedShard: its index can't be read.
            CheckpointError: it belongs to another cache.
        """
        self.path = path = shard_path(folder, index)
        try:
            self.file = safe_open(path, "pt")
            metadata = parse_json(self.file.metadata()[METADATA_KEY])
            names = ("record_ends", "frame_ends", "text_ends", "num_frames", "seconds")
            index_of = {name: self.file.get_tensor(name).numpy() for name in names}
            self.failures: Failures = tuple((p, r) for p, r in metadata["failures"])
            self._check(index_of)
        except (SafetensorError, OSError, *SHAPE_ERRORS) as error:
            raise DamagedShard(path, "its index can't be read") from error
        if metadata.get("key") != header.shard_key:
            raise CheckpointError(f"{path} is of another cache; delete it and encode again")
        self.record_ends, self.frame_ends, self.text_ends = (index_of[n] for n in names[:3])
        self.num_frames, self.seconds = index_of["num_frames"], index_of["seconds"]

    def _check(self, index_of: Mapping[str, np.ndarray]) -> None:
        """Raise ValueError if the index doesn't fit the stored tensors."""
        held = set(self.file.keys())
        for ends, stored in (
            ("record_ends", ("records",)),
            ("frame_ends", ("mean", "std")),
            ("text_ends", ("text",)),
        ):
            places = index_of[ends]
            last = int(places[-1]) if len(places) else 0
            lengths = [self.file.get_slice(n).get_shape()[0] for n in stored if n in held]
            if (np.diff(places, prepend=0) < 0).any() or any(last > length for length in lengths):
                raise ValueError(f"{ends} reach beyond what is stored")
            if last and len(lengths) < len(stored):
                raise ValueError(f"{ends} are of tensors that are not there")
        if len({len(index_of[n]) for n in index_of if n != "text_ends"}) > 1:
            raise ValueError("the index has columns of several lengths")

    def __len__(self) -> int:
        return len(self.num_frames)

    def fields(self, place: int) -> dict[str, Any]:
        """The stored JSON of an item."""
        start, stop = _span(self.record_ends, place)
        try:
            fields = parse_json(self.file.get_slice("records")[start:stop].numpy().tobytes())
            if fields.keys() >= _RECORD_FIELDS:
                return fields
        except (SafetensorError, *SHAPE_ERRORS):
            pass
        raise DamagedShard(self.path, "what it says of a recording can't be read")

    def frames(
        self, name: str, place: int, start: int, stop: int
    ) -> Float[Tensor, "frame channel"]:
        """Stored frames [start, stop) of an item, fewer or none where it has ended before."""
        first, last = _span(self.frame_ends, place)
        begin, end = min(first + start, last), min(first + stop, last)
        return self.file.get_slice(name)[begin:end].float()

    def text(self, place: int) -> Float[Tensor, "token dim"]:
        """A stored text, by its place in the shard."""
        start, stop = _span(self.text_ends, place)
        return self.file.get_slice("text")[start:stop].float()


def _span(ends: np.ndarray, place: int) -> tuple[int, int]:
    return int(ends[place - 1]) if place else 0, int(ends[place])


class LatentCache:
    """The recordings of a cache, in their order. Reading needs little memory and may be done from several threads."""

    def __init__(self, folder: Path, header: CacheHeader, verify: bool = True) -> None:
        """Use `open`, which checks the encoders. Raises `CheckpointError` as it does."""
        self.folder, self.header = folder, header
        missing = header.missing_shards(folder)
        if missing:
            raise CheckpointError(
                f"{folder} lacks {len(missing)} of {header.num_shards} shards; "
                "run 'auralith encode' again with the same arguments to finish it"
            )
        numbers = range(header.num_shards)
        if verify:
            with ThreadPoolExecutor(HASHING_THREADS, "checksums") as pool:
                list(pool.map(lambda index: verify_shard(folder, index, header), numbers))
        self._warn_of_unverified()
        self.shards = [Shard(folder, index, header) for index in numbers]
        self._starts = np.cumsum([0] + [len(shard) for shard in self.shards])
        self.silence: Float[Tensor, " channel"] = torch.tensor(header.silence_mean)
        self._silence_std = torch.tensor(header.silence_std)

    def _warn_of_unverified(self) -> None:
        paths = (shard_path(self.folder, index) for index in range(self.header.num_shards))
        if lacking := sum(not checksum_path(path).exists() for path in paths):
            log.warning(
                "%s holds %s of %s shards without a checksum, from an older version: damage in them may go unnoticed; "
                "encode into a new folder to have one",
                self.folder,
                lacking,
                self.header.num_shards,
            )

    @classmethod
    def open(
        cls,
        folder: str | Path,
        autoencoder_hash: str,
        text_encoder_hash: str | None = None,
        *,
        verify: bool = True,
    ) -> "LatentCache":
        """The cache in a folder, for use with these weights (`auralith.training.encode.weights_hash`).

        Give the text encoder's hash where its states are used. All shards are read once to compare their checksums,
        a second or two for each GB; directly after `encode_dataset`, which does so too, `verify` may be false.

        Raises:
            CheckpointError: the cache is missing, unfinished or damaged, or was made with other weights.
        """
        header = CacheHeader.read(Path(folder))
        require_same("autoencoder", folder, header.autoencoder, autoencoder_hash)
        if text_encoder_hash is not None:
            if header.text_encoder is None:
                raise CheckpointError(f"{folder} holds no text; encode with --variants 1 or more")
            require_same("text encoder", folder, header.text_encoder, text_encoder_hash)
        return cls(Path(folder), header, verify)

    @property
    def audio(self) -> AudioFormat:
        return self.header.audio

    @property
    def key(self) -> str:
        """A hash of all that decides what is in the cache."""
        return self.header.shard_key

    @property
    def has_text(self) -> bool:
        return self.header.text_encoder is not None

    @property
    def seconds(self) -> float:
        """Sound in all."""
        return float(sum(shard.seconds.sum() for shard in self.shards))

    @cached_property
    def bad(self) -> Failures:
        """The recordings that are not in the cache, and why."""
        return self.header.bad + tuple(f for shard in self.shards for f in shard.failures)

    def report(self) -> DatasetReport:
        """Return the report that `auralith.data.report` makes of a dataset, so that training on a cache makes the same checks."""
        return DatasetReport(
            total=self.header.total,
            usable=tuple(range(len(self))),
            bad=self.bad,
            seconds=self.seconds,
            sample_rates={self.audio.sample_rate: len(self)},
            channels={self.audio.channels: len(self)},
            distinct_prompts=len({record.prompts for record in self}) if self.has_text else None,
        )

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __iter__(self) -> Iterator[LatentRecord]:
        return (self.record(i) for i in range(len(self)))

    def num_frames(self, index: int) -> int:
        """Latent frames that hold sound; cheaper than `record`."""
        shard, place = self._locate(index)
        return int(shard.num_frames[place])

    def record(self, index: int) -> LatentRecord:
        shard, place = self._locate(index)
        stored = shard.fields(place)
        return LatentRecord(
            id=stored["id"],
            path=stored["path"],
            seconds=float(shard.seconds[place]),
            num_frames=int(shard.num_frames[place]),
            prompts=tuple(stored["prompts"]),
            metadata=stored["metadata"],
        )

    def latents(
        self, index: int, start: int, stop: int, rng: np.random.Generator | None = None
    ) -> Float[Tensor, "channel frame"]:
        """Frames [start, stop) in float32: a draw from the posterior with `rng`, its mean without.

        Frames after the end are silence. Frame n begins n · samples_per_frame samples into the recording.
        """
        if not 0 <= start < stop:
            raise IndexError(f"frames {start} to {stop} are not a stretch of a recording")
        shard, place = self._locate(index)
        latents = self._frames(shard, "mean", place, start, stop, self.silence)
        if rng is not None:
            std = self._frames(shard, "std", place, start, stop, self._silence_std)
            normal = rng.standard_normal(latents.shape, dtype=np.float32)
            latents.addcmul_(std, torch.from_numpy(normal))
        return latents.T.contiguous()

    def text(
        self, index: int, variant: int = 0
    ) -> tuple[Float[Tensor, "token dim"], Bool[Tensor, " token"]]:
        """States of a prompt of the record in float32, padded with zeros to the token limit, and which are real."""
        shard, place = self._locate(index)
        states = shard.text(shard.fields(place)["texts"][variant])
        padded = states.new_zeros(self.header.max_tokens, states.shape[1])
        padded[: len(states)] = states
        return padded, torch.arange(self.header.max_tokens) < len(states)

    def _locate(self, index: int) -> tuple[Shard, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"there is no recording {index} among {len(self)}")
        shard = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.shards[shard], index - int(self._starts[shard])

    @staticmethod
    def _frames(
        shard: Shard, name: str, place: int, start: int, stop: int, silence: Tensor
    ) -> Float[Tensor, "frame channel"]:
        filled = silence.repeat(stop - start, 1)
        stored = shard.frames(name, place, start, stop)
        filled[: len(stored)] = stored
        return filled
