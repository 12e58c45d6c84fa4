"""The mathematics of the diffusion, for samplers and training alike: objectives, guidance, v to denoised.

Data and noise are joined by a path z_t = alpha x0 + sigma noise, and the network learns its velocity
v = alpha' x0 + sigma' noise. Both published objectives measure t so that alpha sigma' - sigma alpha' = 1, therefore
x0 = sigma' z - sigma v and noise = alpha v - alpha' z: an `Objective` is four numbers as functions of t.
`Predictor` is the network as samplers see it, guidance included; `variance_exploding_denoiser` turns it into
D(x, sigma) with x = x0 + sigma noise. States are float32 and scales are Python floats, whatever the network's dtype:
near sigma = 500 half precision rounds the data away (bf16 is spaced by 2 there) and overflows sigma squared.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from auralith.config import DistributionShift, ObjectiveName

Latents = Float[Tensor, "batch channel frame"]
Times = Float[Tensor, " batch"]
Network = Callable[[Latents, Times], Latents]
"""(z, t) to v, for one condition; z is float32 and the network casts it to its own dtype."""
NetworkPair = Callable[[Latents, Times], tuple[Latents, Latents]]
"""(z, t) to (v_cond, v_uncond), best evaluated as one batch."""
Denoiser = Callable[[Latents, float], Latents]
"""(x, sigma) to the expected clean latents, for x = x0 + sigma noise; float32 in and out."""


class Path(NamedTuple):
    """Scales of data and noise in z_t, and their rates along the path."""

    alpha: float | Tensor
    sigma: float | Tensor
    alpha_rate: float | Tensor
    sigma_rate: float | Tensor


class Objective(ABC):
    """A path from data (t = 0) to noise (t = 1). t is one float for all items or one value per item."""

    @abstractmethod
    def path(self, t: float | Tensor) -> Path:
        """The path at t, of the shape of t."""

    @abstractmethod
    def t_from_sigma(self, sigma: float) -> float:
        """The t at which noise / data is `sigma` (0 to infinity)."""

    @abstractmethod
    def guidance_level(self, t: float) -> float:
        """The scale, 0 to 1, on which guidance intervals are stated."""

    def sigma_from_t(self, t: float) -> float:
        """Noise / data at t, infinite where no data is left."""
        alpha, sigma, *_ = self.path(t)
        return float(sigma / alpha) if alpha else math.inf

    def add_noise(self, x0: Latents, noise: Latents, t: float | Times) -> Latents:
        """z_t = alpha x0 + sigma noise."""
        alpha, sigma, *_ = self.path(_per_item(t))
        return alpha * x0 + sigma * noise

    def target(self, x0: Latents, noise: Latents, t: float | Times) -> Latents:
        """Return the output that the network is trained for: v = alpha' x0 + sigma' noise."""
        *_, alpha_rate, sigma_rate = self.path(_per_item(t))
        return alpha_rate * x0 + sigma_rate * noise

    def denoised(self, z: Latents, v: Latents, t: float | Times) -> Latents:
        """x0 = sigma' z - sigma v."""
        _, sigma, _, sigma_rate = self.path(_per_item(t))
        return sigma_rate * z - sigma * v

    def velocity(self, z: Latents, x0: Latents, t: float | Times) -> Latents:
        """The v at z_t whose data is `x0`: (sigma' z - x0) / sigma; large and of no meaning at t = 0."""
        _, sigma, _, sigma_rate = self.path(_per_item(t))
        sigma = sigma.clamp_min(1e-6) if isinstance(sigma, Tensor) else max(sigma, 1e-6)
        return (sigma_rate * z - x0) / sigma

    def noise(self, z: Latents, v: Latents, t: float | Times) -> Latents:
        """The noise in z: alpha v - alpha' z."""
        alpha, _, alpha_rate, _ = self.path(_per_item(t))
        return alpha * v - alpha_rate * z


