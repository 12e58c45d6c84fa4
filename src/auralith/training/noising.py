"""Corruption of the transformer's training items: how much noise each gets, and what inpainting hides of it.

Timesteps come from a low-discrepancy sequence of uniform numbers, mapped to the distribution that is wanted: the n-th
item of a run gets the n-th number of a scrambled van der Corput sequence (the one-dimensional Sobol sequence), so that
every batch, on any number of processes, covers the range evenly. Inpainting masks are the mixture of stable-audio-tools'
training.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from jaxtyping import Float

from auralith.diffusion import Objective
from auralith.errors import Field, InvalidRequest
from auralith.numbers import check_integer, check_number

BITS = 32
NORMAL = NormalDist()


@dataclass(frozen=True)
class TimestepSettings:
    """Distribution of the timesteps of training.

    uniform: t itself. logit_normal: logit(t) is normal (Esser et al. 2024). log_snr: log(α²/σ²) is normal.
    truncated_logit_normal: 1 - t is a logit-normal number above `cut`, moved to start at 0, as Stable Audio Open Small
    was trained (`trunc_logit_normal` in its config).
    """

    kind: Literal["uniform", "logit_normal", "truncated_logit_normal", "log_snr"] = "uniform"
    mean: float = 0.0
    std: float = 1.0
    cut: float = 0.075
    """Lower limit of truncated_logit_normal."""
    margin: float = 0.0
    """Least distance of t from 0 and from 1, before a shift."""

    def __post_init__(self) -> None:
        check_number(self, "mean")
        check_number(self, "std", above=0.0)
        check_number(self, "cut", above=0.0, below=1.0)
        check_number(self, "margin", least=0.0, below=0.5)

    def at(self, u: float, objective: Objective) -> float:
        """Return the t at the quantile u, 0 < u < 1; from little noise to much for every kind."""
        return min(max(self._at(u, objective), self.margin), 1 - self.margin)

    def _at(self, u: float, objective: Objective) -> float:
        normal = self.mean + self.std * NORMAL.inv_cdf(u)
        match self.kind:
            case "uniform":
                return u
            case "logit_normal":
                return _sigmoid(normal)
            case "truncated_logit_normal":
                return 1 - self._truncated(1 - u)
            case "log_snr":
                log_snr = self.mean - self.std * NORMAL.inv_cdf(u)
                return objective.t_from_sigma(math.exp(-log_snr / 2))

    def _truncated(self, u: float) -> float:
        """Return the quantile u of a logit-normal number x > cut, as (x - cut) / (1 - cut)."""
        normal = NormalDist(self.mean, self.std)
        lowest = normal.cdf(math.log(self.cut / (1 - self.cut)))
        number = _sigmoid(normal.inv_cdf(lowest + (1 - lowest) * u))
        return (number - self.cut) / (1 - self.cut)


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def even_uniform(index: int, seed: int) -> float:
    """The number at `index` of the sequence that belongs to `seed`, in (0, 1)."""
    reversed_bits = int(f"{index % 2**BITS:0{BITS}b}"[::-1], 2)
    scramble = int(np.random.SeedSequence(seed, spawn_key=(BITS,)).generate_state(1)[0])
    return ((reversed_bits ^ scramble) + 0.5) / 2**BITS


@dataclass(frozen=True)
class InpaintMasks:
    """Shares of items that hide random segments, everything, or what follows a random moment; the defaults are published."""

    segments: float = 0.1
    everything: float = 0.8
    continuation: float = 0.1
    max_segments: int = 10

    def __post_init__(self) -> None:
        shares = (self.segments, self.everything, self.continuation)
        if not (min(shares) >= 0 and abs(sum(shares) - 1) <= 1e-6):
            raise InvalidRequest(
                Field("segments"),
                ", ",
                Field("everything"),
                " and ",
                Field("continuation"),
                f" are {shares}; they must not be negative and add up to 1",
            )
        check_integer(self, "max_segments", 1)

    def kept_frames(
        self, num_sounding: int, num_frames: int, rng: np.random.Generator
    ) -> Float[np.ndarray, " frame"]:
        """Return 1 for frames that are shown, 0 for those to make anew.

        Segments and continuations lie in the first `num_sounding` frames, so the padding behind them is shown.
        """
        kept = np.ones(num_frames, dtype=np.float32)
        num_sounding = min(num_sounding, num_frames)
        kind = rng.choice(3, p=(self.segments, self.everything, self.continuation))
        if kind == 1:
            kept[:] = 0
        elif kind == 2 and num_sounding:
            kept[rng.integers(0, num_sounding, endpoint=True) : num_sounding] = 0
        elif num_sounding:
            self._hide_segments(kept[:num_sounding], rng)
        return kept

    def _hide_segments(self, kept: Float[np.ndarray, " frame"], rng: np.random.Generator) -> None:
        """Hide up to `max_segments` segments, together no longer than the whole; they may overlap."""
        count = int(rng.integers(1, self.max_segments, endpoint=True))
        longest = max(1, len(kept) // count)
        for _ in range(count):
            length = int(rng.integers(1, longest, endpoint=True))
            start = int(rng.integers(0, len(kept) - length, endpoint=True))
            kept[start : start + length] = 0
