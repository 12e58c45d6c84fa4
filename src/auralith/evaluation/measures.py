"""Metrics by name, and what each makes of sounds, prompts and a reference.

A name is a kind and an embedder, such as "fd-openl3-env" or "kl-passt". All that decides a value goes into its
protocol; beside it stand the ids that were expected, used and failed, and the frames that were compared.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from auralith.embedders import EMBEDDERS, Classifier
from auralith.errors import Field, InvalidRequest, shown
from auralith.evaluation.embedding import (
    EmbeddingCache,
    Rows,
    class_probabilities,
    crop_seed,
    unique_rows,
)
from auralith.evaluation.reference import EmbeddedReference
from auralith.evaluation.sounds import Sounds
from auralith.metrics.alignment import alignment_score
from auralith.metrics.divergence import divergence
from auralith.metrics.frechet import (
    FrechetDistance,
    FrechetInfinity,
    frechet_distance,
    frechet_infinity,
)
from auralith.metrics.gaussian import Gaussian, gaussian_of
from auralith.metrics.kernel import KernelDistance, kernel_distance
from auralith.metrics.protocol import Protocol
from auralith.metrics.values import LEVEL, Interval, Values
from auralith.numbers import check_integer
from auralith.weights import WeightsOrigin

Kind = Literal["fd-inf", "fd", "kad", "kl", "clap"]
KINDS: tuple[Kind, ...] = get_args(Kind)
VERSIONS: Mapping[Kind, int] = {"fd": 1, "fd-inf": 1, "kad": 1, "kl": 1, "clap": 1}
"""Versions of the metrics' numbers, which a golden test pins; front ends have their own in `Embedder.protocol`."""
PAPER = ("fd-openl3", "kl-passt", "clap")
"""Metrics of arXiv 2407.14358, table 1."""
WITH_REFERENCE = ("fd-musicnn", "kad-musicnn", "kl-musicnn")
"""Metrics where no protocol is prescribed; their weights are free and small."""
_USUAL = {"musicnn": "musicnn-mtt"}
"""Embedders that a shorter name means; MagnaTagATune's tags name instruments."""
_MOST_KERNEL_FRAMES = 4_000
"""Frames up to which a kernel distance is resampled; it takes the square of them."""


@dataclass(frozen=True)
class Metric:
    """A kind of metric with its embedder."""

    kind: Kind
    embedder: str

    @property
    def name(self) -> str:
        """Return the name that `parse_metric` knows; a CLAP score has that of its embedder, such as "clap-fused"."""
        is_named = self.embedder.startswith(f"{self.kind}-")
        return self.embedder if is_named else f"{self.kind}-{self.embedder}"

    @property
    def needs_reference(self) -> bool:
        return self.kind != "clap"


@dataclass(frozen=True)
class MetricValue:
    """A metric's value for one system, with all that is needed to judge and to compare it."""

    metric: str
    system: str
    value: float
    expected: int
    """Ids that were asked for."""
    used: int
    failed: Mapping[str, str]
    """Reason by id for each that has no part in the value."""
    protocol: Protocol
    origin: WeightsOrigin
    """Origin of the embedder's weights: the published ones, or others."""
    interval: Interval | None = None
    """95 % bootstrap interval over ids, or over the files of a distance."""
    frames: int | None = None
    reference_frames: int | None = None
    by_id: Mapping[str, float] = field(default_factory=dict)
    baselines: Mapping[str, float] = field(default_factory=dict)
    """Values of systems that hear no prompt, for a divergence."""
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the measurement with its hashes."""
        return asdict(self) | {
            "protocol": self.protocol.as_json(),
            "protocol_sha256": self.protocol.sha256,
            "comparable_sha256": self.protocol.comparable_sha256,
        }


@dataclass(frozen=True)
class Generated:
    """A system's sounds with what made them, for the protocol."""

    sounds: Sounds
    texts: Mapping[str, str]
    """Prompts by id; empty where there are none."""
    model: Mapping[str, Any] = field(default_factory=dict)
    """Hash of the model and the settings of the generation, where they are known."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Lengths that were asked for by id, where they are known."""

    @property
    def name(self) -> str:
        return self.sounds.name

    @property
    def ids(self) -> tuple[str, ...]:
        return (*self.sounds.paths, *self.sounds.missing)


