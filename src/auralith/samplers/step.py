"""The steps that every sampler yields, so that progress, preview and cancel are the caller's loop."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.errors import NonFiniteError


@no_type_check  # a caller's own sampler may make them: `Sampler.walk` checks the states
@dataclass(frozen=True)
class Step:
    """One finished step.

    `x` is the state after it, and of the last step the result; `denoised` the clean latents expected at its beginning,
    at `noise_level` (sigma, or t for the samplers that walk along t). `index` counts from 0; `total` is None where the
    sampler chooses its own steps.
    """

    index: int
    total: int | None
    noise_level: float
    x: Float[Tensor, "batch channel frame"]
    denoised: Float[Tensor, "batch channel frame"]


def in_inference_mode(steps: Generator[Step]) -> Generator[Step]:
    """Yield the steps of a generator that runs in inference mode, which is left before the caller has a step.

    The decorator of that name does the same, unless something else around the generator's function hides what it is.
    """
    with closing(steps):
        while True:
            with torch.inference_mode():
                step = next(steps, None)
            if step is None:
                return
            yield step


def finite_steps(steps: Iterable[Step]) -> Iterator[Step]:
    """Yield the steps; behind the last raise `NonFiniteError` for the first one whose latents are NaN or infinite."""
    finite: list[Tensor] = []
    for step in steps:
        finite.append(step.x.isfinite().all())  # read at the end: no host sync inside the loop
        yield step
    for index, fine in enumerate(torch.stack(finite).tolist()):
        if not fine:
            raise NonFiniteError(
                f"latents became NaN or infinite at step {index + 1} of {len(finite)}; "
                "try --dtype float32, another sampler or a lower guidance scale"
            )
