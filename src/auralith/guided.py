"""Guidance around the network: conditioned and unconditioned velocities from one batch."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.diffusion import Guidance, Objective, Predictor
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.step_cache import StepCache


def guided(
    dit: DiffusionTransformer[Any],
    objective: Objective,
    guidance: Guidance,
    batch: int,
    context: Float[Tensor, "context_row token dim"] | None,
    global_embed: Float[Tensor, "rows global_dim"],
    num_frames: int,
    extra: Float[Tensor, "rows extra frame"] | None = None,
    lengths: Sequence[int] | None = None,
    dit_at: Callable[[float], DiffusionTransformer[Any]] | None = None,
    cache_threshold: float = 0.0,
) -> Predictor:
    """Return the network under guidance, with all that stays the same over the steps computed once.

    The first `batch` rows are what it is conditioned on; with guidance as many follow, of the negative prompts or of
    none. A `context` of None conditions nothing. `extra` holds further input channels, `lengths` are the frames of each
    item's sound in the reference's order of noise, which pads a batch; the keys of padding stay, as there. The network
    computes in the number format of `global_embed`. `dit_at` gives the network by noise level (`Objective.guidance_level`),
    where it is not the same at all. `cache_threshold` is that of a `StepCache` for each network; 0: every step is computed.
    """
    valid = mask = None
    if lengths is not None:
        ends = torch.tensor(lengths, device=global_embed.device)[:, None]
        valid = torch.arange(num_frames, device=global_embed.device) < ends
        mask = valid.repeat(global_embed.shape[0] // batch, 1)

    @cache
    def started(dit: DiffusionTransformer[Any]) -> tuple[Any, Any, StepCache | None]:
        """Return what all steps of a network share, for the whole batch and for what is conditioned, and its cache."""
        whole = dit.prepare(context, global_embed, num_frames, extra, mask, keeps_keys=True)
        steps = StepCache(cache_threshold, batch) if cache_threshold else None
        return whole, whole.rows(slice(batch)), steps

    def chosen(t: Tensor) -> DiffusionTransformer[Any]:
        return dit if dit_at is None else dit_at(objective.guidance_level(float(t[0])))

    def network(z: Tensor, t: Tensor) -> Tensor:
        one = chosen(t)
        _, conditioned, steps = started(one)
        return one.step(z.to(global_embed.dtype), t, conditioned, steps)

    def both(z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        one = chosen(t)
        whole, _, steps = started(one)
        twice = z.repeat(2, 1, 1).to(global_embed.dtype)
        cond, uncond = one.step(twice, t.repeat(2), whole, steps).chunk(2)
        return cond, uncond

    return Predictor(objective, network, both, guidance, valid=valid)
