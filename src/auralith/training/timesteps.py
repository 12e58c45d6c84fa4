"""Timesteps of training: a low-discrepancy sequence of uniform numbers, mapped to the distribution that is wanted.

The n-th item of a run gets the n-th number of a scrambled van der Corput sequence (the one-dimensional Sobol sequence),
so that every batch, on any number of processes, covers the range evenly.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from auralith.diffusion import Objective
from auralith.errors import InvalidRequest

BITS = 32
NORMAL = NormalDist()


@dataclass(frozen=True)
class TimestepSettings:
    """uniform: t itself. logit_normal: logit(t) is normal (Esser et al. 2024). log_snr: log(α²/σ²) is normal."""

    kind: Literal["uniform", "logit_normal", "log_snr"] = "uniform"
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if self.std <= 0:
            raise InvalidRequest(f"timesteps.std is {self.std}; it must be above 0")

    def at(self, u: float, objective: Objective) -> float:
        """The t at the quantile u, 0 < u < 1; from little noise to much for every kind."""
        if self.kind == "uniform":
            return u
        if self.kind == "logit_normal":
            return 1 / (1 + math.exp(-self.mean - self.std * NORMAL.inv_cdf(u)))
        log_snr = self.mean - self.std * NORMAL.inv_cdf(u)
        return objective.t_from_sigma(math.exp(-log_snr / 2))


def even_uniform(index: int, seed: int) -> float:
    """The number at `index` of the sequence that belongs to `seed`, in (0, 1)."""
    reversed_bits = int(f"{index % 2**BITS:0{BITS}b}"[::-1], 2)
    scramble = int(np.random.SeedSequence(seed, spawn_key=(BITS,)).generate_state(1)[0])
    return ((reversed_bits ^ scramble) + 0.5) / 2**BITS
