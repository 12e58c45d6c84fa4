"""Samplers in sigma, the noise level of x = x0 + sigma noise (Karras et al. 2022; Lu et al. 2022 and 2023).

Every sampler starts at x = sigmas[0] noise, plus clean latents if there are any, and on the step to sigma = 0 takes x
from the denoiser without asking for noise. h is always ln(sigma / sigma_next). Coefficients are Python floats in double
precision; the state keeps its dtype, which should be float32.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Literal

from auralith.diffusion import Denoiser, Latents
from auralith.noise import NoiseSource
from auralith.samplers.step import Step

Past = list[tuple[Latents, float]]
"""Denoised latents and h of the steps before, newest first."""
Correction = Callable[[Latents, Past, float, float], Latents | float]
"""(denoised, past, h, e) to what a multistep method adds to the first-order step; e = (1 + eta) h."""


def dpmpp_3m_sde(
    denoise: Denoiser,
    x: Latents,
    sigmas: Sequence[float],
    noise: NoiseSource,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """DPM-Solver++(3M) SDE, the published sampler: extrapolates three denoised latents, one network call per step.

    The weight of the second difference is the published one, half of its Taylor term, so that the order for eta = 0 is
    two, with a smaller error than 2M.
    """
    return _multistep_sde(denoise, x, sigmas, noise, eta, s_noise, _third_order)


def dpmpp_2m_sde(
    denoise: Denoiser,
    x: Latents,
    sigmas: Sequence[float],
    noise: NoiseSource,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
    solver: Literal["midpoint", "heun"] = "midpoint",
) -> Iterator[Step]:
    """DPM-Solver++(2M) SDE (Lu et al. 2023, appendix B): second order for eta = 0, one network call per step."""
    correction = _midpoint if solver == "midpoint" else _second_order
    return _multistep_sde(denoise, x, sigmas, noise, eta, s_noise, correction)


def dpmpp_2m(
    denoise: Denoiser, x: Latents, sigmas: Sequence[float], noise: NoiseSource
) -> Iterator[Step]:
    """DPM-Solver++(2M) (Lu et al. 2023, algorithm 2), deterministic: its SDE form without the noise."""
    return dpmpp_2m_sde(denoise, x, sigmas, noise, eta=0.0)


def heun(
    denoise: Denoiser, x: Latents, sigmas: Sequence[float], noise: NoiseSource
) -> Iterator[Step]:
    """Heun's method (Karras et al. 2022, algorithm 1): second order, two network calls per step."""
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        if sigma_next == 0:
            x = denoised
        else:
            slope = (x - denoised) / sigma
            euler = x + slope * (sigma_next - sigma)
            slope_next = (euler - denoise(euler, sigma_next)) / sigma_next
            x = x + (slope + slope_next) * ((sigma_next - sigma) / 2)
        yield Step(index, len(sigmas) - 1, sigma, x, denoised)


def dpm_2(
    denoise: Denoiser, x: Latents, sigmas: Sequence[float], noise: NoiseSource
) -> Iterator[Step]:
    """The midpoint method with its midpoint in ln sigma (Karras et al. 2022): second order, two calls per step."""
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        if sigma_next == 0:
            x = denoised
        else:
            middle = math.sqrt(sigma * sigma_next)
            halfway = x + (x - denoised) * ((middle - sigma) / sigma)
            slope = (halfway - denoise(halfway, middle)) / middle
            x = x + slope * (sigma_next - sigma)
        yield Step(index, len(sigmas) - 1, sigma, x, denoised)


def lms(
    denoise: Denoiser, x: Latents, sigmas: Sequence[float], noise: NoiseSource
) -> Iterator[Step]:
    """Adams-Bashforth in sigma of up to four slopes, one network call per step."""
    slopes: list[Latents] = []
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        slopes = [(x - denoised) / sigma, *slopes[:3]]
        nodes = [sigmas[index - j] for j in range(len(slopes))]
        for slope, weight in zip(slopes, _adams_bashforth(nodes, sigma_next), strict=True):
            x = x + slope * weight
        yield Step(index, len(sigmas) - 1, sigma, x, denoised)


