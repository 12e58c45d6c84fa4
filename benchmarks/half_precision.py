"""Drift of Stable Audio 3's transformer in bfloat16 and float16: one step against float32, with random weights.

    python benchmarks/half_precision.py CONFIG.json [...] [--frames 65] [--depth 0]

A config is a `model_config.json`; `--depth` keeps so many blocks of it, 0 all. Weights and inputs come from a seed. Random
weights tell the rounding of the computation, not what it does to a sound: differential attention of trained weights
cancels more.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from auralith.config import ModelConfig
from auralith.families.model_config import config_from_json
from auralith.families.registry import transformer_network
from auralith.foreign import read_json

TIMES = (0.1, 0.5, 0.9)


def drift(config: ModelConfig, frames: int) -> dict[str, list[float]]:
    """Return relative L2 differences of the velocity at `TIMES`, by number format."""
    generator = torch.Generator().manual_seed(0)
    dit = config.dit
    channels, extra = config.audio.latent_channels, dit.extra_channels
    tokens = config.text.max_tokens + 1
    shapes = ((1, channels, frames), (1, tokens, dit.context_dim), (1, dit.global_dim))
    x, context, vector = (torch.randn(*shape, generator=generator) for shape in shapes)
    local = torch.zeros(1, extra, frames)
    with torch.random.fork_rng(), torch.inference_mode():
        torch.default_generator.manual_seed(0)
        network = transformer_network(config).eval()

        def velocities(dtype: torch.dtype) -> list[Tensor]:
            inputs = [part.to(dtype) for part in (x, context, vector, local)]
            network.to(dtype)
            return [network(inputs[0], torch.tensor([t]), *inputs[1:]).float() for t in TIMES]

        exact = velocities(torch.float32)
        found: dict[str, list[float]] = {}
        weights = {name: value.clone() for name, value in network.state_dict().items()}
        for dtype in (torch.bfloat16, torch.float16):
            network.float().load_state_dict(weights)
            found[str(dtype).removeprefix("torch.")] = [
                float((a - b).norm() / b.norm())
                for a, b in zip(velocities(dtype), exact, strict=True)
            ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=65)
    parser.add_argument("--depth", type=int, default=0)
    chosen = parser.parse_args()
    for path in chosen.configs:
        config = config_from_json(read_json(path), path)
        if chosen.depth:
            config = replace(config, dit=replace(config.dit, depth=chosen.depth))
        for name, errors in drift(config, chosen.frames).items():
            listed = "  ".join(f"t {t}: {e:.1e}" for t, e in zip(TIMES, errors, strict=True))
            print(f"{path}  {config.dit.depth} blocks  {name}  {listed}", flush=True)


if __name__ == "__main__":
    main()
