"""Samplers by name: each is a generator of `Step`s from noise to clean latents.

    predict = Predictor(objective, conditional, both, Guidance(scale=7))   # the network, see `auralith.diffusion`
    schedule = Schedule(steps=100, sigma_min=0.3, sigma_max=500)
    streams = ItemStreams(seeds, (channels, frames), device)               # or ReferenceNoise, see `auralith.noise`
    sampler = find_sampler("dpmpp-3m-sde", objective)
    for step in sampler.steps(predict, schedule, streams, init_latents=None):
        ...                                                                # progress, preview of step.denoised, cancel
    latents = step.x

Nothing here turns gradients off: the caller wraps its loop in `torch.inference_mode()`.
"""

import difflib
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from auralith.diffusion import (
    Denoiser,
    Latents,
    Objective,
    Predictor,
    RectifiedFlow,
    VObjective,
    variance_exploding_denoiser,
)
from auralith.errors import InvalidRequest
from auralith.noise import NoiseSource, NoiseStream, StepNoise
from auralith.samplers import dpm_solver, path, sigma
from auralith.samplers.schedules import (
    Levels,
    Schedule,
    descent_sigmas,
    karras_sigmas,
    linear_times,
    logsnr_times,
    polyexponential_sigmas,
)
from auralith.samplers.step import Step

__all__ = [
    "SAMPLERS",
    "Sampler",
    "Schedule",
    "Step",
    "descent_sigmas",
    "find_sampler",
    "karras_sigmas",
    "linear_times",
    "logsnr_times",
    "polyexponential_sigmas",
    "sampler_names",
]

SigmaMethod = Callable[[Denoiser, Latents, Sequence[float], NoiseSource], Iterator[Step]]
TimeMethod = Callable[[Predictor, Latents, Sequence[float], NoiseSource], Iterator[Step]]


@dataclass(frozen=True)
class Sampler(ABC):
    """A method with its schedule, its noise and the objective it is for."""

    name: str
    objective: type[Objective]
    step_noise: StepNoise

    @abstractmethod
    def levels(self, schedule: Schedule) -> Levels:
        """The noise levels to visit; raises `InvalidRequest` for a schedule that has none."""

    @abstractmethod
    def start(
        self, objective: Objective, level: float, noise: Latents, init_latents: Latents | None
    ) -> Latents:
        """The state at a level: the noise alone, or clean latents under it."""

    @abstractmethod
    def noise_again(
        self, objective: Objective, x: Latents, level: float, higher: float, noise: Latents
    ) -> Latents:
        """The state at `level` with noise added up to the `higher` level."""

    @abstractmethod
    def walk(
        self, predict: Predictor, x: Latents, levels: Sequence[float], noise: NoiseSource
    ) -> Iterator[Step]:
        """The steps from the state at levels[0] down to the last level."""

    @abstractmethod
    def level_of(self, strength: float, schedule: Schedule) -> float:
        """How much noise a variation of this strength (0 to 1) starts from, as a `sigma_max`; 1 is the schedule's."""

    @property
    def shares_steps(self) -> bool:
        """Whether the steps of an item depend on the others of its batch."""
        return False

    def steps(
        self,
        predict: Predictor,
        schedule: Schedule,
        streams: NoiseStream,
        init_latents: Latents | None = None,
        init_level: float | None = None,
    ) -> Iterator[Step]:
        """The steps from noise, or from `init_latents` noised to `init_level`, to the result.

        By default that is the first level, which the network is told. The reference noises to the level before the
        shift of rk4's times instead. Raises `InvalidRequest` at once, not on the first step, for a schedule it can't
        follow.
        """
        levels = self.levels(schedule)
        noised_to = levels[0] if init_level is None else init_level
        x = self.start(predict.objective, noised_to, streams.initial(), init_latents)
        return self.walk(predict, x, levels, streams.for_steps(levels, self.step_noise))


@dataclass(frozen=True)
class SigmaSampler(Sampler):
    """Works on x = x0 + sigma noise. With `stops_at_sigma_min` the result keeps noise of that level."""

    method: SigmaMethod
    stops_at_sigma_min: bool = False

    @property
    def shares_steps(self) -> bool:
        return self.method is dpm_solver.dpm_adaptive

    def levels(self, schedule: Schedule) -> Levels:
        low, high = schedule.sigma_min, schedule.sigma_max
        if self.stops_at_sigma_min:
            return descent_sigmas(schedule.steps, low, high)
        return polyexponential_sigmas(schedule.steps, low, high, schedule.rho)

    def start(
        self, objective: Objective, level: float, noise: Latents, init_latents: Latents | None
    ) -> Latents:
        x = noise * level
        return x if init_latents is None else x + init_latents

    def noise_again(
        self, objective: Objective, x: Latents, level: float, higher: float, noise: Latents
    ) -> Latents:
        return x + noise * math.sqrt(higher**2 - level**2)

    def walk(
        self, predict: Predictor, x: Latents, levels: Sequence[float], noise: NoiseSource
    ) -> Iterator[Step]:
        return self.method(variance_exploding_denoiser(predict.afresh()), x, levels, noise)

    def level_of(self, strength: float, schedule: Schedule) -> float:
        """Geometric between the schedule's bounds: equal changes of strength are equal ratios of noise."""
        low, high = schedule.sigma_min, schedule.sigma_max
        return low * (high / low) ** strength


