"""Encoding a dataset once, so that training needs neither the autoencoder nor the text encoder.

A plan is made first: every header is read, recordings are dealt out to shards of a given size in their order, and the
disk space is counted. Then shard after shard is encoded and written whole, while threads read ahead. A run that was
stopped goes on behind its last shard; the plan's hash tells whether it is still the same dataset. A file that can't be
used is named in `report.json`, and the rest goes on.
"""

import hashlib
import json
import logging
import shutil
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from auralith.data.crops import AudioOptions, prepare
from auralith.data.latent_header import (
    HEADER_NAME,
    CacheHeader,
    Failures,
    differing_fields,
    require_same,
    shard_path,
)
from auralith.data.latents import (
    HASHING_THREADS,
    DamagedShard,
    EncodedItem,
    LatentRecord,
    Shard,
    verify_shard,
    write_shard,
)
from auralith.data.prompts import PromptOptions, prompt_of
from auralith.data.recording import Recording, Recordings
from auralith.data.report import DatasetReport, scan
from auralith.errors import (
    AuralithError,
    CheckpointError,
    Field,
    InvalidRequest,
    ResourceError,
    is_out_of_memory,
)
from auralith.files import check_writable, clear_leftovers, exclusive, size_text
from auralith.numbers import check_integer
from auralith.training.encoder import LatentEncoder

log = logging.getLogger(__name__)
Result = TypeVar("Result")
REPORT_NAME = "report.json"
MB = 10**6


@dataclass(frozen=True)
class EncodeOptions:
    """Settings of encoding. Continuing a cache takes the same options, apart from `threads`."""

    variants: int = 4
    """Wordings drawn for a recording without a prompt of its own, or with several; 0 leaves text out."""
    dtype: Literal["float16", "float32"] = "float16"
    """Number format of the stored latents."""
    shard_mb: int = 0
    """MB of a shard, which a stopped run does again at most; 0: a twentieth of the whole, from 1 to 256."""
    resample: bool = False
    """Resample files at other rates instead of refusing."""
    prompts: PromptOptions = field(default_factory=PromptOptions)
    seed: int = 0
    """Seed of the drawn wordings."""
    threads: int = 4
    """Files read ahead at the same time."""

    def __post_init__(self) -> None:
        for name, least in (("variants", 0), ("shard_mb", 0), ("seed", 0), ("threads", 1)):
            check_integer(self, name, least)


@dataclass(frozen=True)
class EncodeProgress:
    """After each recording, and after each shard that was there already."""

    done: int
    total: int
    """Recordings with a usable header, of this part."""
    seconds: float
    """Sound encoded by this run."""
    bad: int
    """Unusable recordings found so far, those with an unusable header included."""
    shard: int
    num_shards: int


@dataclass(frozen=True)
class EncodePlan:
    """Plan of an encoding, known before any of it is done."""

    header: CacheHeader
    report: DatasetReport
    shards: tuple[range, ...]
    """Positions in `report.usable`."""
    shard_bytes: tuple[int, ...]
    """About, from lengths and words."""


def encode_dataset(
    encoder: LatentEncoder,
    recordings: Recordings,
    folder: str | Path,
    options: EncodeOptions | None = None,
    *,
    part: int = 0,
    parts: int = 1,
) -> Generator[EncodeProgress]:
    """Fill a cache, or go on filling one; processes may share the work as `parts`.

    Raises:
        InvalidRequest: nothing is usable, or more than 5 % is not by headers and words; `report.json` names it. Or
            another process fills the cache, and not as another part.
        CheckpointError: the folder holds something else, or a cache of other weights, settings or data.
        ResourceError: the place is not writable, or too small.
    """
    if not 0 <= part < parts:
        raise InvalidRequest(
            Field("part"), f" is {part}; it must be from 0 to below ", Field("parts"), f", {parts}"
        )
    folder, options = Path(folder), options or EncodeOptions()
    folder.mkdir(parents=True, exist_ok=True)
    check_writable(folder / REPORT_NAME)
    plan = make_plan(encoder, recordings, options)
    plan.report.write(folder / REPORT_NAME)
    plan.report.check(1, equal_prompts=True)
    plan = replace(plan, header=_begun(folder, plan.header))
    mine = range(part, len(plan.shards), parts)
    # a process that finds all shards, as the later ones of a run do, does not need write access
    todo = _missing(folder, mine, plan.header)
    alone = parts == 1 and bool(todo)
    with exclusive(folder) if alone else nullcontext():
        if alone:
            clear_leftovers(folder)
        yield from _fill(encoder, recordings, folder, options, plan, mine, todo)
    report = _report(folder, plan.report, plan.header, recordings)
    report.write(folder / REPORT_NAME)
    if not report.usable:
        report.check(1)


