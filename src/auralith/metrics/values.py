"""Values by id: their mean, what failed and why, and bootstrap intervals over ids."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from auralith.errors import InvalidRequest, shown

LEVEL, RESAMPLES = 0.95, 10_000
_BLOCK_VALUES = 4_000_000
"""Values that are drawn at a time."""


@dataclass(frozen=True)
class Interval:
    """A percentile bootstrap interval (Efron and Tibshirani 1993, chapter 13)."""

    low: float
    high: float
    level: float = LEVEL
    resamples: int = RESAMPLES
    seed: int = 0


@dataclass(frozen=True)
class Values:
    """A metric that has a value for each id, and the mean over the ids that have one."""

    mean: float
    expected: int
    used: int
    by_id: Mapping[str, float]
    failed: Mapping[str, str] = field(default_factory=dict)
    """Reason why an id has no value."""
    interval: Interval | None = None
    """None below 2 values."""


def values_of(
    ids: Collection[str],
    compute: Callable[[str], float],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Values:
    """Return what `compute` makes of each id; one for which it raises `ValueError`, or gives no finite number, has failed.

    Raises:
        InvalidRequest: an id comes twice, or every id failed.
    """
    require_distinct(ids)
    found: dict[str, float] = {}
    failed: dict[str, str] = {}
    for id in ids:
        try:
            value = float(compute(id))
        except ValueError as error:
            failed[id] = str(error)
            continue
        if np.isfinite(value):
            found[id] = value
        else:
            failed[id] = "the value is not finite"
    if not found:
        reason = next(iter(failed.values()), "there are no ids")
        raise InvalidRequest(f"none of {len(failed)} ids has a value ({reason})")
    array = np.array(list(found.values()))
    interval = bootstrap(array, seed=seed, resamples=resamples) if len(array) > 1 else None
    return Values(float(array.mean()), len(ids), len(found), found, failed, interval)


def bootstrap(
    values: Float[np.ndarray, " id"] | Sequence[float],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Return the interval of the mean when ids are drawn with replacement.

    Raises:
        InvalidRequest: there are fewer than 2 values, or one is not finite.
    """
    array = np.asarray(values, np.float64)
    if len(array) < 2 or not np.isfinite(array).all():
        raise InvalidRequest("an interval needs at least 2 values, all finite")
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK_VALUES // len(array))
    sizes = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    means = [array[rng.integers(len(array), size=(n, len(array)))].mean(1) for n in sizes]
    tail = (1 - level) / 2
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return Interval(float(low), float(high), level, resamples, seed)


def paired_interval(
    first: Mapping[str, float],
    second: Mapping[str, float],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
) -> Interval:
    """Return the interval of the mean of first − second, an id's two values drawn together.

    Raises:
        InvalidRequest: they don't have the same ids, or `bootstrap` raises.
    """
    if different := first.keys() ^ second.keys():
        raise InvalidRequest(
            f"{len(different)} ids have a value in one of the two only, such as {shown(min(different))};"
            " compare over the same ids"
        )
    differences = [first[id] - second[id] for id in first]
    return bootstrap(differences, seed=seed, resamples=resamples, level=level)


def require_distinct(ids: Collection[str]) -> None:
    """Raise `InvalidRequest` where an id comes twice."""
    if len(set(ids)) != len(ids):
        seen: set[str] = set()
        twice = next(id for id in ids if id in seen or seen.add(id))
        raise InvalidRequest(f"the id {shown(twice)} comes twice; give each its own")
