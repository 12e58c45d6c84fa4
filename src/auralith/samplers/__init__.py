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
from collections.abc import Mapping
from types import MappingProxyType

from auralith.diffusion import Objective, RectifiedFlow, VObjective
from auralith.errors import Field, InvalidRequest, shown
from auralith.samplers import dpm_solver, path, sigma
from auralith.samplers.sampler import Sampler, SigmaSampler, TimeSampler
from auralith.samplers.schedules import (
    Schedule,
    descent_sigmas,
    exponential_sigmas,
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
    "SigmaSampler",
    "Step",
    "TimeSampler",
    "descent_sigmas",
    "exponential_sigmas",
    "find_sampler",
    "karras_sigmas",
    "linear_times",
    "logsnr_times",
    "polyexponential_sigmas",
    "sampler_names",
]

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
    TimeSampler("v-ddim", VObjective, "none", path.ddim, "linear"),
    TimeSampler("v-ddim-cfgpp", VObjective, "none", path.ddim_cfgpp, "linear"),
    TimeSampler("euler", RectifiedFlow, "none", path.ddim, "logsnr"),
    TimeSampler("rk4", RectifiedFlow, "none", path.rk4, "shifted"),
    TimeSampler("dpmpp", RectifiedFlow, "none", path.dpmpp, "logsnr"),
    TimeSampler("dpmpp-bounded", RectifiedFlow, "none", path.dpmpp_bounded, "logsnr"),
    TimeSampler("pingpong", RectifiedFlow, "independent", path.pingpong, "logsnr"),
)
SAMPLERS: Mapping[str, Sampler] = MappingProxyType({sampler.name: sampler for sampler in _ALL})


def sampler_names(objective: Objective) -> list[str]:
    """The samplers for models of this objective, the published one first."""
    return [name for name, sampler in SAMPLERS.items() if isinstance(objective, sampler.objective)]


def find_sampler(name: str, objective: Objective) -> Sampler:
    """Return the sampler called `name`; raise `InvalidRequest` if it is unknown or for another objective."""
    names = sampler_names(objective)
    if name in names:
        return SAMPLERS[name]
    if name in SAMPLERS:
        raise InvalidRequest(
            Field("sampler"),
            f' "{name}" is for models of another objective; this one takes {", ".join(names)}',
            limit={"enum": list(names)},
        )
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0)[0]
    raise InvalidRequest(
        "unknown ",
        Field("sampler"),
        f' {shown(name)}; did you mean "{nearest}"? There are ',
        ", ".join(names),
        limit={"enum": list(names)},
    )
