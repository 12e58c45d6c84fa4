"""p-values under a null distribution of held-out recordings, and the false discovery rate over many sounds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from auralith.extras import LazyModule

stats = LazyModule("scipy.stats", "evaluate")

FDR = 0.05
_MOST_COUNTED = 500_000_000
QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True)
class StatisticTest:
    """One statistic of many sounds against a null, larger where a sound is more suspicious."""

    p_values: tuple[float, ...]
    null_quantiles: dict[str, float]


@dataclass(frozen=True)
class SetTest:
    """One statistic of the sounds as a set against a null (Mann and Whitney 1947)."""

    p_value: float
    share: float
    """Share of pairs of a sound and a held-out recording in which the sound is the more suspicious; ties count half."""
    sounds: int


@dataclass(frozen=True)
class Verdicts:
    """Verdicts on many sounds by all statistics together."""

    p_values: tuple[float, ...]
    flagged: tuple[bool, ...]
    null_size: int
    fdr: float
    fewest_flagged: int
    """Number of sounds that must be beyond every null recording before any can be flagged: a small null says little."""


def p_values(
    statistics: Float[np.ndarray, " item"], null: Float[np.ndarray, " null"]
) -> Float[np.ndarray, " item"]:
    """Return (1 + number of null values at least as large) / (1 + number of null values)."""
    return (1 + _at_least(statistics, null)) / (1 + len(null))


def _at_least(values: Float[np.ndarray, " item"], null: Float[np.ndarray, " null"]) -> np.ndarray:
    """Return how many null values are at least as large as each value."""
    ordered = np.sort(np.asarray(null, np.float64))
    return len(ordered) - np.searchsorted(ordered, values, side="left")


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


def combined_p_values(
    statistics: Float[np.ndarray, "item test"], null: Float[np.ndarray, "null test"]
) -> Float[np.ndarray, " item"]:
    """Return one p-value for each item from all its statistics.

    An item joins the null, everything there is ranked by each statistic, and keeps its best rank; the p-value is the
    share of those whose best rank is at least as good as the item's. So looking at several statistics is paid for,
    exactly: an item that is exchangeable with the null has a p-value of at most α with a probability of at most α.
    """
    null = np.asarray(null, np.float64)
    ranks = np.stack([_at_least(column, column) for column in null.T], axis=1)
    found = np.empty(len(statistics))
    for i, item in enumerate(np.asarray(statistics, np.float64)):
        best = 1 + (null >= item).sum(0).min()
        found[i] = 1 + ((ranks + (item >= null)).min(1) <= best).sum()
    return found / (1 + len(null))


def statistic_test(statistics: Sequence[float], null: Sequence[float]) -> StatisticTest:
    """Return the p-values of one statistic; one that is missing (NaN) counts as the least suspicious."""
    values, known = _filled(statistics), _filled(null)
    quantiles = {f"{q:g}": _finite(np.quantile(known, q, method="higher")) for q in QUANTILES}
    return StatisticTest(tuple(p_values(values, known).tolist()), quantiles)


def set_test(statistics: Sequence[float], null: Sequence[float]) -> SetTest:
    """Return whether sounds tend to be more suspicious than held-out recordings (Meehan et al. 2020, Data-Copying).

    The sounds must be independent: one for each prompt.
    """
    values, known = _filled(statistics), _filled(null)
    if not len(values):
        return SetTest(1.0, 0.5, 0)
    ranks = stats.rankdata(np.concatenate([values, known]))
    wins = ranks[: len(values)].sum() - len(values) * (len(values) + 1) / 2
    share = float(wins) / (len(values) * len(known))
    # sounds that all tie with the null are no evidence, and have no variance to divide by
    p = 1.0 if len(np.unique(ranks)) == 1 else _set_p_value(values, known, ranks)
    return SetTest(p, share, len(values))


def _set_p_value(
    values: Float[np.ndarray, " item"],
    null: Float[np.ndarray, " null"],
    ranks: Float[np.ndarray, " all"],
) -> float:
    """Return the probability that as many of all, drawn at random, have a sum of ranks of at least that of the values.

    Few sounds and many ties are far from normal, so it is counted out where that takes less than a second.
    """
    count, doubled = len(values), np.sort(np.rint(2 * ranks).astype(int))
    size = int(doubled[-count:].sum()) + 1
    if count * len(ranks) * size > _MOST_COUNTED:
        return float(
            stats.mannwhitneyu(values, null, alternative="greater", method="asymptotic").pvalue
        )
    ways = np.zeros((count + 1, size))  # by number that is drawn, and sum
    ways[0, 0] = 1
    for rank in doubled.tolist():
        ways[1:, rank:] += ways[:-1, : size - rank].copy()
    observed = int(np.rint(2 * ranks[:count].sum()))
    return float(ways[count, observed:].sum() / ways[count].sum())


def verdicts(
    statistics: Float[np.ndarray, "item test"],
    null: Float[np.ndarray, "null test"],
    fdr: float = FDR,
) -> Verdicts | None:
    """Return the verdicts on sounds; None without a null distribution, since a number alone says nothing.

    A statistic that is missing (NaN) counts as the least suspicious.
    """
    if not len(null):
        return None
    p = combined_p_values(_filled(statistics), _filled(null))
    needed = math.ceil(len(p) / (fdr * (1 + len(null))))
    return Verdicts(
        tuple(p.tolist()),
        tuple(benjamini_hochberg(p, fdr).tolist()),
        len(null),
        fdr,
        max(1, needed),
    )


def _filled(values: Sequence[float] | np.ndarray) -> Float[np.ndarray, "..."]:
    return np.nan_to_num(np.asarray(values, np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)


def _finite(value: np.floating) -> float:
    return float(value) if np.isfinite(value) else 0.0
