"""Samplers in t, along the objective's own path: z_t = alpha x0 + sigma noise, with t falling to 0.

The state keeps unit scale, so there is no starting factor: x is noise at t = 1. `ddim` is exact for straight lines in
the objective's coordinates; on rectified flow it is Euler's method.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from auralith.diffusion import Latents, Predictor
from auralith.noise import NoiseSource
from auralith.samplers.step import Step

LEAST_TIME = 1e-5
"""Networks are trained on times above 0, and guidance of the data in a velocity divides by the time."""
BOUND = -math.log(1e-10)


def ddim(
    predict: Predictor, x: Latents, times: Sequence[float], noise: NoiseSource
) -> Iterator[Step]:
    """Keep the predicted data and noise, change their shares (Song et al. 2021, equation 12 without noise)."""
    return _ddim(predict, x, times, unconditional_noise=False)


def ddim_cfgpp(
    predict: Predictor, x: Latents, times: Sequence[float], noise: NoiseSource
) -> Iterator[Step]:
    """DDIM that takes the noise from the unconditional prediction (CFG++, Chung et al. 2024, algorithm 2)."""
    return _ddim(predict, x, times, unconditional_noise=True)


def rk4(
    predict: Predictor, x: Latents, times: Sequence[float], noise: NoiseSource
) -> Iterator[Step]:
    """Classical Runge-Kutta of fourth order on dx/dt = v; rectified flow only, four network calls per step."""
    for index, (t, t_next) in enumerate(pairwise(times)):
        h, middle = t_next - t, (t + t_next) / 2
        k_1 = predict(x, t).v
        k_2 = predict(x + k_1 * (h / 2), middle).v
        k_3 = predict(x + k_2 * (h / 2), middle).v
        k_4 = predict(x + k_3 * h, max(t_next, LEAST_TIME)).v
        denoised = predict.objective.denoised(x, k_1, t)
        x = x + (k_1 + 2 * k_2 + 2 * k_3 + k_4) * (h / 6)
        yield Step(index, len(times) - 1, t, x, denoised)


def dpmpp(
    predict: Predictor, x: Latents, times: Sequence[float], noise: NoiseSource
) -> Iterator[Step]:
    """DPM-Solver++(2M) (Lu et al. 2023, algorithm 2) in the path's own scales: second order, one call per step.

    A step from t = 1 has infinite length in ln(alpha / sigma), so it and the one after it are of first order.
    """
    return _dpmpp(predict, x, times, math.inf)


def dpmpp_bounded(
    predict: Predictor, x: Latents, times: Sequence[float], noise: NoiseSource
) -> Iterator[Step]:
    """`dpmpp` with ln(alpha / sigma) bounded as in Stable Audio 3, so that the second step is of second order too."""
    return _dpmpp(predict, x, times, BOUND)


def _dpmpp(predict: Predictor, x: Latents, times: Sequence[float], bound: float) -> Iterator[Step]:
    objective = predict.objective
    previous, h_previous = x, math.inf
    for index, (t, t_next) in enumerate(pairwise(times)):
        denoised = objective.denoised(x, predict(x, t).v, t)
        h = _log_snr(predict, t_next, bound) - _log_snr(predict, t, bound)
        if t_next == 0:
            x = denoised
        else:
            bend = (denoised - previous) * (h / h_previous / 2) if index > 0 else 0.0
            _, sigma, *_ = objective.path(t)
            alpha_next, sigma_next, *_ = objective.path(t_next)
            x = (sigma_next / sigma) * x - (alpha_next * math.expm1(-h)) * (denoised + bend)
        previous, h_previous = denoised, h
        yield Step(index, len(times) - 1, t, x, denoised)


def pingpong(
    predict: Predictor, x: Latents, times: Sequence[float], noise: NoiseSource
) -> Iterator[Step]:
    """Denoise fully, noise anew to the next level; for models distilled to few steps (Song et al. 2023, alg. 1)."""
    objective = predict.objective
    for index, (t, t_next) in enumerate(pairwise(times)):
        denoised = objective.denoised(x, predict(x, t).v, t)
        # drawn at the end as well, where it counts for nothing: what is drawn behind it is the reference's
        x = objective.add_noise(denoised, noise(t, t_next), t_next)
        yield Step(index, len(times) - 1, t, x, denoised)


def _ddim(
    predict: Predictor, x: Latents, times: Sequence[float], unconditional_noise: bool
) -> Iterator[Step]:
    objective = predict.objective
    for index, (t, t_next) in enumerate(pairwise(times)):
        v, v_uncond = predict(x, t)
        denoised = objective.denoised(x, v, t)
        kept = objective.noise(x, v_uncond if unconditional_noise else v, t)
        x = objective.add_noise(denoised, kept, t_next)
        yield Step(index, len(times) - 1, t, x, denoised)


def _log_snr(predict: Predictor, t: float, bound: float) -> float:
    """Return ln(alpha / sigma), at most `bound` from 0: minus infinity at t = 1 of rectified flow, infinity at 0."""
    sigma = predict.objective.sigma_from_t(t)
    found = -math.log(sigma) if sigma else math.inf
    return min(max(found, -bound), bound)
