"""`CosineDPMSolverMultistepScheduler`: our dpmpp-2m-sde behind diffusers' interface of one call per step.

Diffusers inverts the loop: the caller evaluates the network and hands its output to `step`. Our samplers ask a
denoiser themselves, so `step` leaves the output where a stand-in denoiser finds it and takes one step of the sampler.
Sigmas, noise seeds and the bounds of the Brownian path are those of diffusers: the same generator gives the same
numbers. Sigmas that lie outside the bounds by a rounding are clamped, without its warnings (defect B6).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.compat.diffusers.arguments import Generators, path_noise
from auralith.compat.diffusers.component import BaseOutput, Config
from auralith.diffusion import Latents, VObjective
from auralith.errors import InvalidRequest
from auralith.foreign import read_json
from auralith.noise import NoiseSource
from auralith.numbers import whole_number
from auralith.samplers import Step, karras_sigmas
from auralith.samplers.sigma import dpmpp_2m_sde
from auralith.tensor_files import write_json

FILE_NAME = "scheduler_config.json"
OBJECTIVE = VObjective()
Solver = Literal["midpoint", "heun"]


@dataclass
class SchedulerOutput(BaseOutput):
    prev_sample: Latents


@dataclass
class _Walk:
    """A sampler under way, and its state, which is written over with what the caller made of it."""

    steps: Iterator[Step]
    x: Latents


class CosineDPMSolverMultistepScheduler:
    """DPM-Solver++(2M) SDE from `sigma_max` to `sigma_min`, then to the denoised latents.

    `lower_order_final` and `euler_at_final` change nothing here, as in diffusers: of the second order the last step,
    which is the denoised latents, is the only one they touch. `num_train_timesteps` is only carried along.
    Raises InvalidRequest for settings that no checkpoint of this family has.
    """

    order = 1

    @no_type_check  # values come from files and people: the checks are for any type
    def __init__(
        self,
        sigma_min: float = 0.3,
        sigma_max: float = 500.0,
        sigma_data: float = 1.0,
        sigma_schedule: Literal["exponential", "karras"] = "exponential",
        num_train_timesteps: int = 1000,
        solver_order: int = 2,
        prediction_type: Literal["v_prediction"] = "v_prediction",
        rho: float = 7.0,
        solver_type: Solver = "midpoint",
        lower_order_final: bool = True,
        euler_at_final: bool = False,
        final_sigmas_type: Literal["zero"] = "zero",
    ) -> None:
        if not 0 < sigma_min < sigma_max:
            raise InvalidRequest(
                f"sigma_min is {sigma_min:g} and sigma_max {sigma_max:g}; choose 0 < sigma_min < sigma_max"
            )
        _expect("sigma_data", sigma_data, 1.0)
        _expect("sigma_schedule", sigma_schedule, "exponential", "karras")
        _expect("solver_order", solver_order, 1, 2)
        _expect("solver_type", solver_type, "midpoint", "heun")
        _expect("prediction_type", prediction_type, "v_prediction")
        _expect("final_sigmas_type", final_sigmas_type, "zero")
        self.config = Config(
            sigma_min=float(sigma_min),
            sigma_max=float(sigma_max),
            sigma_data=float(sigma_data),
            sigma_schedule=sigma_schedule,
            num_train_timesteps=num_train_timesteps,
            solver_order=solver_order,
            prediction_type=prediction_type,
            rho=float(rho),
            solver_type=solver_type,
            lower_order_final=lower_order_final,
            euler_at_final=euler_at_final,
            final_sigmas_type=final_sigmas_type,
        )
        self._solver: Solver = solver_type
        self.set_timesteps(num_train_timesteps)

    @classmethod
    def from_config(
        cls, config: Mapping[str, Any], **changes: Any
    ) -> "CosineDPMSolverMultistepScheduler":
        """The scheduler of another one's `config` or of a `scheduler_config.json`, with `changes`; other keys are left."""
        known = cls().config
        return cls(**{name: v for name, v in {**config, **changes}.items() if name in known})

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, subfolder: str | None = None
    ) -> "CosineDPMSolverMultistepScheduler":
        """The scheduler whose config lies in a folder on disk."""
        path = Path(folder, subfolder or "", FILE_NAME)
        if not path.is_file():
            raise InvalidRequest(f"there is no {path}; name the folder that holds {FILE_NAME}")
        return cls.from_config(read_json(path))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `scheduler_config.json` into the folder."""
        head = {"_class_name": type(self).__name__, "_diffusers_version": "0.30.0.dev0"}
        write_json(Path(folder) / FILE_NAME, head | self.config)

    @property
    def init_noise_sigma(self) -> float:
        """Return the factor of unit noise at the start: the standard deviation of x, data and noise."""
        return math.hypot(self.config["sigma_max"], 1.0)

    @property
    def step_index(self) -> int | None:
        """Steps taken or skipped so far; None before the first."""
        return self._index

    def set_timesteps(
        self,
        num_inference_steps: int,
        device: torch.device | str | None = None,
        *,
        sigma_max: float | None = None,
    ) -> None:
        """Choose the levels of a run and forget the one before. `sigma_max` begins it lower, for initial audio."""
        num_inference_steps = whole_number("num_inference_steps", num_inference_steps)
        levels = self._levels(num_inference_steps, sigma_max)
        self.num_inference_steps = num_inference_steps
        self.sigmas = torch.tensor([*levels, 0.0])
        self.timesteps = (torch.tensor(levels).atan() / math.pi * 2).to(device)
        self.noise_sampler: NoiseSource | None = None
        self._run: _Walk | None = None
        self._index: int | None = None
        self._output: Latents | None = None

    def _levels(self, steps: int, sigma_max: float | None) -> list[float]:
        low: float = self.config["sigma_min"]
        high: float = self.config["sigma_max"] if sigma_max is None else sigma_max
        if not low < high <= self.config["sigma_max"]:
            raise InvalidRequest(
                f"the noise level to begin at is {high:g}; choose it above {low:g}, up to {self.config['sigma_max']:g}"
            )
        if self.config["sigma_schedule"] == "karras":
            return list(karras_sigmas(steps, low, high, self.config["rho"])[:-1])
        # rounded in diffusers' order of operations: the Brownian path looks at the sixth decimal
        return torch.linspace(math.log(low), math.log(high), steps).exp().flip(0).tolist()

    def scale_model_input(self, sample: Latents, timestep: float | Tensor) -> Latents:
        """The network's input for x: z = alpha x, with alpha² (sigma² + 1) = 1."""
        return sample / math.hypot(self._sigma(self._begin(timestep)), 1.0)

    @torch.no_grad()
    def step(
        self,
        model_output: Latents,
        timestep: float | Tensor,
        sample: Latents,
        generator: Generators = None,
        return_dict: bool = True,
    ) -> Any:
        """A `SchedulerOutput`, or a tuple: x at the next level, from the velocity at this one.

        `generator` seeds the Brownian path, from its initial seed; `noise_sampler`, where set, is asked instead.
        """
        index = self._begin(timestep)
        if index >= len(self.timesteps):
            raise InvalidRequest("all steps were taken; call set_timesteps for another run")
        if self.noise_sampler is None:
            bounds = (self.config["sigma_min"], self.config["sigma_max"])
            self.noise_sampler = path_noise(generator, sample.shape, bounds, sample.device)
        if self._run is None or self.config["solver_order"] == 1:
            self._run = self._start(sample, index)
        self._run.x.copy_(sample)
        self._output = model_output
        self._run.x = next(self._run.steps).x
        self._index = index + 1
        # a copy: the state is written to when the next step begins
        previous = self._run.x.to(sample.dtype, copy=True)
        return SchedulerOutput(previous) if return_dict else (previous,)

    def _start(self, sample: Latents, index: int) -> _Walk:
        assert self.noise_sampler is not None
        x = sample.detach().to(torch.float32, copy=True)
        sigmas: Sequence[float] = self.sigmas[index:].tolist()
        steps = dpmpp_2m_sde(self._denoised, x, sigmas, self.noise_sampler, solver=self._solver)
        return _Walk(steps, x)

    def _denoised(self, x: Latents, sigma: float) -> Latents:
        """The sampler's denoiser: the network was evaluated by the caller."""
        assert self._output is not None
        t = OBJECTIVE.t_from_sigma(sigma)
        return OBJECTIVE.denoised(x / math.hypot(sigma, 1.0), self._output.float(), t)

    def add_noise(
        self,
        original_samples: Latents,
        noise: Latents,
        timesteps: Float[Tensor, " batch"],
    ) -> Latents:
        """x = data + sigma noise at the level of each item's timestep."""
        sigmas = torch.stack([self.sigmas[self._position(t)] for t in timesteps])
        return original_samples + noise * sigmas.to(original_samples)[:, None, None]

    def _begin(self, timestep: float | Tensor) -> int:
        """The index of the step to take; the first one may be anywhere in the schedule."""
        if self._index is None:
            self._index = self._position(timestep)
        return self._index

    def _position(self, timestep: float | Tensor) -> int:
        return int((self.timesteps.cpu() - torch.as_tensor(timestep).cpu()).abs().argmin())

    def _sigma(self, index: int) -> float:
        return float(self.sigmas[index])

    def __len__(self) -> int:
        return self.config["num_train_timesteps"]


def _expect(name: str, value: object, *choices: object) -> None:
    if value not in choices:
        known = " or ".join(map(repr, choices))
        raise InvalidRequest(f"{name} is {value!r}; models of this family have {known}")