@dataclass(frozen=True)
class VObjective(Objective):
    """v prediction on the cosine path: alpha = cos(pi t / 2), sigma = sin(pi t / 2) (Salimans and Ho 2022, app. D)."""

    def path(self, t: float | Tensor) -> Path:
        angle = t * (math.pi / 2)
        if isinstance(angle, Tensor):
            alpha, sigma = angle.cos(), angle.sin()
        else:
            alpha, sigma = math.cos(angle), math.sin(angle)
        return Path(alpha, sigma, -sigma, alpha)

    def t_from_sigma(self, sigma: float) -> float:
        return math.atan(sigma) * 2 / math.pi

    def guidance_level(self, t: float) -> float:
        return math.sin(t * math.pi / 2)


@dataclass(frozen=True)
class RectifiedFlow(Objective):
    """Straight paths (Liu et al. 2022): alpha = 1 - t, sigma = t, v = noise - x0."""

    def path(self, t: float | Tensor) -> Path:
        return Path(1 - t, t, -1.0, 1.0)

    def t_from_sigma(self, sigma: float) -> float:
        return sigma / (1 + sigma)

    def guidance_level(self, t: float) -> float:
        return t


OBJECTIVES: Mapping[ObjectiveName, Objective] = MappingProxyType(
    {"v": VObjective(), "rectified_flow": RectifiedFlow(), "rf_denoiser": RectifiedFlow()}
)
"""By the name in a model's config. `rf_denoiser` differs from `rectified_flow` in how it was trained only."""


@dataclass(frozen=True)
class Projection:
    """Adaptive projected guidance (APG, Sadat et al. 2024, arXiv 2410.02416).

    It changes what guidance adds to the conditional data, (scale - 1) times the difference of the conditional and the
    unconditional one. As they stand the defaults change nothing.
    """

    eta: float = 1.0
    """Share that is kept of the difference's part parallel to the conditional data; 0 in the paper."""
    norm_threshold: float = 0.0
    """The largest norm r of an item's difference; 0: any."""
    momentum: float = 0.0
    """The share beta of the step before that is added to a difference; the paper takes negative ones."""

    def project(self, difference: Latents, denoised: Latents) -> Latents:
        """The difference, its norm limited, without some of its part along the conditional data; of each item.

        min(1, r / |d|) d, then d_orthogonal + eta d_parallel with d_parallel = <d, D> / <D, D> D.
        """
        if self.norm_threshold:
            norm = difference.square().sum(dim=(1, 2), keepdim=True).sqrt()
            difference = difference * (self.norm_threshold / norm.clamp_min(1e-30)).clamp_max(1)
        if self.eta == 1:
            return difference
        power = denoised.square().sum(dim=(1, 2), keepdim=True).clamp_min(1e-30)
        share = (difference * denoised).sum(dim=(1, 2), keepdim=True) / power
        return difference - (1 - self.eta) * share * denoised


class Momentum:
    """The differences of the steps before, each weighted by beta once more: what a run of a sampler remembers."""

    def __init__(self) -> None:
        self._sum: Latents | None = None

    def add(self, difference: Latents, beta: float) -> Latents:
        """difference + beta times what this gave for the step before."""
        if not beta:
            return difference
        self._sum = difference if self._sum is None else difference + beta * self._sum
        return self._sum


@dataclass(frozen=True)
class Guidance:
    """Classifier-free guidance: its scale (1: off), the rescaling phi in 0..1, and where on the path it acts.

    Outside `interval` (bounds included, on `Objective.guidance_level`) only the conditioned network is evaluated
    (Kynkäänniemi et al. 2024, arXiv 2404.07724, section 3).
    """

    scale: float = 1.0
    rescale: float = 0.0
    interval: tuple[float, float] = (0.0, 1.0)
    projection: Projection = Projection()
    rounds_as_reference: bool = False
    """Projected guidance takes differences of data, and the velocity from their result, as the reference computes it:
    the same numbers but for rounding, which this magnifies near t = 0."""

    def active_at(self, objective: Objective, t: float) -> bool:
        lowest, highest = self.interval
        return self.scale != 1 and lowest <= objective.guidance_level(t) <= highest


def guide(v_cond: Latents, v_uncond: Latents, scale: float, rescale: float = 0.0) -> Latents:
    """v_uncond + scale (v_cond - v_uncond), in float32 (Ho and Salimans 2022, equation 6); then `rescaled`."""
    v_cond, v_uncond = v_cond.float(), v_uncond.float()
    return rescaled(v_uncond + scale * (v_cond - v_uncond), v_cond, rescale)


