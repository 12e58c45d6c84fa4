"""Systems × metrics, by one protocol, with intervals of the differences between systems."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from auralith.embedders import Embedder
from auralith.errors import InvalidRequest
from auralith.evaluation.embedding import EmbeddingCache, unique_rows
from auralith.evaluation.measures import (
    Generated,
    Inputs,
    Metric,
    MetricSettings,
    MetricValue,
    measure,
)
from auralith.evaluation.reference import EmbeddedReference, ReferenceSet
from auralith.metrics.gaussian import Gaussian
from auralith.metrics.protocol import require_comparable
from auralith.metrics.values import Interval, paired_interval

EMBEDDINGS = "embeddings"
_MOST_POINTS = 400
Show = Callable[[str, int, int, str], None]
"""(stage, files done, files in all, what is being done)."""
OpenEmbedder = Callable[[str], Embedder]


@dataclass(frozen=True)
class SystemDifference:
    """The difference of two systems on one metric, over the ids that have a value in both."""

    metric: str
    first: str
    second: str
    difference: float
    """Mean of first − second."""
    interval: Interval
    used: int

    @property
    def is_clear(self) -> bool:
        """Return whether the 95 % interval leaves out 0."""
        return self.interval.low > 0 or self.interval.high < 0


@dataclass(frozen=True)
class FramePlane:
    """Frames of a system and of the reference on the two main axes of the reference."""

    metric: str
    system: str
    generated: tuple[tuple[float, float], ...]
    """Points, seen from the center of the reference."""
    spread: tuple[float, float]
    """Standard deviations of the reference along its axes."""
    explained: float
    """Share of the reference's variance that the two axes hold, 0 to 1."""


@dataclass(frozen=True)
class Evaluation:
    """All values of a run."""

    systems: tuple[Generated, ...]
    measurements: tuple[MetricValue, ...]
    comparisons: tuple[SystemDifference, ...] = ()
    planes: tuple[FramePlane, ...] = field(default=(), compare=False)

    def as_json(self) -> dict[str, Any]:
        return {
            "systems": [
                {"name": one.name, "model": one.model, "sounds": len(one.sounds.paths)}
                for one in self.systems
            ],
            "measurements": [one.as_json() for one in self.measurements],
            "comparisons": [
                vars(one) | {"interval": vars(one.interval)} for one in self.comparisons
            ],
        }


def compare_systems(
    systems: Sequence[Generated],
    metrics: Sequence[Metric],
    reference: ReferenceSet,
    folder: Path,
    open_embedder: OpenEmbedder,
    settings: MetricSettings | None = None,
    show: Show = lambda stage, done, total, text: None,
) -> Evaluation:
    """Measure each system by each metric; embeddings that are kept in `folder` are not computed again.

    Raises:
        InvalidRequest: systems have one name or protocols that can't be compared, a metric lacks what it needs, or
            nothing could be measured.
        CheckpointError: weights are missing or damaged.
    """
    settings = settings or MetricSettings()
    names = [one.name for one in systems]
    if len(set(names)) < len(names):
        raise InvalidRequest(f"two systems are called alike ({', '.join(names)}); rename a folder")
    measurements: list[MetricValue] = []
    planes: list[FramePlane] = []
    for metric in metrics:
        cache = EmbeddingCache(
            folder / EMBEDDINGS, open_embedder(metric.embedder), logits=metric.kind == "kl"
        )
        num_references = len(reference.sounds.paths) if reference.sounds else 0
        on_reference = partial(count_files, show, f"{metric.name} reference", num_references)
        embedded = EmbeddedReference(reference, cache, on_reference)
        found = []
        for system in systems:
            stage, total = f"{metric.name} {system.name}", len(system.sounds.paths)
            on_file = partial(count_files, show, stage, total)
            found.append(measure(Inputs(metric, system, embedded, cache, settings, on_file)))
            if metric.kind == "fd":
                planes.append(_plane(metric, system, embedded.gaussian, cache))
        require_comparable({one.system: one.protocol.as_json() for one in found})
        measurements += found
    return Evaluation(
        tuple(systems), tuple(measurements), tuple(_comparisons(measurements)), tuple(planes)
    )


def count_files(show: Show, stage: str, total: int, done: int) -> None:
    """Show how many files of a stage are done."""
    show(stage, done, total, "")


def _comparisons(measurements: Sequence[MetricValue]) -> list[SystemDifference]:
    """Compare every two systems on the metrics that have a value by id."""
    by_metric: dict[str, list[MetricValue]] = {}
    for one in measurements:
        by_metric.setdefault(one.metric, []).append(one)
    found = []
    for metric, values in by_metric.items():
        for first, second in combinations(values, 2):
            shared = [id for id in first.by_id if id in second.by_id]
            if len(shared) < 2:
                continue
            one, other = ({id: part.by_id[id] for id in shared} for part in (first, second))
            difference = float(np.mean([one[id] - other[id] for id in shared]))
            interval = paired_interval(one, other)
            found.append(
                SystemDifference(
                    metric, first.system, second.system, difference, interval, len(shared)
                )
            )
    return found


def _plane(
    metric: Metric, system: Generated, reference: Gaussian, cache: EmbeddingCache
) -> FramePlane:
    rows, _ = cache.collected(system.sounds.paths, lambda done: None)
    frames = np.concatenate(list(unique_rows(rows, system.sounds.paths)))
    values, vectors = np.linalg.eigh(reference.covariance)
    axes, variances = vectors[:, -2:][:, ::-1], values[-2:][::-1].clip(min=0)
    step = max(1, len(frames) // _MOST_POINTS)
    points = (frames[::step] - reference.mean) @ axes
    total = values.clip(min=0).sum()
    return FramePlane(
        metric.name,
        system.name,
        tuple((float(x), float(y)) for x, y in points),
        (float(np.sqrt(variances[0])), float(np.sqrt(variances[1]))),
        float(variances.sum() / total) if total else 0.0,
    )


def failures(measurement: MetricValue) -> Mapping[str, int]:
    """Return how many ids failed for each reason, most frequent first."""
    counts: dict[str, int] = {}
    for reason in measurement.failed.values():
        code = reason.partition(":")[0]
        counts[code] = counts.get(code, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: -pair[1]))