@dataclass(frozen=True)
class TimeSampler(Sampler):
    """Works on z_t along the objective's path, at the times of `schedule_times`."""

    method: TimeMethod
    schedule_times: Callable[[Schedule], Levels]

    def levels(self, schedule: Schedule) -> Levels:
        return self.schedule_times(schedule)

    def start(
        self, objective: Objective, level: float, noise: Latents, init_latents: Latents | None
    ) -> Latents:
        return noise if init_latents is None else objective.add_noise(init_latents, noise, level)

    def noise_again(
        self, objective: Objective, x: Latents, level: float, higher: float, noise: Latents
    ) -> Latents:
        """The data of z_t scaled to the higher level's share, and noise for what is missing of its variance."""
        alpha, sigma, *_ = objective.path(level)
        alpha_higher, sigma_higher, *_ = objective.path(higher)
        scale = float(alpha_higher / alpha)
        return x * scale + noise * math.sqrt(float(sigma_higher) ** 2 - (scale * float(sigma)) ** 2)

    def walk(
        self, predict: Predictor, x: Latents, levels: Sequence[float], noise: NoiseSource
    ) -> Iterator[Step]:
        return self.method(predict.afresh(), x, levels, noise)

    def level_of(self, strength: float, schedule: Schedule) -> float:
        """The share of the way along the path."""
        return strength * schedule.t_max


def _linear(schedule: Schedule) -> Levels:
    return linear_times(schedule.steps, schedule.t_max)


def _shifted(schedule: Schedule) -> Levels:
    return linear_times(schedule.steps, schedule.t_max, schedule.shift, schedule.num_frames)


def _logsnr(schedule: Schedule) -> Levels:
    return logsnr_times(schedule.steps, schedule.t_max)


_ALL: tuple[Sampler, ...] = (
    SigmaSampler("dpmpp-3m-sde", VObjective, "brownian", sigma.dpmpp_3m_sde),
    SigmaSampler("dpmpp-2m-sde", VObjective, "brownian", sigma.dpmpp_2m_sde),
    SigmaSampler("dpmpp-2m", VObjective, "none", sigma.dpmpp_2m),
    SigmaSampler("k-heun", VObjective, "none", sigma.heun),
    SigmaSampler("k-lms", VObjective, "none", sigma.lms),
    SigmaSampler("k-dpm-2", VObjective, "none", sigma.dpm_2),
    SigmaSampler("k-dpmpp-2s-ancestral", VObjective, "independent", sigma.dpmpp_2s_ancestral),
    SigmaSampler("k-dpm-fast", VObjective, "none", dpm_solver.dpm_fast, True),
    SigmaSampler("k-dpm-adaptive", VObjective, "none", dpm_solver.dpm_adaptive, True),
    TimeSampler("v-ddim", VObjective, "none", path.ddim, _linear),
    TimeSampler("v-ddim-cfgpp", VObjective, "none", path.ddim_cfgpp, _linear),
    TimeSampler("euler", RectifiedFlow, "none", path.ddim, _logsnr),
    TimeSampler("rk4", RectifiedFlow, "none", path.rk4, _shifted),
    TimeSampler("dpmpp", RectifiedFlow, "none", path.dpmpp, _logsnr),
    TimeSampler("pingpong", RectifiedFlow, "independent", path.pingpong, _logsnr),
)
SAMPLERS: Mapping[str, Sampler] = MappingProxyType({sampler.name: sampler for sampler in _ALL})


def sampler_names(objective: Objective) -> list[str]:
    """The samplers for models of this objective, the published one first."""
    return [name for name, sampler in SAMPLERS.items() if isinstance(objective, sampler.objective)]


def find_sampler(name: str, objective: Objective) -> Sampler:
    """The sampler called `name`; raises `InvalidRequest` if there is none for this objective."""
    names = sampler_names(objective)
    if name in names:
        return SAMPLERS[name]
    if name in SAMPLERS:
        raise InvalidRequest(
            f'sampler "{name}" is for models of another objective; this one takes {", ".join(names)}'
        )
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0)[0]
    raise InvalidRequest(
        f'unknown sampler "{name}"; did you mean "{nearest}"? There are {", ".join(names)}'
    )