def _fill(
    encoder: LatentEncoder,
    recordings: Recordings,
    folder: Path,
    options: EncodeOptions,
    plan: EncodePlan,
    mine: range,
    missing: Sequence[int],
) -> Iterator[EncodeProgress]:
    """Write the shards among `mine` that are missing, unless another process did meanwhile."""
    header = plan.header
    todo = _missing(folder, missing, header)
    _require_space(folder, sum(plan.shard_bytes[index] for index in todo))
    header.write(folder)
    total = sum(len(plan.shards[index]) for index in mine)
    done, seconds, bad = 0, 0.0, len(plan.report.bad)
    for index in mine:
        if index not in todo:
            bad += len(Shard(folder, index, header).failures)
            done += len(plan.shards[index])
            yield EncodeProgress(done, total, seconds, bad, index, header.num_shards)
            continue
        if (path := shard_path(folder, index)).exists():
            log.warning("%s is damaged; it is encoded again", path)
        positions = [plan.report.usable[place] for place in plan.shards[index]]
        shard = _ShardEncoder(encoder, recordings, options)
        for length in shard.steps(positions):
            done, seconds = done + 1, seconds + length
            failed = bad + len(shard.failures)
            yield EncodeProgress(done, total, seconds, failed, index, header.num_shards)
        bad += len(shard.failures)
        write_shard(folder, index, header, shard.items, shard.texts(), tuple(shard.failures))


def _missing(folder: Path, shards: Sequence[int], header: CacheHeader) -> list[int]:
    """Return which of `shards` have to be written: those that are not there, and damaged ones."""
    with ThreadPoolExecutor(HASHING_THREADS, "checksums") as pool:
        whole = pool.map(lambda index: _is_whole(folder, index, header), shards)
        return [index for index, is_whole in zip(shards, whole, strict=True) if not is_whole]


def _is_whole(folder: Path, index: int, header: CacheHeader) -> bool:
    if not shard_path(folder, index).exists():
        return False
    try:
        verify_shard(folder, index, header)
        Shard(folder, index, header)
    except DamagedShard:
        return False
    return True


