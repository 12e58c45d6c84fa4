"""Significance of an alignment: tails of a Poisson distribution, in logarithms, since 1e-300 is common here.

`votes` defines what counts as evidence, and how much of it chance produces.
"""

import math

import numpy as np
from jaxtyping import Float, Integer

_TERMS = 10_000


def log_tail(votes: int, rate: float) -> float:
    """Return ln P(X >= votes) for a Poisson X of mean `rate`; 0 if votes is at most the mean."""
    if votes <= rate or votes < 1:
        return 0.0
    if rate <= 0:
        return -math.inf
    # P(X >= v) = P(X = v) (1 + rate/(v+1) + rate²/((v+1)(v+2)) + …), whose terms shrink as v > rate
    total = term = 1.0
    for k in range(1, _TERMS):
        term *= rate / (votes + k)
        total += term
        if term < 1e-16 * total:
            break
    return -rate + votes * math.log(rate) - math.lgamma(votes + 1) + math.log(total)


def log_tail_bound(
    votes: Integer[np.ndarray, " peak"], rates: Float[np.ndarray, " peak"]
) -> Float[np.ndarray, " peak"]:
    """Return Chernoff's upper bound of `log_tail` for many values at once; votes and rates are above 0."""
    bound = votes - rates - votes * np.log(votes / rates)
    return np.where(votes > rates, bound, 0.0)


def corrected(log_p: float, trials: int) -> float:
    """Return the probability that the best of `trials` does as well by chance: min(1, p · trials)."""
    log_corrected = log_p + math.log(max(trials, 1))
    return math.exp(log_corrected) if log_corrected < 0 else 1.0
