"""Guidance around the network: conditioned and unconditioned velocities from one batch."""

from jaxtyping import Float
from torch import Tensor

from auralith.diffusion import Guidance, Objective, Predictor
from auralith.models.dit import DiT, Prepared


def guided(
    dit: DiT,
    objective: Objective,
    guidance: Guidance,
    batch: int,
    context: Float[Tensor, "context_row token dim"] | None,
    global_embed: Float[Tensor, "rows global_dim"],
    num_frames: int,
    extra: Float[Tensor, "rows extra frame"] | None = None,
) -> Predictor:
    """Return the network under guidance, with all that stays the same over the steps computed once.

    The first `batch` rows are what it is conditioned on; with guidance as many follow, of the negative prompts or of
    none. A `context` of None conditions nothing. `extra` holds further input channels. The network computes in the number
    format of `global_embed`.
    """
    prepared = dit.prepare(context, global_embed, num_frames, extra)
    conditioned = prepared.first_rows(batch)

    def network(z: Tensor, t: Tensor, prepared: Prepared = conditioned) -> Tensor:
        return dit.step(z.to(global_embed.dtype), t, prepared)

    def both(z: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        cond, uncond = network(z.repeat(2, 1, 1), t.repeat(2), prepared).chunk(2)
        return cond, uncond

    return Predictor(objective, network, both, guidance)
