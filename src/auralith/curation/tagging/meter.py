"""Seconds of music in a file, and the calibration of the threshold.

    m[t] = max over the classes of the set of p[t, class];  seconds(τ) = frame length · #{t : m[t] ≥ τ}

Comparisons are in float32, as taggers compute, so that a probability of 0.7 is active at τ = 0.7. Of a recording only m
(four bytes a frame) and counts are kept.

Calibration finds the largest threshold at which no known music is missed. A track is found at τ if and only if τ ≤ q, the
order statistic that tagging keeps (the 3,000th-largest frame for 30 s). No track is missed if τ ≤ min q over the tracks;
the threshold is the largest such τ of the grid. If all of n tracks are found, the rate of misses is below 1 − 0.05^(1/n)
with 95 % confidence (binomial, one-sided).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from auralith.errors import AudioError, InvalidRequest
from auralith.sound.resampling import resampled
from auralith.sound.stream import SoundStream

NUM_LABELS = 527
MUSIC_ROOT = 137
"""Index of *Music* (/m/04rlf) in AudioSet's published list of labels; its subtree has 150 classes."""
ClassSet = Literal["music_only", "subtree", "subtree+singing", "subtree-bells"]

_INSTRUMENTS = {28, 92, *range(138, 216)}  # choir and cowbell come earlier in the list
_GENRES = {30, 31, *range(216, 266)}  # as do chant and mantra
_CONCEPTS_ROLES_MOODS = set(range(266, 283))
_SUBTREE = {MUSIC_ROOT} | _INSTRUMENTS | _GENRES | _CONCEPTS_ROLES_MOODS
# singing, yodeling, rapping, humming: outside the subtree
_SINGING = {27, 29, *range(32, 38)}
# bells of churches and bicycles, wind chimes: in the subtree, though often not music
_BELLS = set(range(200, 208))

AUDIOSET: Mapping[ClassSet, Collection[int]] = {
    "music_only": {MUSIC_ROOT},
    "subtree": _SUBTREE,
    "subtree+singing": _SUBTREE | _SINGING,
    "subtree-bells": _SUBTREE - _BELLS,
}
"""Classes of AudioSet that count as music, by the name of the set."""
Stereo = Literal["mean", "max"]
"""mean: tag the mean of all channels. max: tag each channel, and take the higher probability; music in antiphase
vanishes in the mean."""
THRESHOLDS = tuple(k / 20 for k in range(1, 20))
"""Thresholds whose seconds are kept: 0.05, 0.10 … 0.95."""
TOP_CLASSES = 5
COLUMNS = ("rec_id", "status", "q3000", "params_hash", "tagger", "weights_sha256", "class_set")
"""Columns of the tags' table that calibration reads."""
_SLACK = 1e-9
_MISSED_BY_CHANCE = 0.05