def dpmpp_2s_ancestral(
    denoise: Denoiser,
    x: Latents,
    sigmas: Sequence[float],
    noise: NoiseSource,
    *,
    eta: float = 1.0,
    s_noise: float = 1.0,
) -> Iterator[Step]:
    """DPM-Solver++(2S) to below the next sigma, then noise up to it; two calls per step (Lu et al. 2023, alg. 1)."""
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        down, up = _ancestral_split(sigma, sigma_next, eta)
        if down == 0:
            x = denoised
        else:
            middle, half = math.sqrt(sigma * down), math.log(sigma / down) / 2
            halfway = (middle / sigma) * x - math.expm1(-half) * denoised
            x = (down / sigma) * x - math.expm1(-2 * half) * denoise(halfway, middle)
        if up > 0:
            x = x + noise(sigma, sigma_next) * (up * s_noise)
        yield Step(index, len(sigmas) - 1, sigma, x, denoised)


def _multistep_sde(
    denoise: Denoiser,
    x: Latents,
    sigmas: Sequence[float],
    noise: NoiseSource,
    eta: float,
    s_noise: float,
    correction: Correction,
) -> Iterator[Step]:
    """Exponential integrator of the reverse SDE with noise strength eta (1: Lu et al. 2023, appendix B; 0: the ODE)."""
    past: Past = []
    for index, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        denoised = denoise(x, sigma)
        if sigma_next == 0:
            x = denoised
        else:
            h = math.log(sigma / sigma_next)
            e = (1 + eta) * h
            x = math.exp(-e) * x - math.expm1(-e) * denoised + correction(denoised, past, h, e)
            if eta:
                std = sigma_next * math.sqrt(-math.expm1(-2 * eta * h))
                x = x + noise(sigma, sigma_next) * (std * s_noise)
            past = [(denoised, h), *past[:1]]
        yield Step(index, len(sigmas) - 1, sigma, x, denoised)


def _midpoint(denoised: Latents, past: Past, h: float, e: float) -> Latents | float:
    if not past:
        return 0.0
    previous, h_previous = past[0]
    return (denoised - previous) * (-math.expm1(-e) / 2 * h / h_previous)


def _second_order(denoised: Latents, past: Past, h: float, e: float) -> Latents | float:
    if not past:
        return 0.0
    previous, h_previous = past[0]
    return (denoised - previous) * (_phi_2(e) * h / h_previous)


def _third_order(denoised: Latents, past: Past, h: float, e: float) -> Latents | float:
    """phi_2 d_1 - phi_3 d_2, with the first two divided differences of the last three denoised latents."""
    if len(past) < 2:
        return _second_order(denoised, past, h, e)
    (previous, h_previous), (oldest, h_oldest) = past
    r_0, r_1 = h_previous / h, h_oldest / h
    recent, older = (denoised - previous) / r_0, (previous - oldest) / r_1
    bend = (recent - older) / (r_0 + r_1)
    phi_2 = _phi_2(e)
    return phi_2 * (recent + bend * r_0) - (phi_2 / e - 0.5) * bend


def _phi_2(e: float) -> float:
    return math.expm1(-e) / e + 1


def _adams_bashforth(nodes: Sequence[float], end: float) -> list[float]:
    """Integrals over [nodes[0], end] of the Lagrange polynomials on up to four nodes.

    Two Gauss-Legendre points are exact for them: their degree is at most three.
    """
    middle, half = (nodes[0] + end) / 2, (end - nodes[0]) / 2
    points = (middle - half / math.sqrt(3), middle + half / math.sqrt(3))
    return [half * sum(_lagrange(nodes, j, point) for point in points) for j in range(len(nodes))]


def _lagrange(nodes: Sequence[float], j: int, point: float) -> float:
    others = (node for k, node in enumerate(nodes) if k != j)
    return math.prod(((point - node) / (nodes[j] - node) for node in others), start=1.0)


def _ancestral_split(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """(sigma to step down to, noise to add) with down^2 + up^2 = sigma_next^2."""
    up = min(sigma_next, eta * sigma_next * math.sqrt(1 - (sigma_next / sigma) ** 2))
    return math.sqrt(sigma_next**2 - up**2), up