def rescaled(v: Latents, v_cond: Latents, share: float) -> Latents:
    """A share of the guided v brought to the standard deviation of v_cond over the channels of each frame.

    This takes away the loudness that large scales add (Lin et al. 2023, equations 15 and 16).
    """
    if not share:
        return v
    std = v.std(dim=1, keepdim=True).clamp_min(1e-8)
    return v * (share * v_cond.std(dim=1, keepdim=True) / std + (1 - share))


class Prediction(NamedTuple):
    """The velocity to follow and the unconditional one; the same tensor where guidance is off."""

    v: Latents
    v_uncond: Latents


@dataclass(frozen=True)
class Predictor:
    """The guided network as samplers see it: float32 latents and one t for the batch in, float32 velocities out."""

    objective: Objective
    conditional: Network
    both: NetworkPair
    guidance: Guidance = Guidance()
    momentum: Momentum = field(default_factory=Momentum, compare=False)
    """State of one run; see `afresh`."""
    valid: Bool[Tensor, "batch frame"] | None = None
    """The frames of each item's sound, where items of several lengths share a batch; guidance looks at no others."""

    def __call__(self, z: Latents, t: float) -> Prediction:
        times = torch.full((z.shape[0],), t, dtype=torch.float32, device=z.device)
        if not self.guidance.active_at(self.objective, t):
            v = self.conditional(z, times).float()
            return Prediction(v, v)
        v_cond, v_uncond = (v.float() for v in self.both(z, times))
        return Prediction(self._guided(z, v_cond, v_uncond, t), v_uncond)

    def afresh(self) -> "Predictor":
        """The same for another run, with nothing remembered."""
        return replace(self, momentum=Momentum())

    def _guided(self, z: Latents, v_cond: Latents, v_uncond: Latents, t: float) -> Latents:
        """Plain guidance of velocities, or APG of the data in them: x0 is linear in v with the factor -sigma."""
        scale, projection = self.guidance.scale, self.guidance.projection
        if projection == Projection():
            return guide(v_cond, v_uncond, scale, self.guidance.rescale)
        sigma = max(float(self.objective.path(t).sigma), 1e-6)
        denoised = self.objective.denoised(z, v_cond, t)
        difference = sigma * (v_uncond - v_cond)
        if self.guidance.rounds_as_reference:
            difference = denoised - self.objective.denoised(z, v_uncond, t)
        difference = self.momentum.add(difference, projection.momentum)
        data = denoised
        if self.valid is not None:
            difference, denoised = (part * self.valid[:, None] for part in (difference, denoised))
        update = projection.project(difference, denoised)
        if self.guidance.rounds_as_reference:
            v = self.objective.velocity(z, data + (scale - 1) * update, t)
        else:
            v = v_cond - (scale - 1) / sigma * update
        return rescaled(v, v_cond, self.guidance.rescale)


def variance_exploding_denoiser(predictor: Predictor) -> Denoiser:
    """D(x, sigma) for x = x0 + sigma noise: z = alpha x lies on the path at the t with that sigma (Karras et al. 2022).

    For the v objective these are c_in = 1 / sqrt(sigma^2 + 1), c_skip = c_in^2 and c_out = -sigma c_in.
    """
    objective = predictor.objective

    def denoise(x: Latents, sigma: float) -> Latents:
        t = objective.t_from_sigma(sigma)
        z = x * objective.path(t).alpha
        return objective.denoised(z, predictor(z, t).v, t)

    return denoise


def shift_times(
    t: Float[Tensor, "*time"], shift: DistributionShift, num_frames: int
) -> Float[Tensor, "*time"]:
    """Return times moved toward noise for latents of that length: t / (t + e^-m (1 - t)), 0 <= t <= 1."""
    shifted = t / (t + math.exp(-shift.amount(num_frames)) * (1 - t))
    return (shifted * (math.pi / 2)).sin() if shift.use_sine else shifted


def _per_item(t: float | Times) -> float | Float[Tensor, "batch 1 1"]:
    return t[:, None, None] if isinstance(t, Tensor) else t