@dataclass(frozen=True)
class TaggerFacts:
    """Name, sample rate, framing and classes of a tagger."""

    name: str
    sample_rate: int
    """Sample rate of its input, in Hz."""
    window_samples: int
    """Samples of one window, a whole number of frames."""
    hop_samples: int
    """Samples of one frame."""
    num_labels: int = NUM_LABELS
    class_sets: Mapping[ClassSet, Collection[int]] = field(default_factory=lambda: AUDIOSET)
    """Labels that count as music, by the name of the set."""
    needs_known_weights: bool = False
    """True if weights must be known or trusted, since those of another network would load too."""

    @property
    def frames_per_window(self) -> int:
        return self.window_samples // self.hop_samples

    def seconds(self, num_frames: int) -> float:
        """Return the duration of frames, rounded once, so that 3,000 frames of 10 ms are exactly 30 s."""
        return num_frames * self.hop_samples / self.sample_rate

    def frames(self, seconds: float) -> int:
        """Return the least number of frames that last at least this long."""
        return -int(-seconds * self.sample_rate // self.hop_samples)

    def classes(self, name: ClassSet) -> tuple[int, ...]:
        """Return the labels of a class set, ascending. Raises `InvalidRequest` if the tagger lacks the set."""
        if name not in self.class_sets:
            known = ", ".join(self.class_sets)
            raise InvalidRequest(f"class set {name!r} is unknown to {self.name}; use {known}")
        return tuple(sorted(self.class_sets[name]))


@runtime_checkable
class Tagger(Protocol):
    """A tagger: its classes, and the probability of each of them in each frame of one window of mono sound.

    It is made as `WeightsTagger` is, loads its weights at the first use, and raises `CheckpointError` then.
    """

    @property
    def facts(self) -> TaggerFacts: ...

    def weights_sha256(self) -> str:
        """Return the SHA-256 of the file of weights, in hexadecimal; computed once."""
        ...

    def framewise(self, waveform: Float[np.ndarray, "sample"]) -> Float[np.ndarray, "frame label"]:
        """Return probabilities, 0 … 1, for exactly one window: `frames_per_window` rows of `num_labels`."""
        ...


class WeightsTagger:
    """Base of the taggers: weights, a device, a threshold and windows of a length."""

    def __init__(
        self,
        weights: Path | None,
        *,
        sha256: str | None = None,
        allow_unknown: bool = False,
        device: str = "auto",
    ) -> None:
        """Take `weights`, a file or a folder, the usual one if None, with the required hash, if any.

        `allow_unknown` permits weights of an unknown hash to a tagger that needs known ones.
        """
        self._weights, self._sha256, self._allow_unknown = weights, sha256, allow_unknown
        self._device = device


@dataclass(frozen=True)
class Window:
    """One window of sound; its first `num_samples` are from the file, the rest is zeros."""

    channels: Float[np.ndarray, "channel sample"]
    num_samples: int


def windows(
    stream: SoundStream, sample_rate: int, window_samples: int, stereo: Stereo
) -> Iterator[Window]:
    """Yield all windows of a stream, without overlap.

    Raises:
        AudioError: "nan_samples", "no_samples", or what `stream.blocks` raises.
    """
    rest = None
    for block in _resampled(stream, sample_rate, stereo):
        rest = block if rest is None else np.concatenate([rest, block])
        while len(rest) >= window_samples:
            yield Window(np.ascontiguousarray(rest[:window_samples].T), window_samples)
            rest = rest[window_samples:]
    if rest is None:
        raise AudioError("the file holds no samples; leave it out", "no_samples")
    if len(rest):
        padding = np.zeros((window_samples - len(rest), rest.shape[1]), np.float32)
        yield Window(np.ascontiguousarray(np.concatenate([rest, padding]).T), len(rest))


def _resampled(stream: SoundStream, sample_rate: int, stereo: Stereo) -> Iterator[np.ndarray]:
    """Return blocks (sample, channel) at the tagger's sample rate."""
    num_channels = 1 if stereo == "mean" else stream.format.channels
    blocks = stream.finite_blocks()
    mixed = (block.mean(axis=1, keepdims=True) if stereo == "mean" else block for block in blocks)
    return resampled(mixed, stream.format.sample_rate, sample_rate, num_channels)


@dataclass(frozen=True)
class MusicTime:
    """Amounts of music in a recording, in seconds at the threshold unless stated otherwise."""

    seconds: float
    """Duration of the recording, in whole frames."""
    by_threshold: tuple[float, ...]
    """Seconds of music at each of `THRESHOLDS`."""
    cumulative: float
    longest_run: float
    clipwise: float
    """Duration of the windows with any active frame."""
    top_classes: tuple[tuple[int, float], ...]
    """The classes of the set that are active longest, at most five, with their seconds."""
    order_statistic: float | None
    """Largest threshold at which `min_seconds` are music (q3000 for 30 s at 100 frames a second); None if the recording
    is shorter."""
    peak: float
    """Largest m."""

    @property
    def per_class(self) -> float:
        """Return the seconds of the class that is active longest."""
        return self.top_classes[0][1] if self.top_classes else 0.0


class MusicMeter:
    """Counts active frames: `add` the probabilities of each window in order, then take the `result`."""

    def __init__(
        self, facts: TaggerFacts, classes: Sequence[int], threshold: float, min_seconds: float
    ) -> None:
        self._facts, self._classes = facts, np.asarray(classes)
        self._threshold, self._min_frames = np.float32(threshold), facts.frames(min_seconds)
        self._m: list[np.ndarray] = []
        self._active = np.zeros(len(classes), np.int64)

    def add(self, probabilities: Float[np.ndarray, "frame label"]) -> None:
        """Count the frames of one window, given without those in its padding."""
        music = probabilities[:, self._classes].astype(np.float32)
        self._m.append(music.max(axis=1))
        self._active += (music >= self._threshold).sum(axis=0)

    @property
    def result(self) -> MusicTime:
        """Return the amounts of music; at least one frame must have been added."""
        m, seconds = np.concatenate(self._m), self._facts.seconds
        active = m >= self._threshold
        windows = sum(bool((part >= self._threshold).any()) for part in self._m)
        return MusicTime(
            seconds(len(m)),
            tuple(seconds(int((m >= np.float32(tau)).sum())) for tau in THRESHOLDS),
            seconds(int(active.sum())),
            seconds(_longest_run(active)),
            seconds(windows * self._facts.frames_per_window),
            self._top(),
            self._order_statistic(m),
            float(m.max()),
        )

    def _top(self) -> tuple[tuple[int, float], ...]:
        order = np.argsort(-self._active, kind="stable")[:TOP_CLASSES]
        return tuple(
            (int(self._classes[i]), self._facts.seconds(int(self._active[i])))
            for i in order
            if self._active[i]
        )

    def _order_statistic(self, m: np.ndarray) -> float | None:
        if len(m) < self._min_frames:
            return None
        place = len(m) - self._min_frames
        return float(np.partition(m, place)[place])


def _longest_run(active: np.ndarray) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(np.int8), [0]])))
    return int((edges[1::2] - edges[::2]).max(initial=0))


