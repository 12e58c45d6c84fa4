"""Likeness of each sound to the training sounds: nearest items, mel correlation, landmarks, distance ratio."""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Float16
from torch import Tensor

from auralith.data.recording import Recordings
from auralith.embedders import Embedder
from auralith.errors import AudioError
from auralith.files import canonical_json, whole_file
from auralith.fingerprint import Landmarks, search
from auralith.foreign import SHAPE_ERRORS, parse_json
from auralith.memorization.mel import MelMatch, mel_correlation, mel_of
from auralith.memorization.search import Nearest, distance_ratio, nearest
from auralith.memorization.store import EmbeddingStore, StoreOptions, embed_recordings, read_start
from auralith.memorization.training import TrainingSounds, WorkProgress, centered

TESTS = ("landmarks", "mel", "ratio")
_CHUNK = 128
"""Sounds that are searched for at a time: about a thousand windows, for each pass over the training sounds."""
_MARGIN_SECONDS = 30.0
"""Stretch before and behind the nearest window of a training sound that is compared by its spectrum."""
_LEAST_P = 1e-300
_VERSION = 2


@dataclass(frozen=True)
class MeasureSettings:
    """Settings of the comparison."""

    neighbors: int = 50
    """Recordings that the distance ratio is over."""
    kept: int = 5
    """Nearest recordings that are kept, and compared by their spectra."""
    max_seconds: float | None = None
    """Length of each sound that is compared; the same for the null, as longer sounds have more chances."""


@dataclass(frozen=True)
class Neighbor:
    """A training sound near a sound; times are starts of the nearest windows of the embedder."""

    id: str
    cosine: float
    query_start_s: float
    training_start_s: float


@dataclass(frozen=True)
class MelFinding:
    """The training sound with the largest mel correlation, of those that are near."""

    id: str
    match: MelMatch


@dataclass(frozen=True)
class LandmarkFinding:
    """The training sound that landmarks find most surely."""

    id: str
    p_value: float
    votes: int
    query_start_s: float
    training_start_s: float
    duration_s: float


@dataclass(frozen=True)
class MeasuredSound:
    """A sound compared with the training sounds."""

    id: str
    seconds: float
    neighbors: tuple[Neighbor, ...] = ()
    ratio: float | None = None
    """ρ = (1 − c₁) / mean(1 − c₂ … c₅₀), duplicates merged; None with fewer than two training sounds."""
    mel: MelFinding | None = None
    landmarks: LandmarkFinding | None = None
    failure: str = ""
    statistics: dict[str, float | None] = field(default_factory=dict)
    """By the names of `TESTS`; larger where more suspicious. None where there is none."""
    pcm_sha256: str = ""
    """As of `store.Stored`."""


def measure(
    sounds: Recordings,
    embedder: Embedder,
    training: TrainingSounds,
    folder: Path,
    settings: MeasureSettings = MeasureSettings(),
    stage: str = "sounds",
) -> Iterator[WorkProgress]:
    """Compare each sound; results are kept in `folder`, where a run that was stopped goes on.

    Raises:
        InvalidRequest: the folder belongs to other sounds or settings, or another process works there.
        CheckpointError: it is damaged. ResourceError: it can't be written.
    """
    options = StoreOptions(settings.max_seconds, all_landmarks=True)
    for at in embed_recordings(sounds, embedder, folder / "embeddings", options):
        yield WorkProgress(f"{stage}: embedding", at.done, at.total, f"{at.failed} failed")
    store = EmbeddingStore.open(folder / "embeddings")
    path = _results(folder, store, training, settings)
    done = _read(path)
    total = len(store.recordings)
    yield WorkProgress(f"{stage}: comparing", len(done), total)
    with whole_file(path) as file:  # without a line that a kill cut
        file.writelines(_line(one) for one in done)
    for start in range(len(done), total, _CHUNK):
        found = _compared(
            sounds, store, training, settings, range(start, min(start + _CHUNK, total))
        )
        with path.open("ab") as file:
            for number, one in enumerate(found):
                file.write(_line(one))
                file.flush()
                yield WorkProgress(f"{stage}: comparing", start + number + 1, total)


def measured(
    folder: Path, training: TrainingSounds, settings: MeasureSettings = MeasureSettings()
) -> list[MeasuredSound]:
    """Return what `measure` has found so far."""
    store = EmbeddingStore.open(folder / "embeddings")
    return _read(_results(folder, store, training, settings))


def _results(
    folder: Path, store: EmbeddingStore, training: TrainingSounds, settings: MeasureSettings
) -> Path:
    """Return the file of the results, whose name says what they depend on."""
    parts = [
        *([dict(shard) for shard in one.shards] for one in (store, training.store)),
        sorted(map(sorted, training.duplicates.copies.values())),
        asdict(settings),
        _VERSION,
    ]
    digest = hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:16]
    return folder / f"measured-{digest}.jsonl"


def _line(one: MeasuredSound) -> bytes:
    return json.dumps(asdict(one), allow_nan=False).encode() + b"\n"


def _read(path: Path) -> list[MeasuredSound]:
    """Return the results in a file up to the first line that is not whole."""
    found: list[MeasuredSound] = []
    if not path.exists():
        return found
    for line in path.read_bytes().split(b"\n")[:-1]:
        try:
            found.append(_measured(parse_json(line)))
        except SHAPE_ERRORS:
            break
    return found