@dataclass(frozen=True)
class MetricSettings:
    """Settings of the metrics themselves."""

    draws: int = 1
    """Draws of the random crops of a CLAP score, averaged."""
    resamples: int = 100
    """Resamples of a distance's interval; 0 leaves it out. Metrics with a value by id have 10,000."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer(self, "draws", 1)
        check_integer(self, "resamples", 0)


@dataclass(frozen=True)
class Inputs:
    """Everything that a metric is computed from."""

    metric: Metric
    generated: Generated
    reference: EmbeddedReference
    cache: EmbeddingCache
    settings: MetricSettings
    on_file: Callable[[int], None]
    """Called with the number of files that are embedded."""


def parse_metric(text: str, content: str | None) -> Metric:
    """Return the metric of a name; `content` completes "openl3", and "clap" alone is the paper's.

    Raises:
        InvalidRequest: the kind or the embedder is unknown, or the content has to be named.
    """
    kind: Kind | None = next(
        (kind for kind in KINDS if text == kind or text.startswith(f"{kind}-")), None
    )
    if kind is None:
        raise InvalidRequest(
            Field("metric"),
            f" {shown(text)} is unknown; use {', '.join(KINDS)} with an embedder, such as fd-openl3-env",
        )
    embedder = text.removeprefix(kind).removeprefix("-") or ("clap-fused" if kind == "clap" else "")
    embedder = text if text in EMBEDDERS else embedder
    embedder = _USUAL.get(embedder, embedder)
    if embedder == "openl3":
        if content is None:
            raise InvalidRequest(
                Field("metric"),
                f" {shown(text)} needs OpenL3's content; write {text}-music, or {text}-env for other sounds",
            )
        embedder = f"openl3-{content}"
    if embedder not in EMBEDDERS:
        raise InvalidRequest(
            Field("metric"),
            f" {shown(text)} has no embedder of that name; known are {', '.join(EMBEDDERS)}",
        )
    return Metric(kind, embedder)


def measure(inputs: Inputs) -> MetricValue:
    """Return a metric's value for one system.

    Raises:
        InvalidRequest: nothing could be measured, the reference lacks what the metric needs, or the embedder is of
            another kind.
    """
    return _MEASURES[inputs.metric.kind](inputs)


def _distance(inputs: Inputs) -> MetricValue:
    """Compare all frames of all files, each file once."""
    generated, cache, settings = inputs.generated, inputs.cache, inputs.settings
    rows, failed = cache.collected(generated.sounds.paths, inputs.on_file)
    failed = {**generated.sounds.missing, **failed}
    if not rows:
        raise _nothing(generated, failed)
    by_file = list(unique_rows(rows, generated.sounds.paths))
    found, again, details = _compared(inputs, np.concatenate(by_file))
    interval = None
    if again is not None and settings.resamples and len(by_file) > 1:
        signed = inputs.metric.kind == "kad"
        interval = _resampled(found.value, by_file, again, settings, signed=signed)
    return MetricValue(
        metric=inputs.metric.name,
        system=generated.name,
        value=found.value,
        expected=len(generated.ids),
        used=len(rows),
        failed=failed,
        protocol=_protocol(inputs),
        origin=cache.embedder.origin,
        interval=interval,
        frames=found.frames,
        reference_frames=found.reference_frames,
        details=details,
    )


def _compared(
    inputs: Inputs, frames: Float[np.ndarray, "frame dim"]
) -> tuple[
    FrechetDistance | FrechetInfinity | KernelDistance,
    Callable[[list[Rows]], float] | None,
    dict[str, Any],
]:
    """Return a distance from the reference, how a resample's is computed, if that is affordable, and its details."""
    reference = inputs.reference
    if inputs.metric.kind == "kad":
        other = reference.frames
        found = kernel_distance(frames, other)
        again = partial(_kernel_value, other, found.bandwidth)
        few = len(frames) + len(other) <= _MOST_KERNEL_FRAMES
        return found, again if few else None, {"bandwidth": found.bandwidth}
    gaussian = reference.gaussian
    if inputs.metric.kind == "fd-inf":  # it is a fit over resamples itself
        found = frechet_infinity(frames, gaussian, seed=inputs.settings.seed)
        return found, None, {"slope": found.slope, "r_squared": found.r_squared}
    return frechet_distance(gaussian_of(frames), gaussian), partial(_frechet_value, gaussian), {}


def _kernel_value(
    other: Float[np.ndarray, "frame dim"], bandwidth: float, blocks: list[Rows]
) -> float:
    return kernel_distance(np.concatenate(blocks), other, bandwidth=bandwidth).value


def _frechet_value(reference: Gaussian, blocks: list[Rows]) -> float:
    return frechet_distance(gaussian_of(blocks), reference).value


def _resampled(
    value: float,
    by_file: list[Rows],
    compute: Callable[[list[Rows]], float],
    settings: MetricSettings,
    *,
    signed: bool,
) -> Interval:
    """Return the bootstrap interval of a distance over files, moved so that the mean of the resamples is its value.

    A resample holds files twice, so its distance is larger on average; without the shift the interval of a few files
    would lie above the value.
    """
    rng = np.random.default_rng(settings.seed)
    draws = [rng.integers(len(by_file), size=len(by_file)) for _ in range(settings.resamples)]
    values = np.array([compute([by_file[i] for i in draw]) for draw in draws])
    values += value - values.mean()
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    if not signed:
        low = max(0.0, low)
    return Interval(float(low), float(high), LEVEL, settings.resamples, settings.seed)


