"""A caller's own sampler: any generator of `Step`s that is called as the built-in methods are, or a `Sampler` around one.

    def euler(denoise, x, sigmas, noise):
        for index, (sigma, lower) in enumerate(pairwise(sigmas)):
            denoised = denoise(x, sigma)
            x = denoised + (x - denoised) * (lower / sigma)
            yield Step(index, len(sigmas) - 1, sigma, x, denoised)

    model.generate(GenerationRequest("rain", sampler=euler))

A function alone works on sigma for models that predict v, and along t, called with (predict, x, times, noise) as those of
`samplers.path` are, for rectified flow. A `SigmaSampler` or `TimeSampler` around it also says its name, the kind of its
noise and its schedule.
"""

import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from auralith.diffusion import Latents, Objective, RectifiedFlow, VObjective
from auralith.errors import Field, InvalidRequest, shown
from auralith.escaping import one_line
from auralith.noise import NoiseSource
from auralith.samplers import SAMPLERS, find_sampler
from auralith.samplers.sampler import Sampler, SigmaSampler, TimeSampler
from auralith.samplers.step import Step

OWN = "own: "
"""Prefix in tags of the name of a caller's own sampler, which can't be found by name."""
Method = Callable[[Any, Latents, Sequence[float], NoiseSource], Iterable[Step]]
"""(denoise, x, sigmas, noise) or, along t, (predict, x, times, noise) to steps."""
ChosenSampler = str | Sampler | Method
"""A sampler as a request takes it."""


def check_sampler(chosen: object) -> None:
    """Raise `InvalidRequest` unless it is text or may be a sampler; `sampler_for` knows the names."""
    if isinstance(chosen, str | Sampler):
        return
    remedy = "give a name, or a function of (denoise, x, sigmas, noise) that yields Steps"
    if not callable(chosen):
        raise InvalidRequest(Field("sampler"), f" is {shown(chosen)}; {remedy}")
    try:
        signature = inspect.signature(chosen)
    except ValueError:  # of a function that is written in C
        return
    try:
        signature.bind(None, None, None, None)
    except TypeError as error:
        raise InvalidRequest(
            Field("sampler"), f" {shown(_name(chosen))} takes {signature}; {remedy}"
        ) from error


def sampler_for(chosen: ChosenSampler, objective: Objective) -> Sampler:
    """Return the sampler itself; raise `InvalidRequest` if its name is unknown, or it is for other models."""
    if isinstance(chosen, str):
        return find_sampler(chosen, objective)
    if isinstance(chosen, Sampler):
        if not isinstance(objective, chosen.objective):
            raise InvalidRequest(
                Field("sampler"),
                f" {shown(chosen.name)} is for models of another objective, {chosen.objective.__name__}; "
                f"this one has {type(objective).__name__}",
            )
        return chosen
    if isinstance(objective, VObjective):
        return SigmaSampler(_name(chosen), VObjective, "independent", chosen)
    return TimeSampler(_name(chosen), RectifiedFlow, "independent", chosen, "logsnr")


def sampler_label(chosen: ChosenSampler) -> str:
    """Return what tags say of a sampler: the name of one that everybody has, or that it was an own one, and its name."""
    if isinstance(chosen, str):
        return chosen
    name = chosen.name if isinstance(chosen, Sampler) else _name(chosen)
    if isinstance(chosen, Sampler) and SAMPLERS.get(name) == chosen:
        return name
    return OWN + one_line(name, 80)


def _name(method: object) -> str:
    while isinstance(method, partial):
        method = method.func
    return str(getattr(method, "__name__", type(method).__name__))
