"""p-values under a null distribution of held-out recordings, and the false discovery rate over many sounds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

FDR = 0.05
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True)
class Verdicts:
    """A test of many sounds against a null; statistics are larger where a sound is more suspicious."""

    p_values: tuple[float, ...]
    flagged: tuple[bool, ...]
    null_size: int
    null_quantiles: dict[str, float]
    fdr: float
    fewest_flagged: int
    """Number of sounds that must be beyond every null recording before any can be flagged: a small null says little."""


def p_values(
    statistics: Float[np.ndarray, " item"], null: Float[np.ndarray, " null"]
) -> Float[np.ndarray, " item"]:
    """Return (1 + number of null values at least as large) / (1 + number of null values)."""
    ordered = np.sort(np.asarray(null, np.float64))
    at_least = len(ordered) - np.searchsorted(ordered, statistics, side="left")
    return (1 + at_least) / (1 + len(ordered))


def benjamini_hochberg(
    p: Float[np.ndarray, " item"], fdr: float = FDR
) -> Bool[np.ndarray, " item"]:
    """Return which hypotheses to reject so that the expected share of false ones is `fdr` (Benjamini and Hochberg 1995)."""
    p = np.asarray(p, np.float64)
    order = np.argsort(p, kind="stable")
    passing = np.flatnonzero(p[order] <= fdr * np.arange(1, len(p) + 1) / max(len(p), 1))
    rejected = np.zeros(len(p), bool)
    if len(passing):
        rejected[order[: passing[-1] + 1]] = True
    return rejected


def verdicts(
    statistics: Sequence[float], null: Sequence[float] | None, fdr: float = FDR
) -> Verdicts | None:
    """Return the verdicts on sounds; None without a null distribution, since a number alone says nothing.

    A sound or a null recording without a statistic (NaN) counts as the least suspicious.
    """
    if null is None or not len(null):
        return None
    values, known = (
        np.nan_to_num(np.asarray(v, np.float64), nan=-np.inf) for v in (statistics, null)
    )
    p = p_values(values, known)
    quantiles = {f"{q:g}": _finite(np.quantile(known, q, method="higher")) for q in QUANTILES}
    needed = math.ceil(len(p) / (fdr * (1 + len(known))))
    return Verdicts(
        tuple(p.tolist()),
        tuple(benjamini_hochberg(p, fdr).tolist()),
        len(known),
        quantiles,
        fdr,
        max(1, needed),
    )


def _finite(value: np.floating) -> float:
    return float(value) if np.isfinite(value) else 0.0
