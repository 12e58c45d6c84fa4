"""The base of samplers: a method that makes `Step`s, with its schedule, its noise and the objective it is for.

A method is a generator function. Those of `samplers.sigma` and `samplers.dpm_solver` are called with (denoise, x, sigmas,
noise), those of `samplers.path` with (predict, x, times, noise); a caller's own is called in the same way.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor

from auralith.diffusion import (
    Denoiser,
    Latents,
    Objective,
    Predictor,
    VObjective,
    variance_exploding_denoiser,
)
from auralith.errors import Field, InvalidRequest, shown
from auralith.noise import NoiseSource, NoiseStream, StepNoise
from auralith.samplers import dpm_solver
from auralith.samplers.schedules import (
    BENT,
    SIGMA_SCHEDULES,
    TIME_SCHEDULES,
    Levels,
    Schedule,
    ScheduleLevels,
    descent_sigmas,
)
from auralith.samplers.step import Step

SigmaMethod = Callable[[Denoiser, Latents, Sequence[float], NoiseSource], Iterable[Step]]
TimeMethod = Callable[[Predictor, Latents, Sequence[float], NoiseSource], Iterable[Step]]


@dataclass(frozen=True)
class Sampler(ABC):
    """A sampling method with the schedules it can follow, the noise it takes and the objective it integrates."""

    name: str
    objective: type[Objective]
    step_noise: StepNoise

    @property
    @abstractmethod
    def schedules(self) -> Mapping[str, ScheduleLevels]:
        """The schedules that it can follow by name, its own first; none where it chooses its steps itself."""

    def levels(self, schedule: Schedule) -> Levels:
        """The noise levels to visit; raises `InvalidRequest` for a schedule that has none or is not for this sampler."""
        if schedule.levels is not None:
            return schedule.levels
        name = next(iter(self.schedules)) if schedule.name is None else schedule.name
        if name not in self.schedules:
            known = ", ".join(self.schedules)
            raise InvalidRequest(
                Field("schedule"),
                f" is {shown(name)}; the sampler {self.name} takes {known}",
                limit={"enum": list(self.schedules)},
            )
        if schedule.rho is not None and name not in BENT:
            raise InvalidRequest(
                Field("rho"),
                f" is {schedule.rho:g}, but the schedule {name} has none; {' and '.join(BENT)} have one",
            )
        return self.schedules[name](schedule)

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

    def walk(
        self, predict: Predictor, x: Latents, levels: Sequence[float], noise: NoiseSource
    ) -> Iterator[Step]:
        """Yield the steps from the state at levels[0] down to the last level.

        Raise `InvalidRequest` if the method yields anything but steps.
        """
        return self._checked(self._walk(predict.afresh(), x, levels, noise), x)

    @abstractmethod
    def _walk(
        self, predict: Predictor, x: Latents, levels: Sequence[float], noise: NoiseSource
    ) -> object:
        """Return what the method makes, which should be an iterable of `Step`s."""

    def _checked(self, steps: object, x: Latents) -> Iterator[Step]:
        """Yield the steps of a method, which may be a caller's own."""
        wanted = (
            f"it must yield Steps whose x and denoised are float tensors of shape {tuple(x.shape)}"
        )
        if not isinstance(steps, Iterable):
            raise InvalidRequest(f"sampler {self.name} returned {shown(steps)}; {wanted}")
        is_empty = True
        for step in steps:
            if not isinstance(step, Step):
                raise InvalidRequest(f"sampler {self.name} yielded {shown(step)}; {wanted}")
            for name, value in (("x", step.x), ("denoised", step.denoised)):
                if not _is_state(value, x):
                    raise InvalidRequest(
                        f"sampler {self.name} yielded a Step whose {name} is {shown(value)}; {wanted}"
                    )
            is_empty = False
            yield step
        if is_empty:
            raise InvalidRequest(f"sampler {self.name} yielded no step; {wanted}")

    @abstractmethod
    def level_of(self, strength: float, schedule: Schedule) -> float:
        """Return the noise that a variation of this strength (0 to 1) starts from, as a `sigma_max`; 1 is the schedule's."""

    @property
    def shares_steps(self) -> bool:
        """Return whether the steps of an item depend on the others of its batch."""
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

    @property
    def schedules(self) -> Mapping[str, ScheduleLevels]:
        return MappingProxyType({}) if self.stops_at_sigma_min else SIGMA_SCHEDULES

    def levels(self, schedule: Schedule) -> Levels:
        if not self.stops_at_sigma_min:
            return super().levels(schedule)
        if schedule.is_chosen:
            raise InvalidRequest(
                f"{self.name} chooses its own steps between the noise levels; leave ",
                Field("schedule"),
                ", ",
                Field("rho"),
                " and ",
                Field("sigmas"),
                " out",
            )
        return descent_sigmas(schedule.steps, schedule.sigma_min, schedule.sigma_max)

    def start(
        self, objective: Objective, level: float, noise: Latents, init_latents: Latents | None
    ) -> Latents:
        x = noise * level
        return x if init_latents is None else x + init_latents

    def noise_again(
        self, objective: Objective, x: Latents, level: float, higher: float, noise: Latents
    ) -> Latents:
        return x + noise * math.sqrt(higher**2 - level**2)

    def _walk(
        self, predict: Predictor, x: Latents, levels: Sequence[float], noise: NoiseSource
    ) -> object:
        return self.method(variance_exploding_denoiser(predict), x, levels, noise)

    def level_of(self, strength: float, schedule: Schedule) -> float:
        """Geometric between the schedule's bounds: equal changes of strength are equal ratios of noise."""
        low, high = schedule.sigma_min, schedule.sigma_max
        return low * (high / low) ** strength


@dataclass(frozen=True)
class TimeSampler(Sampler):
    """Works on z_t along the objective's path; `schedule` names the one it follows unless another is asked for."""

    method: TimeMethod
    schedule: str = "linear"

    @property
    def schedules(self) -> Mapping[str, ScheduleLevels]:
        """Log-SNR and shift are stated for the times of straight paths; `linear` is for any."""
        straight = self.objective is not VObjective
        names = dict.fromkeys((self.schedule, *(TIME_SCHEDULES if straight else ())))
        return {name: TIME_SCHEDULES[name] for name in names}

    def levels(self, schedule: Schedule) -> Levels:
        levels = super().levels(schedule)
        if levels[0] > 1:
            raise InvalidRequest(
                Field("sigmas"),
                f" begins with {levels[0]:g}; the sampler {self.name} walks along t, from 1 at most",
            )
        return levels

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

    def _walk(
        self, predict: Predictor, x: Latents, levels: Sequence[float], noise: NoiseSource
    ) -> object:
        return self.method(predict, x, levels, noise)

    def level_of(self, strength: float, schedule: Schedule) -> float:
        """The share of the way along the path."""
        return strength * schedule.t_max


def _is_state(value: object, x: Latents) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.shape == x.shape
