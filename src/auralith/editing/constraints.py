"""Constraints that an edit puts around the network: latents held to what they must become, the end joined to the start.

Both work on the velocities, so they hold for every sampler and objective, guided or not. Where the velocity is that of
known data x0, each sampler walks from x0 + sigma n straight to x0, with fresh n where it adds noise: those latents are
distributed as q(x_t | x0) at every level, which is what RePaint (arXiv 2201.09865, equation 8) puts there by hand.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from auralith.diffusion import Latents, Predictor, Times

Velocities = Callable[[Latents, Times], tuple[Latents, ...]]
"""(z, t) to the velocities of one evaluation: the conditioned one, or both of guidance."""
Constraint = Callable[[Predictor], Predictor]
GOLDEN = (5**0.5 - 1) / 2


def hold(known: Float[Tensor, "batch channel frame"], held: Bool[Tensor, " frame"]) -> Constraint:
    """Lead the `held` frames to the known latents, whatever the network says of them."""

    def constrain(predictor: Predictor) -> Predictor:
        def wrapped(velocities: Velocities, z: Latents, t: Times) -> tuple[Latents, ...]:
            v_known = predictor.objective.velocity(z, known, t)
            return tuple(torch.where(held, v_known, v) for v in velocities(z, t))

        return _around(predictor, wrapped)

    return constrain


def join_ends(num_frames: int, turns: int) -> Constraint:
    """Show the network the first `num_frames` latents as a circle that fills its window, turned at every call.

    Where the window is longer than the circle, the network sees some frames twice, and their velocities are joined with
    weights that fall to zero at the window's ends (MultiDiffusion, Bar-Tal et al. 2023, arXiv 2302.08113, equation 5):
    so what a network does at a beginning or an end leaves no trace. Where it isn't, turning alone brings the seam
    inside the window ("noise rolling", Vecchio et al. 2023, arXiv 2309.01700, section 4.3). The angles are multiples of
    1 / `turns`, in the order of the golden ratio instead of chance. Few turns, of whole beats, because the network places
    a rhythm by where the window begins: turned by any angle, hits placed in different steps fall beside each other.
    """

    def constrain(predictor: Predictor) -> Predictor:
        calls = count(1)

        def wrapped(velocities: Velocities, z: Latents, t: Times) -> tuple[Latents, ...]:
            angle = int(next(calls) * GOLDEN * turns) % turns / turns
            size = z.shape[-1]
            frame_of = (
                torch.arange(size, device=z.device) - round(angle * num_frames)
            ) % num_frames
            seen = velocities(z[..., :num_frames][..., frame_of], t)
            weights = _window_weights(size, num_frames, z)
            return tuple(_joined(v, weights, frame_of, num_frames) for v in seen)

        return _around(predictor, wrapped)

    return constrain


def _window_weights(size: int, period: int, like: Latents) -> Float[Tensor, " frame"]:
    """Return a trapezoid over the window: its slopes are as long as what the window shows twice, half of it at most."""
    slope = min(size - period, size // 2)
    if not slope:
        return torch.ones(size, dtype=like.dtype, device=like.device)
    rise = (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5) / slope
    return torch.minimum(rise, rise.flip(0)).clamp(max=1.0)


def _joined(
    v: Latents, weights: Float[Tensor, " frame"], frame_of: Int[Tensor, " frame"], num_frames: int
) -> Latents:
    """Return the weighted mean over all places where a frame of the circle is seen, repeated to fill the window."""
    total = weights.new_zeros(num_frames).index_add(0, frame_of, weights)
    summed = weights.new_zeros(*v.shape[:-1], num_frames).index_add(-1, frame_of, v * weights)
    repeated = torch.arange(v.shape[-1], device=v.device) % num_frames
    return (summed / total)[..., repeated]


def _around(
    predictor: Predictor,
    wrapped: Callable[[Velocities, Latents, Times], tuple[Latents, ...]],
) -> Predictor:
    def conditional(z: Latents, t: Times) -> Latents:
        (v,) = wrapped(lambda z, t: (predictor.conditional(z, t),), z, t)
        return v

    def both(z: Latents, t: Times) -> tuple[Latents, Latents]:
        v_cond, v_uncond = wrapped(predictor.both, z, t)
        return v_cond, v_uncond

    return replace(predictor, conditional=conditional, both=both)