def _divergence(inputs: Inputs) -> MetricValue:
    """Compare class probabilities of each sound with those of its own reference."""
    generated, cache = inputs.generated, inputs.cache
    if not isinstance(cache.embedder, Classifier):
        raise InvalidRequest(
            f"{inputs.metric.embedder} names no classes; a divergence needs a classifier"
        )
    rows, failed = cache.collected(generated.sounds.paths, inputs.on_file)
    others, other_failed = inputs.reference.probabilities(generated.ids)
    found = divergence(
        {id: class_probabilities(logits) for id, logits in rows.items()},
        others,
        generated.ids,
        seed=inputs.settings.seed,
    )
    reasons = {**found.values.failed, **other_failed, **failed, **generated.sounds.missing}
    return _by_id(
        inputs,
        found.values,
        reasons,
        _protocol(inputs, direction=found.direction),
        baselines=found.baselines,
    )


def _alignment(inputs: Inputs) -> MetricValue:
    """Compare each sound with its own prompt."""
    generated, cache, settings = inputs.generated, inputs.cache, inputs.settings
    embed_text = getattr(cache.embedder, "embed_text", None)
    if embed_text is None:
        raise InvalidRequest(
            f"{inputs.metric.embedder} embeds no texts; a CLAP score needs clap-fused or clap-unfused"
        )
    if not generated.texts:
        raise InvalidRequest("a CLAP score needs prompts; give them with --prompts")
    draws: dict[str, list[Rows]] = {}
    failed: dict[str, str] = {}
    for draw in range(settings.draws):
        rows, failed = cache.collected(
            generated.sounds.paths, inputs.on_file, lambda id, draw=draw: crop_seed(id, draw)
        )
        for id, row in rows.items():
            draws.setdefault(id, []).append(row.mean(axis=0))
    ids = list(draws)
    texts = embed_text([generated.texts[id] for id in ids]) if ids else ()
    found = alignment_score(
        {id: np.stack(rows) for id, rows in draws.items()},
        {id: np.asarray(text) for id, text in zip(ids, texts, strict=True)},
        generated.ids,
        seed=settings.seed,
    )
    reasons = {**found.values.failed, **failed, **generated.sounds.missing}
    details = {"draws": found.draws, "std_over_draws": found.std_over_draws}
    return _by_id(inputs, found.values, reasons, _protocol(inputs), details=details)


def _by_id(
    inputs: Inputs,
    values: Values,
    reasons: Mapping[str, str],
    protocol: Protocol,
    *,
    baselines: Mapping[str, float] | None = None,
    details: Mapping[str, Any] | None = None,
) -> MetricValue:
    """Return a metric that has a value for each id."""
    return MetricValue(
        metric=inputs.metric.name,
        system=inputs.generated.name,
        value=values.mean,
        expected=values.expected,
        used=values.used,
        failed={id: reasons[id] for id in values.failed},
        protocol=protocol,
        origin=inputs.cache.embedder.origin,
        interval=values.interval,
        by_id=values.by_id,
        baselines=baselines or {},
        details=details or {},
    )


def _protocol(inputs: Inputs, **own: Any) -> Protocol:
    kind, generated, settings = inputs.metric.kind, inputs.generated, inputs.settings
    crops = kind == "clap"
    if crops:  # what a prompt asks for decides its value
        own["prompts_sha256"] = _texts_hash(generated.texts)
    if kind == "fd-inf":
        own["seed"] = settings.seed
    return Protocol(
        metric=kind,
        version=VERSIONS[kind],
        embedder=inputs.cache.embedder.protocol(),
        ids=generated.ids,
        model=generated.model,
        reference_sha256=None if crops else inputs.reference.sha256(kind),
        crop_seed=0 if crops else None,
        draws=settings.draws if crops else 1,
        settings=own,
    )


def _texts_hash(texts: Mapping[str, str]) -> str:
    lines = sorted(f"{id}\0{text}" for id, text in texts.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _nothing(generated: Generated, failed: Mapping[str, str]) -> InvalidRequest:
    reason = next(iter(failed.values()), "there are none")
    return InvalidRequest(f"no sound of {generated.name} can be measured ({reason})")


_MEASURES: Mapping[Kind, Callable[..., MetricValue]] = {
    "fd": _distance,
    "fd-inf": _distance,
    "kad": _distance,
    "kl": _divergence,
    "clap": _alignment,
}
