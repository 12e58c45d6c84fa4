"""The noise levels a sampler visits, from noise to data.

Sigmas (noise / data) end with an added 0, so K of them make K steps. Times t of a path run from t_max to 0 in K steps.
All are computed in float32, as the reference does, and returned as Python floats: the Brownian path of the SDE samplers
depends on their sixth decimal.
"""

import math
from dataclasses import dataclass

import torch

from auralith.config import DistributionShift
from auralith.diffusion import shift_times
from auralith.errors import InvalidRequest

Levels = tuple[float, ...]


@dataclass(frozen=True)
class Schedule:
    """What a caller chooses: the number of steps and the range of noise levels.

    Samplers along t start at t = min(sigma_max, 1) and ignore `sigma_min` and `rho`. `shift` moves the times of rk4,
    for latents of `num_frames`.
    """

    steps: int
    sigma_min: float
    sigma_max: float
    rho: float = 1.0
    num_frames: int = 0
    shift: DistributionShift | None = None

    @property
    def t_max(self) -> float:
        return min(self.sigma_max, 1.0)


def polyexponential_sigmas(
    steps: int, sigma_min: float, sigma_max: float, rho: float = 1.0
) -> Levels:
    """exp(ln sigma_min + r^rho ln(sigma_max / sigma_min)) for r from 1 to 0, then 0; rho = 1 is geometric."""
    _check_range(steps, sigma_min, sigma_max)
    ramp = torch.linspace(1, 0, steps, dtype=torch.float32) ** rho
    low, high = math.log(sigma_min), math.log(sigma_max)
    return (*(ramp * (high - low) + low).exp().tolist(), 0.0)


def karras_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Levels:
    """Evenly spaced in sigma^(1/rho), then 0 (Karras et al. 2022, equation 5)."""
    _check_range(steps, sigma_min, sigma_max)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float32)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return (*((high + ramp * (low - high)) ** rho).tolist(), 0.0)


def descent_sigmas(steps: int, sigma_min: float, sigma_max: float) -> Levels:
    """steps + 1 geometric sigmas that end at `sigma_min` instead of 0, for the samplers that stop there."""
    _check_range(steps, sigma_min, sigma_max)
    return polyexponential_sigmas(steps + 1, sigma_min, sigma_max)[:-1]


def logsnr_times(steps: int, t_max: float) -> Levels:
    """Flow times evenly spaced in the log signal-to-noise ratio ln((1 - t) / t), up to ln = 2; then 0."""
    _check_times(steps, t_max)
    first = -6.0 if t_max == 1 else math.log((1 - t_max) / t_max + 1e-6)
    times = torch.sigmoid(-torch.linspace(first, 2, steps + 1, dtype=torch.float32))
    return (t_max, *times[1:-1].tolist(), 0.0)


def linear_times(
    steps: int, t_max: float, shift: DistributionShift | None = None, num_frames: int = 0
) -> Levels:
    """Return evenly spaced times; with `shift`, moved toward noise for latents of `num_frames`."""
    _check_times(steps, t_max)
    times = torch.linspace(t_max, 0, steps + 1, dtype=torch.float32)
    return tuple((shift_times(times, shift, num_frames) if shift else times).tolist())


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise InvalidRequest(f"steps is {steps}; at least 1 is needed")


def _check_range(steps: int, sigma_min: float, sigma_max: float) -> None:
    _check_steps(steps)
    if not 0 < sigma_min < sigma_max < math.inf:
        raise InvalidRequest(
            f"sigma_min is {sigma_min:g} and sigma_max {sigma_max:g}; choose 0 < sigma_min < sigma_max"
        )


def _check_times(steps: int, t_max: float) -> None:
    _check_steps(steps)
    if not 0 < t_max <= 1:
        raise InvalidRequest(f"the first noise level is t = {t_max:g}; choose it above 0, up to 1")
