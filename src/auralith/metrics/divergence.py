"""KL divergence of class probabilities, such as PaSST's over AudioSet's 527 classes, beside trivial baselines.

The value of stable-audio-metrics is Σ g (ln g − ln(r + 1e-6)), with g of a generated sound and r of its reference:
KL(generated ‖ reference). The 1e-6 stands at the second distribution alone, so the divergence of equal ones is a little
below 0. A constant answer beats published models on music (see `baselines`); a KL must not be read alone.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float

from auralith.errors import InvalidRequest, shown
from auralith.metrics.values import Values, require_distinct, values_of

Direction = Literal["generated_to_reference", "reference_to_generated"]
"""KL(generated ‖ reference), which the paper has, and KL(reference ‖ generated)."""
OFFSET = 1e-6
SUM_TOLERANCE = 1e-3
"""Distance from 1 that the sum of probabilities may have."""
Probabilities = Float[np.ndarray, "_"]
"""One row; that all rows have equally many classes is checked."""


@dataclass(frozen=True)
class Divergence:
    """A KL divergence over ids with what it is worth: the values of systems that listen to no prompt."""

    direction: Direction
    values: Values
    baselines: Mapping[str, float]


def kl_divergence(probabilities: Probabilities, others: Probabilities) -> float:
    """Return Σ p (ln p − ln(q + 1e-6)) in nats.

    Raises:
        ValueError: one of them is not a distribution, or they differ in the number of classes.
    """
    p, q = _distribution(probabilities), _distribution(others)
    if p.shape != q.shape:
        raise ValueError(f"{len(p)} and {len(q)} classes can't be compared")
    present = p > 0  # 0 ln 0 is 0
    return float((p[present] * (np.log(p[present]) - np.log(q[present] + OFFSET))).sum())


def divergence(
    generated: Mapping[str, Probabilities],
    reference: Mapping[str, Probabilities],
    ids: Sequence[str],
    direction: Direction = "generated_to_reference",
    *,
    seed: int = 0,
) -> Divergence:
    """Return the mean over `ids` of the divergence of each pair; an id that has no pair is counted as failed.

    Raises:
        InvalidRequest: an id comes twice, or no id has a value.
    """
    swapped = direction == "reference_to_generated"

    def compute(id: str) -> float:
        pair = _of(generated, id, "generated"), _of(reference, id, "reference")
        return kl_divergence(*(pair[::-1] if swapped else pair))

    values = values_of(ids, compute, seed=seed)
    rows = {id: reference[id] for id in ids if id in values.by_id}
    return Divergence(direction, values, baselines(rows, direction))


def baselines(
    reference: Mapping[str, Probabilities], direction: Direction = "generated_to_reference"
) -> dict[str, float]:
    """Return the divergences of systems that know only the references, in the order of the ids.

    reference      the reference itself
    mean           the mean of all references, for every prompt
    previous       the reference of the row before; the last one's for the first
    one_class      all mass on the class that has most of it on average
    shuffled       the references shuffled (torch seed 0)
    uniform        the same probability for every class
    """
    require_distinct(list(reference))
    if not reference:
        raise InvalidRequest("there are no references; give at least one")
    rows = np.stack([_distribution(row) for row in reference.values()])
    count, classes = rows.shape
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0)).numpy()
    mean = rows.mean(0)
    mean /= mean.sum()
    answers: dict[str, Callable[[], np.ndarray]] = {
        "reference": lambda: rows,
        "mean": lambda: np.broadcast_to(mean, rows.shape),
        "previous": lambda: np.roll(rows, 1, axis=0),
        "one_class": lambda: np.broadcast_to(np.eye(classes)[mean.argmax()], rows.shape),
        "shuffled": lambda: rows[order],
        "uniform": lambda: np.full_like(rows, 1 / classes),
    }
    swapped = direction == "reference_to_generated"
    found: dict[str, float] = {}
    for name, answer in answers.items():
        pairs = zip(*((rows, answer()) if swapped else (answer(), rows)), strict=True)
        found[name] = float(np.mean([kl_divergence(p, q) for p, q in pairs]))
    return found


def _of(table: Mapping[str, Probabilities], id: str, side: str) -> Probabilities:
    if id not in table:
        raise ValueError(f"{shown(id)} has no {side} probabilities")
    return table[id]


def _distribution(values: Probabilities) -> Float[np.ndarray, " class"]:
    """Return probabilities in float64. Raises ValueError unless they are finite, at least 0, and sum to 1."""
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not np.isfinite(array).all() or (array < 0).any():
        raise ValueError("probabilities must be a row of finite numbers of at least 0")
    if abs(array.sum() - 1) > SUM_TOLERANCE:
        raise ValueError(f"probabilities sum to {array.sum():.4g}, not 1")
    return array
