"""DPM-Solver (Lu et al. 2022): single-step solvers of order 1 to 3, in a fixed and in an adaptive sequence.

Both stop at the last sigma given, which is not 0: the result still carries noise of that level. Steps are taken in
h = ln(sigma / sigma_next), on the noise prediction eps = (x - D) / sigma.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from auralith.diffusion import Denoiser, Latents
from auralith.errors import NonFiniteError
from auralith.noise import NoiseSource
from auralith.samplers.step import Step

FIRST_STEP = 0.05
TOLERANCE = 0.01
ACCEPTED_SHRINKAGE = 0.81
SMALLEST_STEP = 1e-5


@dataclass(frozen=True)
class _Start:
    """The beginning of a step of length `h`, where the network was evaluated."""

    denoise: Denoiser
    x: Latents
    sigma: float
    eps: Latents
    h: float

    def eps_at(self, x: Latents, r: float) -> Latents:
        """The noise prediction for a state after the share r of the step."""
        sigma = self.sigma * math.exp(-r * self.h)
        return (x - self.denoise(x, sigma)) / sigma

    def move(self, r: float, bend: Latents | float = 0.0) -> Latents:
        """The state after the share r of the step: constant eps, plus `bend`."""
        h = r * self.h
        sigma = self.sigma * math.exp(-h)
        return self.x - sigma * (math.expm1(h) * self.eps + bend)


def dpm_fast(
    denoise: Denoiser, x: Latents, sigmas: Sequence[float], noise: NoiseSource
) -> Iterator[Step]:
    """Spend as many network calls as there are steps in `sigmas`, in equal strides of order 3, 3, ..., rest.

    Of `sigmas` the first, the last and their number count. A `Step` is a stride: a third as many as calls, about.
    """
    orders = _orders(len(sigmas) - 1)
    stride = math.log(sigmas[0] / sigmas[-1]) / len(orders)
    levels = [sigmas[0] * math.exp(-stride * i) for i in range(len(orders) + 1)]
    for index, (order, (sigma, _)) in enumerate(zip(orders, pairwise(levels), strict=True)):
        denoised = denoise(x, sigma)
        start = _Start(denoise, x, sigma, (x - denoised) / sigma, stride)
        x = (_first, _second, _third)[order - 1](start)
        yield Step(index, len(orders), sigma, x, denoised)


def dpm_adaptive(
    denoise: Denoiser, x: Latents, sigmas: Sequence[float], noise: NoiseSource
) -> Iterator[Step]:
    """DPM-Solver-23: third order, with steps chosen by the distance to the embedded second-order result.

    Of `sigmas` the first and the last count. The whole batch shares its steps, so an item depends on its neighbors
    within the tolerance, 0.01 absolute and relative. Raises `NonFiniteError` if the network's output is not finite.
    """
    sigma, length, index = sigmas[0], FIRST_STEP, 0
    previous = x
    while (left := math.log(sigma / sigmas[-1])) > SMALLEST_STEP:
        denoised = denoise(x, sigma)
        eps = (x - denoised) / sigma
        while True:
            h = min(length, left)
            low, high = _embedded(_Start(denoise, x, sigma, eps, h))
            factor = _step_factor(_error(low, high, previous), sigma)
            length *= factor
            if factor >= ACCEPTED_SHRINKAGE:
                break
        previous, x = low, high
        yield Step(index, None, sigma, x, denoised)
        sigma, index = sigma * math.exp(-h), index + 1


def _orders(calls: int) -> list[int]:
    """Orders of the strides that spend exactly `calls` network calls, the last of them low (Lu et al. 2022, 3.4)."""
    threes, rest = divmod(calls, 3)
    return [3] * threes + [rest] if rest else [3] * (threes - 1) + [2, 1]


def _first(start: _Start) -> Latents:
    return start.move(1.0)


def _second(start: _Start, r: float = 1 / 2) -> Latents:
    change = start.eps_at(start.move(r), r) - start.eps
    return start.move(1.0, math.expm1(start.h) / (2 * r) * change)


def _third(start: _Start) -> Latents:
    return _embedded(start)[1]


def _embedded(start: _Start) -> tuple[Latents, Latents]:
    """Results of order 2 (with its point at a third of the step) and 3, which share an evaluation."""
    r_1, r_2, h = 1 / 3, 2 / 3, start.h
    change = start.eps_at(start.move(r_1), r_1) - start.eps
    low = start.move(1.0, math.expm1(h) / (2 * r_1) * change)
    bend = (math.expm1(r_2 * h) / (r_2 * h) - 1) * (r_2 / r_1) * change
    change = start.eps_at(start.move(r_2, bend), r_2) - start.eps
    return low, start.move(1.0, (math.expm1(h) / h - 1) / r_2 * change)


def _error(low: Latents, high: Latents, previous: Latents) -> float:
    """Root mean square of the difference, in units of the tolerance."""
    scale = TOLERANCE * low.abs().maximum(previous.abs()).clamp_min(1)
    return float(((low - high) / scale).square().mean().sqrt())


def _step_factor(error: float, sigma: float) -> float:
    """Return the factor of the step's length: an integral controller of order 3, softly limited."""
    if not math.isfinite(error):
        raise NonFiniteError(f"the model's output is not finite at sigma = {sigma:g}")
    return 1 + math.atan((error + 1e-8) ** (-1 / 3) - 1)