def make_plan(encoder: LatentEncoder, recordings: Recordings, options: EncodeOptions) -> EncodePlan:
    """Read the headers, deal out the recordings, and count the bytes."""
    audio, wanted = _audio_options(encoder, options), options.variants > 0
    report = scan(
        recordings, audio, options.prompts if wanted else None, threads=2 * options.threads
    )
    digest = hashlib.sha256()
    sizes = []
    with ThreadPoolExecutor(2 * options.threads, "headers") as pool:
        lengths = pool.map(recordings.seconds, report.usable)
        for i, seconds in zip(report.usable, lengths, strict=True):
            recording = recordings[i]
            more = recording.prompts[1:]
            words = [recording.id, recording.prompt, sorted(recording.metadata.items()), seconds]
            words += [more] if more else []
            digest.update(json.dumps(words).encode())
            sizes.append(_item_bytes(encoder, recording, seconds, options))
    limit = options.shard_mb or min(max(sum(sizes) // (20 * MB), 1), 256)
    shards = tuple(_dealt(sizes, limit * MB))
    mean, std = encoder.silence()
    has_text = wanted and encoder.conditioner is not None
    settings = {name: value for name, value in asdict(options).items() if name != "threads"}
    header = CacheHeader(
        autoencoder=encoder.autoencoder_hash,
        text_encoder=encoder.text_hash if has_text else None,
        max_tokens=encoder.conditioner.config.text.max_tokens if encoder.conditioner else 0,
        audio=encoder.audio,
        silence_mean=mean,
        silence_std=std,
        dataset=digest.hexdigest(),
        total=report.total,
        bad=report.bad,
        num_shards=len(shards),
        settings=json.loads(json.dumps(settings)),
    )
    return EncodePlan(
        header, report, shards, tuple(sum(sizes[place] for place in shard) for shard in shards)
    )


class _ShardEncoder:
    """Encodes the recordings of one shard; they stay in memory until it is written."""

    def __init__(
        self, encoder: LatentEncoder, recordings: Recordings, options: EncodeOptions
    ) -> None:
        self.encoder, self.recordings, self.options = encoder, recordings, options
        self.audio = _audio_options(encoder, options)
        self.items: list[EncodedItem] = []
        self.failures: list[tuple[str, str]] = []

    def steps(self, positions: Sequence[int]) -> Iterator[float]:
        """Encode one recording after the other; yields its length in seconds, 0 if it can't be used."""
        for i, future in _ahead(self._read, positions, self.options.threads):
            recording = self.recordings[i]
            try:
                waveform, seconds = future.result()
                self.items.append(self._item(i, recording, waveform, seconds))
                yield seconds
            except ResourceError:
                raise
            except AuralithError as error:
                self.failures.append((recording.path, str(error)))
                yield 0.0
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                reason = f"{recording.path} takes more memory than there is; cut it"
                self.failures.append((recording.path, reason))
                yield 0.0

    def texts(self) -> dict[str, Tensor]:
        """States of all prompts, each encoded once."""
        if self.encoder.conditioner is None or not self.options.variants:
            return {}
        return self.encoder.texts(
            list(dict.fromkeys(prompt for item in self.items for prompt in item.record.prompts))
        )

    def _read(self, i: int) -> tuple[Tensor, float]:
        waveform, sample_rate = self.recordings.read(i)
        seconds = waveform.shape[-1] / sample_rate
        return prepare(waveform, sample_rate, self.audio, self.recordings[i].path), seconds

    def _item(self, i: int, recording: Recording, waveform: Tensor, seconds: float) -> EncodedItem:
        mean, std = self.encoder.encode(waveform)
        dtype = torch.float16 if self.options.dtype == "float16" else torch.float32
        mean, std = mean.to(dtype), std.to(dtype)
        if not (mean.isfinite().all() and std.isfinite().all()):
            raise InvalidRequest(
                f"{recording.path} has latents that are NaN or too large for {self.options.dtype}"
            )
        record = LatentRecord(
            id=recording.id,
            path=recording.path,
            seconds=seconds,
            num_frames=self.encoder.audio.num_frames(waveform.shape[-1]),
            prompts=self._wordings(i, recording),
            metadata=dict(recording.metadata),
        )
        return EncodedItem(record, mean, std)

    def _wordings(self, i: int, recording: Recording) -> tuple[str, ...]:
        """Different prompts of a recording, at most as many as there are variants."""
        if not self.options.variants:
            return recording.prompts
        rng = np.random.default_rng([self.options.seed, i])
        drawn = (
            prompt_of(recording, self.options.prompts, rng) for _ in range(self.options.variants)
        )
        return tuple(dict.fromkeys(drawn))


def _ahead(
    function: Callable[[int], Result], positions: Sequence[int], threads: int
) -> Iterator[tuple[int, Future[Result]]]:
    """Results in order, while threads work on as many of the following."""
    rest = iter(positions)
    with ThreadPoolExecutor(threads, "read") as pool:
        waiting = deque((i, pool.submit(function, i)) for i in islice(rest, threads))
        try:
            while waiting:
                yield waiting.popleft()
                waiting.extend((i, pool.submit(function, i)) for i in islice(rest, 1))
        finally:
            pool.shutdown(cancel_futures=True)


def _audio_options(encoder: LatentEncoder, options: EncodeOptions) -> AudioOptions:
    audio = encoder.audio
    return AudioOptions(audio.sample_rate, audio.channels, resample=options.resample)


def _item_bytes(
    encoder: LatentEncoder, recording: Recording, seconds: float, options: EncodeOptions
) -> int:
    """About what a recording takes: latents exactly, tokens at three letters each."""
    frames = int(seconds * encoder.audio.frame_rate) + 1 + encoder.tail_frames
    element = 2 if options.dtype == "float16" else 4
    latents = 2 * frames * encoder.audio.latent_channels * element
    fields = list(recording.metadata.values())
    own = 200 + len(recording.id) + len(recording.path) + sum(map(len, fields))
    if encoder.conditioner is None or not options.variants:
        return latents + own
    letters = len(recording.prompts[0]) if recording.prompts else sum(map(len, fields))
    tokens = min(letters // 3 + 2, encoder.conditioner.config.text.max_tokens)
    wordings = min(len(recording.prompts) or options.variants, options.variants)
    return latents + own + 2 * wordings * tokens * encoder.conditioner.config.text_width


def _dealt(sizes: Sequence[int], limit: int) -> Iterator[range]:
    """Stretches whose sizes add up to about the limit, at least one item each."""
    start, filled = 0, 0
    for place, size in enumerate(sizes):
        if place > start and filled + size > limit:
            yield range(start, place)
            start, filled = place, 0
        filled += size
    if sizes:
        yield range(start, len(sizes))


def _begun(folder: Path, wanted: CacheHeader) -> CacheHeader:
    """The header of the cache that is to be filled: the stored one, if it was begun with the same things."""
    if not (folder / HEADER_NAME).exists():
        others = [path.name for path in folder.iterdir() if path.name != REPORT_NAME]
        others = [name for name in others if not name.startswith(".")]
        if others:
            raise CheckpointError(
                f"{folder} holds other files ({others[0]}) and no cache; name a new folder"
            )
        return wanted
    stored = CacheHeader.read(folder)
    require_same("autoencoder", folder, stored.autoencoder, wanted.autoencoder)
    if stored.text_encoder and wanted.text_encoder:
        require_same("text encoder", folder, stored.text_encoder, wanted.text_encoder)
    differing = differing_fields(stored, wanted)
    if "settings" in differing:
        names = [k for k, v in wanted.settings.items() if stored.settings.get(k) != v]
        raise CheckpointError(
            f"{folder} was begun with other settings ({', '.join(names)}); "
            "give the same, or name a new folder"
        )
    if differing:
        raise CheckpointError(
            f"{folder} was begun with another dataset, or this one has changed since "
            f"({', '.join(differing)}); encode into a new folder"
        )
    return stored


def _require_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed * 1.02 > free:
        raise ResourceError(
            f"the latents need about {size_text(needed)}, {size_text(free)} are free at {folder}; "
            "free some or write elsewhere"
        )


def _report(
    folder: Path, scanned: DatasetReport, header: CacheHeader, recordings: Recordings
) -> DatasetReport:
    """The scan's report and what went wrong since, in the shards that are there."""
    present = [i for i in range(header.num_shards) if shard_path(folder, i).exists()]
    failures: Failures = tuple(
        failure for index in present for failure in Shard(folder, index, header).failures
    )
    failed = {path for path, _ in failures}
    usable = tuple(i for i in scanned.usable if recordings[i].path not in failed)
    lost = [i for i in scanned.usable if recordings[i].path in failed]
    seconds = scanned.seconds - sum(map(recordings.seconds, lost))
    notes = tuple(note for note in scanned.notes if note[0] not in failed)
    return replace(scanned, usable=usable, bad=scanned.bad + failures, seconds=seconds, notes=notes)
