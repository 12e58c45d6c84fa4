"""Shares of the time of a guided step by operation, at the published width, so that it shows what is left besides products.

Shares of a step depend little on what else a machine does; the blocks are alike, so a few stand for all.
"""

from collections import Counter
from typing import Annotated

import torch
import typer
from torch.profiler import ProfilerActivity, profile

from auralith.config import DiTConfig
from auralith.models.dit import DiT

CONTEXT_TOKENS = 130
PRODUCTS = ("aten::addmm", "aten::mm", "aten::bmm")


def shares(latents: int, depth: int, rounds: int) -> dict[str, float]:
    """Return the share of each operation, the largest first, of guided steps with random weights in float32."""
    config = DiTConfig(depth=depth)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    with torch.inference_mode():
        dit = DiT(config).eval()
        context, global_embed = (
            normal(1, CONTEXT_TOKENS, config.context_dim),
            normal(2, config.global_dim),
        )
        prepared = dit.prepare(context, global_embed, latents)
        x, t = normal(2, config.latent_channels, latents), torch.full((2,), 0.5)
        dit.step(x, t, prepared)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            for _ in range(rounds):
                dit.step(x, t, prepared)
    spent = Counter({e.key: e.self_cpu_time_total for e in profiler.key_averages()})
    return {name: time / spent.total() for name, time in spent.most_common()}


def main(
    latents: Annotated[int, typer.Option(min=1, help="Latent frames.")] = 216,
    depth: Annotated[int, typer.Option(min=1, help="Blocks.")] = 2,
    rounds: Annotated[int, typer.Option(min=1, help="Steps after the first.")] = 3,
) -> None:
    """Print the shares above half a per cent."""
    found = shares(latents, depth, rounds)
    for name, share in found.items():
        if share >= 0.005:
            print(f"{share:6.1%}  {name}")
    print(f"{sum(found.get(name, 0.0) for name in PRODUCTS):6.1%}  matrix products in all")


if __name__ == "__main__":
    typer.run(main)