@dataclass(frozen=True)
class Calibration:
    """Result of a calibration with known music."""

    num_tracks: int
    num_short: int
    """Tracks that are too short for the rule, and do not count."""
    num_failed: int
    """Tracks whose tagging failed (damaged, missing), which do not count."""
    lowest: float
    """Smallest q."""
    lowest_rec_id: str
    """Track with the smallest q."""
    threshold: float | None
    """Largest of 0.05 … 0.95 at which every track is found; None if some track is found at none of them."""
    false_negative_bound: float
    """One-sided 95 % bound on the share of music that is missed at the threshold."""


def calibrate(tags: pa.Table) -> Calibration:
    """Return the calibration from the tags of known music, a table of evidence with `COLUMNS`.

    Raises:
        InvalidRequest: no track is long enough, or the table mixes taggers, weights or class sets.
    """
    _check_alike(tags)
    rows = tags.select(["rec_id", "status", "q3000"]).to_pylist()
    tagged = [row for row in rows if row["status"] == "ok"]
    found = [(row["q3000"], row["rec_id"]) for row in tagged if row["q3000"] is not None]
    if not found:
        raise InvalidRequest(
            f"none of {len(rows)} recordings is long enough to calibrate with; tag whole tracks of"
            " known music first"
        )
    lowest, rec_id = min(found)
    return Calibration(
        len(found),
        len(tagged) - len(found),
        len(rows) - len(tagged),
        lowest,
        rec_id,
        grid_threshold(lowest),
        false_negative_bound(len(found)),
    )


def grid_threshold(lowest: float) -> float | None:
    """Return the largest of `THRESHOLDS` that is at most q, by comparison: in binary, 0.15 / 0.05 is below 3."""
    return max((tau for tau in THRESHOLDS if _reaches(lowest, tau)), default=None)


def false_negative_bound(num_tracks: int) -> float:
    """Return the one-sided 95 % bound on the rate of misses if none of n was missed; about 3/n."""
    return 1 - _MISSED_BY_CHANCE ** (1 / num_tracks)


def flagged_share(tags: pa.Table, threshold: float) -> float:
    """Return the share of tagged recordings, including too short ones, that the cumulative rule flags at a threshold.

    Raises:
        InvalidRequest: no recording was tagged.
    """
    rows = tags.select(["status", "q3000"]).to_pylist()
    tagged = [row["q3000"] for row in rows if row["status"] == "ok"]
    if not tagged:
        raise InvalidRequest("no recording of the target set was tagged; tag it first")
    return sum(q is not None and _reaches(q, threshold) for q in tagged) / len(tagged)


def _reaches(q: float, threshold: float) -> bool:
    """Compare in float32 as the meter does, with slack for a q that was computed elsewhere."""
    return bool(np.float32(threshold) <= np.float32(q + _SLACK))


def _check_alike(tags: pa.Table) -> None:
    for column in COLUMNS[3:]:
        values = sorted(value for value in tags[column].unique().to_pylist() if value is not None)
        if len(values) > 1:
            raise InvalidRequest(
                f"the recordings were tagged with different settings ({column}:"
                f" {', '.join(values)}); calibrate each by itself"
            )
