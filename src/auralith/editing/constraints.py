"""What an edit puts around the network: latents held to what they must become, and the end joined to the start.

Both work on the velocities, so they hold for every sampler and objective, guided or not. Where the velocity is that of
known data x0, each sampler walks from x0 + sigma n straight to x0, with fresh n where it adds noise: those latents are
distributed as q(x_t | x0) at every level, which is what RePaint (arXiv 2201.09865, equation 8) puts there by hand.
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import count

import torch
from jaxtyping import Bool, Float
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
    """Show the network the first `num_frames` latents turned on their circle at every call ("noise rolling").

    The seam between end and start is then mostly inside the window, so the two are denoised as neighbors (Vecchio et
    al. 2023, arXiv 2309.01700, section 4.3). The angles are multiples of 1 / `turns`, in the order of the golden ratio
    instead of chance. Few turns, of whole beats, because the network places a rhythm by where the window begins: turned
    by any angle, the hits it places in different steps fall beside each other.
    """

    def constrain(predictor: Predictor) -> Predictor:
        calls = count(1)

        def wrapped(velocities: Velocities, z: Latents, t: Times) -> tuple[Latents, ...]:
            angle = int(next(calls) * GOLDEN * turns) % turns / turns
            shift = round(angle * num_frames)
            turned = velocities(_turned(z, num_frames, shift), t)
            return tuple(_turned(v, num_frames, -shift) for v in turned)

        return _around(predictor, wrapped)

    return constrain


def _turned(x: Latents, num_frames: int, shift: int) -> Latents:
    return torch.cat((x[..., :num_frames].roll(shift, -1), x[..., num_frames:]), dim=-1)


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
