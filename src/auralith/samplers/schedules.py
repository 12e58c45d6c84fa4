"""The noise levels a sampler visits, from noise to data.

Sigmas (noise / data) end with an added 0, so K of them make K steps. Times t of a path run from t_max to 0 in K steps.
All are computed in float32, as the reference does, and returned as Python floats: the Brownian path of the SDE samplers
depends on their sixth decimal. The formulas of karras, exponential and polyexponential are those of k-diffusion
(github.com/crowsonkb/k-diffusion, k_diffusion/sampling.py: get_sigmas_karras, get_sigmas_exponential,
get_sigmas_polyexponential), number for number.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import torch
from torch import Tensor

from auralith.config import DistributionShift
from auralith.diffusion import shift_times
from auralith.errors import Field, InvalidRequest

Levels = tuple[float, ...]
MOST_SIGMA = 1e6
"""Beyond it no data is left in float32; the published range ends at 500."""


@dataclass(frozen=True)
class Schedule:
    """A caller's choice of noise levels: the number of steps, the range, and how the levels lie in it.

    `name` is one of the sampler's `schedules`, the first of them if None; `rho` bends those that have one. `levels`
    are the noise levels themselves, in place of all that. Samplers along t start at t = min(sigma_max, 1) and ignore
    `sigma_min`. `shift` is that of the schedule "shifted", for latents of `num_frames`.
    """

    steps: int
    sigma_min: float
    sigma_max: float
    rho: float | None = None
    num_frames: int = 0
    shift: DistributionShift | None = None
    name: str | None = None
    levels: Levels | None = None
    is_reference: bool = False
    """Published numbers, also where they are those of a fault; see `shifted_times`."""

    @property
    def t_max(self) -> float:
        return min(self.sigma_max, 1.0)

    @property
    def is_chosen(self) -> bool:
        """Return whether it says more than the number of steps and the range."""
        return not (self.name is None and self.rho is None and self.levels is None)


ScheduleLevels = Callable[[Schedule], Levels]


def checked_levels(levels: Sequence[float]) -> Levels:
    """Return noise levels that a caller chose; raise `InvalidRequest` unless they fall, from above 0, to 0 or more."""
    if len(levels) < 2:
        raise InvalidRequest(
            Field("sigmas"), f" has {len(levels)} of them; a step needs at least 2"
        )
    for index, level in enumerate(levels):
        is_last = index == len(levels) - 1
        if not math.isfinite(level) or level > MOST_SIGMA:
            raise InvalidRequest(
                Field("sigmas"), f" holds {level:g}; give numbers up to {MOST_SIGMA:g}"
            )
        if level < 0 or (level == 0 and not is_last):
            raise InvalidRequest(
                Field("sigmas"), f" holds {level:g}; only the last may be 0, none less"
            )
        if index and level >= levels[index - 1]:
            raise InvalidRequest(
                Field("sigmas"),
                f" goes from {levels[index - 1]:g} to {level:g}; each must be below the one before",
            )
    return tuple(levels)


def polyexponential_sigmas(
    steps: int, sigma_min: float, sigma_max: float, rho: float = 1.0
) -> Levels:
    """exp(ln sigma_min + r^rho ln(sigma_max / sigma_min)) for r from 1 to 0, then 0; rho = 1 is geometric."""
    _check_range(steps, sigma_min, sigma_max)
    ramp = torch.linspace(1, 0, steps, dtype=torch.float32) ** rho
    low, high = math.log(sigma_min), math.log(sigma_max)
    return _falling((*(ramp * (high - low) + low).exp().tolist(), 0.0))


def exponential_sigmas(steps: int, sigma_min: float, sigma_max: float) -> Levels:
    """Return `steps` levels evenly spaced in ln sigma, then 0: polyexponential with rho = 1, up to rounding."""
    _check_range(steps, sigma_min, sigma_max)
    ends = math.log(sigma_max), math.log(sigma_min)
    return _falling((*torch.linspace(*ends, steps, dtype=torch.float32).exp().tolist(), 0.0))


def karras_sigmas(steps: int, sigma_min: float, sigma_max: float, rho: float = 7.0) -> Levels:
    """Return `steps` levels evenly spaced in sigma^(1/rho), then 0 (Karras et al. 2022, equation 5)."""
    _check_range(steps, sigma_min, sigma_max)
    ramp = torch.linspace(0, 1, steps, dtype=torch.float32)
    try:
        low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    except OverflowError:
        return _falling((math.inf, 0.0))
    return _falling((*((high + ramp * (low - high)) ** rho).tolist(), 0.0))


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


def shifted_times(
    steps: int, t_max: float, shift: Callable[[Tensor], Tensor], *, rescaled: bool = True
) -> Levels:
    """Return an even grid moved by `shift`, a map of [0, 1] to itself, and begun at `t_max`.

    The grid from 1 is shifted and then scaled, so that the times fall for every `t_max`. Without `rescaled` the grid is
    scaled first, as the published code of Stable Audio 3 does it: times inside may lie above a `t_max` below 1.
    """
    _check_times(steps, t_max)
    grid = torch.linspace(1.0 if rescaled else t_max, 0, steps + 1, dtype=torch.float32)
    times = shift(grid) * (t_max if rescaled else 1.0)
    return (t_max, *times[1:-1].tolist(), 0.0)


def logsnr_shift(
    num_frames: int = 0, *, rate: float = 0.0, anchor: float = -6.2, end: float = 2.0
) -> Callable[[Tensor], Tensor]:
    """Return the shift to times that are even in the log signal-to-noise ratio, from one at t = 1 to `end` at t = 0.

    The first is `anchor` for 2,000 frames; where a `rate` is given it falls by so much with every doubling.
    """
    first = anchor - (rate * math.log2(num_frames / 2_000) if rate else 0.0)
    return lambda t: torch.sigmoid(t * (end - first) - end)


def flux_shift(
    num_frames: int,
    *,
    lowest: float = 1.0,
    highest: float = 6.93,
    min_frames: int = 256,
    max_frames: int = 4_096,
) -> Callable[[Tensor], Tensor]:
    """Return the shift a t / (1 + (a - 1) t), a geometric in the length between its values at two
    lengths; shorter and longer ones count as these."""
    frames = min(max(num_frames, min_frames), max_frames)
    share = math.log(frames / min_frames) / math.log(max_frames / min_frames)
    alpha = lowest * (highest / lowest) ** share
    return lambda t: alpha * t / (1 + (alpha - 1) * t)


def _polyexponential(schedule: Schedule) -> Levels:
    rho = 1.0 if schedule.rho is None else schedule.rho
    return polyexponential_sigmas(schedule.steps, schedule.sigma_min, schedule.sigma_max, rho)


def _exponential(schedule: Schedule) -> Levels:
    return exponential_sigmas(schedule.steps, schedule.sigma_min, schedule.sigma_max)


def _karras(schedule: Schedule) -> Levels:
    rho = 7.0 if schedule.rho is None else schedule.rho
    return karras_sigmas(schedule.steps, schedule.sigma_min, schedule.sigma_max, rho)


def _linear(schedule: Schedule) -> Levels:
    return linear_times(schedule.steps, schedule.t_max)


def _logsnr(schedule: Schedule) -> Levels:
    return logsnr_times(schedule.steps, schedule.t_max)


def _shifted(schedule: Schedule) -> Levels:
    if schedule.name is not None and schedule.shift is None:
        raise InvalidRequest(
            Field("schedule"), " is 'shifted', but this model's config has no shift of times"
        )
    return linear_times(schedule.steps, schedule.t_max, schedule.shift, schedule.num_frames)


def _logsnr_shift(schedule: Schedule) -> Levels:
    return _by_shift(schedule, logsnr_shift())


def _full_shift(schedule: Schedule) -> Levels:
    shift = schedule.shift or DistributionShift()
    return _by_shift(schedule, lambda t: shift_times(t, shift, schedule.num_frames))


def _flux_shift(schedule: Schedule) -> Levels:
    return _by_shift(schedule, flux_shift(schedule.num_frames))


def _by_shift(schedule: Schedule, shift: Callable[[Tensor], Tensor]) -> Levels:
    return shifted_times(schedule.steps, schedule.t_max, shift, rescaled=not schedule.is_reference)


SIGMA_SCHEDULES: Mapping[str, ScheduleLevels] = MappingProxyType(
    {"polyexponential": _polyexponential, "exponential": _exponential, "karras": _karras}
)
"""Schedules of samplers that work on sigma; the first is the published one."""
TIME_SCHEDULES: Mapping[str, ScheduleLevels] = MappingProxyType(
    {
        "linear": _linear,
        "logsnr": _logsnr,
        "shifted": _shifted,
        "logsnr-shift": _logsnr_shift,
        "full-shift": _full_shift,
        "flux-shift": _flux_shift,
    }
)
"""Schedules of samplers that walk along t."""
BENT = ("polyexponential", "karras")
"""Schedules that have a `rho`."""


def _falling(sigmas: Levels) -> Levels:
    """Return the sigmas; raise `InvalidRequest` where float32 can't tell two of them apart, or hold one."""
    if not all(a > b for a, b in pairwise(sigmas)) or not math.isfinite(sigmas[0]):
        raise InvalidRequest(
            f"{len(sigmas) - 1} noise levels of this schedule are too close or too large for float32; take fewer ",
            Field("steps"),
            ", another range from ",
            Field("sigma_max"),
            " to ",
            Field("sigma_min"),
            " or a ",
            Field("rho"),
            " nearer to 1",
        )
    return sigmas


def _check_steps(steps: int) -> None:
    if steps < 1:
        raise InvalidRequest(Field("steps"), f" is {steps}; at least 1 is needed")


def _check_range(steps: int, sigma_min: float, sigma_max: float) -> None:
    _check_steps(steps)
    if not 0 < sigma_min < sigma_max < math.inf:
        raise InvalidRequest(
            Field("sigma_min"),
            f" is {sigma_min:g} and ",
            Field("sigma_max"),
            f" {sigma_max:g}",
            "; choose the first above 0 and below the second",
        )


def _check_times(steps: int, t_max: float) -> None:
    _check_steps(steps)
    if not 0 < t_max <= 1:
        raise InvalidRequest(
            Field("sigma_max"), f" is {t_max:g}, the t to begin at; choose it above 0, up to 1"
        )
