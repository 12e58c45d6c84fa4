"""How surprising an alignment is: the tail of a Poisson distribution, in logarithms, since 1e-300 is common here.

What is expected by chance, and what counts as evidence, is said in `votes`.
"""

import math

import numpy as np
from jaxtyping import Float, Integer

_TERMS = 10_000


def log_tail(votes: int, rate: float) -> float:
    """ln P(X >= votes) for a Poisson X of mean `rate`; 0 where that is about 1."""
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
    """Chernoff's bound of the same, never below it, of many at once; all above 0."""
    bound = votes - rates - votes * np.log(votes / rates)
    return np.where(votes > rates, bound, 0.0)


def corrected(log_p: float, trials: int) -> float:
    """The probability that the best of so many trials does as well: min(1, p times trials)."""
    log_corrected = log_p + math.log(max(trials, 1))
    return math.exp(log_corrected) if log_corrected < 0 else 1.0
