"""Probabilities → seconds of music, as exact counts of frames.

    m[t] = max over the classes of the set of p[t, class];  seconds(τ) = frame length · #{t : m[t] ≥ τ}

All comparisons are in float32, in which taggers speak, so that a probability of 0.7 is active at τ = 0.7. Kept of a
recording is m alone (four bytes a frame) and counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from auralith.curation.tagging.tagger import TaggerFacts

THRESHOLDS = tuple(k / 20 for k in range(1, 20))
"""0.05, 0.10 … 0.95."""
TOP_CLASSES = 5


@dataclass(frozen=True)
class MusicTime:
    """What was heard of a recording, in seconds at the threshold unless said."""

    seconds: float
    """Of the recording, in whole frames."""
    by_threshold: tuple[float, ...]
    """For each of `THRESHOLDS`."""
    cumulative: float
    longest_run: float
    clipwise: float
    """Windows in which any frame is active, each counted in full."""
    top_classes: tuple[tuple[int, float], ...]
    """The classes of the set that are active longest, at most five, with their seconds."""
    order_statistic: float | None
    """The largest threshold at which `min_seconds` are music (q3000 for 30 s at 100 frames a second); None if the
    recording is shorter."""
    peak: float
    """The largest m."""

    @property
    def per_class(self) -> float:
        """Of the class that is active longest."""
        return self.top_classes[0][1] if self.top_classes else 0.0


class MusicMeter:
    """Give it each window's probabilities in order, then ask for the `result`."""

    def __init__(
        self, facts: TaggerFacts, classes: Sequence[int], threshold: float, min_seconds: float
    ) -> None:
        self._facts, self._classes = facts, np.asarray(classes)
        self._threshold, self._min_frames = np.float32(threshold), facts.frames(min_seconds)
        self._m: list[np.ndarray] = []
        self._active = np.zeros(len(classes), np.int64)

    def add(self, probabilities: Float[np.ndarray, "frame label"]) -> None:
        """Count the frames of one window; those in its padding must be gone."""
        music = probabilities[:, self._classes].astype(np.float32)
        self._m.append(music.max(axis=1))
        self._active += (music >= self._threshold).sum(axis=0)

    @property
    def result(self) -> MusicTime:
        """Of at least one frame."""
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
