"""Sampling that goes back up and down again, for parts of the latents that must fit to others (arXiv 2201.09865).

Where some latents are held to what they must become, those beside them are denoised with half an eye on it: they agree
only by the end of the steps, when there is too little noise left to move. Lugmayr et al. 2022 (section 4.2, figure 2)
therefore noise the state again after every stretch of steps, and walk the stretch anew: the free part gets several
looks at the held one, at every level. With the noise levels as sigma their jump from t to t + j is one addition of
noise, x + sqrt(sigma_high^2 - sigma_low^2) n, whatever the sampler; a stretch starts the sampler afresh.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

from auralith.diffusion import Latents, Predictor
from auralith.errors import Field, InvalidRequest
from auralith.noise import NoiseStream
from auralith.samplers import Sampler, Schedule, SigmaSampler, Step
from auralith.samplers.schedules import Levels

STRETCHES = 6
SHORTEST = 4
"""Steps of a stretch, at least: multistep samplers need a few for their order."""


def repainted_steps(
    sampler: Sampler,
    predict: Predictor,
    schedule: Schedule,
    streams: NoiseStream,
    init_latents: Latents | None = None,
    passes: int = 1,
) -> Iterator[Step]:
    """The sampler's steps with every stretch walked `passes` times; 1 is the sampler as it is.

    Raises `InvalidRequest` at once, not on the first step, for a schedule the sampler can't follow, and for more than
    one pass of a sampler that chooses its own steps.
    """
    if passes == 1:
        return sampler.steps(predict, schedule, streams, init_latents)
    if isinstance(sampler, SigmaSampler) and sampler.stops_at_sigma_min:
        raise InvalidRequest(
            f"{sampler.name} chooses its own steps, so it can't go over them {passes} times; set ",
            Field("passes"),
            " to 1 or take another ",
            Field("sampler"),
        )
    levels = sampler.levels(schedule)
    x = sampler.start(predict.objective, levels[0], streams.initial(), init_latents)
    return _passes(sampler, predict, x, levels, streams, passes)


def _passes(
    sampler: Sampler,
    predict: Predictor,
    x: Latents,
    levels: Levels,
    streams: NoiseStream,
    passes: int,
) -> Iterator[Step]:
    noise_up = streams.for_steps(levels, "independent")
    index, total = count(), passes * (len(levels) - 1)
    for stretch in _stretches(levels):
        high, low = stretch[0], stretch[-1]
        for number in range(passes):
            if number:
                x = sampler.noise_again(predict.objective, x, low, high, noise_up(low, high))
            noise = streams.for_steps(stretch, sampler.step_noise)
            for step in sampler.walk(predict, x, stretch, noise):
                x = step.x
                yield replace(step, index=next(index), total=total)


def _stretches(levels: Levels) -> list[Levels]:
    """The levels in pieces; one ends where the next begins."""
    steps = len(levels) - 1
    length = max(SHORTEST, -(-steps // STRETCHES))
    return [levels[start : start + length + 1] for start in range(0, steps, length)]
