"""The training sounds that a sound of the server is nearest to, where an index of them is loaded."""

import threading
from collections import OrderedDict, deque
from pathlib import Path
from typing import Any

from auralith.data.recording import Recordings
from auralith.embedders import Embedder
from auralith.jobs.records import Json
from auralith.memorization.attribution import attribute_sound, measured_null
from auralith.memorization.training import TrainingSounds

MOST_KEPT = 256
"""Sounds whose answer is kept."""


class NearestSounds:
    """Training sounds, and perhaps held-out ones. Every method may be called from any thread."""

    def __init__(
        self,
        training: TrainingSounds,
        embedder: Embedder,
        work: Path,
        null: Recordings | None = None,
    ) -> None:
        """`work` is the folder of `auralith attribute`; `null` are recordings for p-values that were never trained on."""
        self._training, self._embedder, self._work, self._null = training, embedder, work, null
        self._answers: OrderedDict[str, list[Json]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._training.store.recordings)

    def of(self, path: Path, sha256: str) -> list[Json]:
        """Return what `attribute_sound` finds for a file. One is compared at a time; the last answers are kept."""
        with self._lock:
            found = self._answers.pop(sha256, None)
            if found is None:
                found = self._compared(path)
            self._answers[sha256] = found
            if len(self._answers) > MOST_KEPT:
                self._answers.popitem(last=False)
            return found

    def _compared(self, path: Path) -> list[dict[str, Any]]:
        beside = []
        if self._null is not None:
            beside = measured_null(
                path, self._null, self._embedder, self._training, self._work, _run
            )
        return attribute_sound(path, self._embedder, self._training, null=beside)


def _run(steps: Any) -> None:
    deque(steps, maxlen=0)
