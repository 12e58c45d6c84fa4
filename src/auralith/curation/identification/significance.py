"""How surprising an alignment is: the tail of a Poisson distribution, in logarithms, since 1e-300 is common here.

Hashes that a query shares with a reference fall on offsets by chance; were they spread evenly, one offset and its two
neighbors would hold lambda = 3 C / B of them (C coincidences, B possible offsets). Rhythmic music is less even than
that, so the level must be calibrated on queries that the index doesn't hold.
"""

import math

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


def corrected(log_p: float, trials: int) -> float:
    """The probability that the best of so many trials does as well: min(1, p times trials)."""
    log_corrected = log_p + math.log(max(trials, 1))
    return math.exp(log_corrected) if log_corrected < 0 else 1.0