def _measured(values: dict[str, Any]) -> MeasuredSound:
    mel, landmarks = values["mel"], values["landmarks"]
    return MeasuredSound(
        **{
            **values,
            "neighbors": tuple(Neighbor(**one) for one in values["neighbors"]),
            "mel": mel and MelFinding(mel["id"], MelMatch(**mel["match"])),
            "landmarks": landmarks and LandmarkFinding(**landmarks),
        }
    )


def _compared(
    sounds: Recordings,
    store: EmbeddingStore,
    training: TrainingSounds,
    settings: MeasureSettings,
    places: range,
) -> Iterator[MeasuredSound]:
    rows = np.flatnonzero((store.owners >= places.start) & (store.owners < places.stop))
    found = _nearest(store.vectors[rows], training, settings)
    for place in places:
        stored = store.recordings[place]
        if stored.failure:
            yield MeasuredSound(
                stored.id, stored.seconds, failure=stored.failure, pcm_sha256=stored.pcm_sha256
            )
            continue
        own = store.owners[rows] == place
        mine = Nearest(found.scores[own], found.rows[own])
        near = _neighbors(mine, store.starts_s[rows[own]], training, settings.kept)
        ratio = float(distance_ratio(mine.scores[[mine.scores[:, 0].argmax()]])[0])
        waveform, rate = read_start(sounds, place, settings.max_seconds)
        matches = mel_findings(waveform, rate, near, training)
        mel = max(matches, key=lambda one: one.match.correlation, default=None)
        marks = _landmarks(store.landmarks_at(place), training)
        yield MeasuredSound(
            stored.id,
            stored.seconds,
            tuple(near),
            None if math.isnan(ratio) else ratio,
            mel,
            marks,
            statistics={
                "landmarks": landmark_statistic(marks.p_value if marks else None),
                "mel": mel.match.correlation if mel else None,
                "ratio": None if math.isnan(ratio) else -ratio,
            },
            pcm_sha256=stored.pcm_sha256,
        )


def landmark_statistic(p_value: float | None) -> float:
    """Return −log₁₀ of the p-value of landmarks; 0 where they found nothing."""
    return 0.0 if p_value is None else -math.log10(max(p_value, _LEAST_P))


def statistic(one: MeasuredSound, test: str) -> float:
    """Return a statistic of a sound; NaN where there is none."""
    value = one.statistics.get(test)
    return float("nan") if value is None else value


def neighbors_of(
    rows: Float16[np.ndarray, "window dim"], training: TrainingSounds, settings: MeasureSettings
) -> list[Neighbor]:
    """Return the training sounds nearest to the windows of a sound, each sound once, the nearest first."""
    hop = float(training.store.protocol.get("hop_s") or 0.0)
    found = _nearest(rows, training, settings)
    return _neighbors(found, np.arange(len(rows)) * hop, training, settings.kept)


def _nearest(
    rows: Float16[np.ndarray, "window dim"], training: TrainingSounds, settings: MeasureSettings
) -> Nearest:
    k = max(settings.neighbors, settings.kept)
    moved = centered(rows, training.rows.center)
    return nearest(moved, training.rows, k, groups=training.groups, device=training.device)


def _neighbors(
    found: Nearest, starts_s: Float[np.ndarray, " window"], training: TrainingSounds, count: int
) -> list[Neighbor]:
    store, scores = training.store, found.scores
    kept: dict[str, Neighbor] = {}
    for flat in np.argsort(-scores, axis=None, kind="stable"):
        window, rank = np.unravel_index(flat, scores.shape)
        row = int(found.rows[window, rank])
        if row < 0 or len(kept) == count:
            break
        id = store.recordings[store.owners[row]].id
        times = float(starts_s[window]), float(store.starts_s[row])
        kept.setdefault(id, Neighbor(id, float(scores[window, rank]), *times))
    return list(kept.values())


def mel_findings(
    waveform: Float[Tensor, "channel sample"],
    sample_rate: int,
    near: Sequence[Neighbor],
    training: TrainingSounds,
) -> list[MelFinding]:
    """Return the best match of a sound in each near training sound, around the nearest window.

    What is silent or too short to be compared has none.
    """
    try:
        query = mel_of(waveform, sample_rate)
    except AudioError:
        return []
    window = float(training.store.protocol.get("window_s") or 0.0)
    found = []
    for one in near:
        start = max(0.0, one.training_start_s - _MARGIN_SECONDS)
        stop = one.training_start_s + window + _MARGIN_SECONDS
        try:
            match = mel_correlation(query, mel_of(*training.read(one.id, start, stop)))
        except AudioError:
            continue
        at = start + match.reference_start_s
        found.append(MelFinding(one.id, replace(match, reference_start_s=at)))
    return found


def _landmarks(query: Landmarks, training: TrainingSounds) -> LandmarkFinding | None:
    if training.index is None:
        return None
    found = search(training.index, query)
    if not found:
        return None
    one = found[0]
    times = one.query_start_s, one.reference_start_s, one.duration_s
    return LandmarkFinding(one.ref_id, one.p_value, one.votes, *times)
