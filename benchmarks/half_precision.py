"""Drift of Stable Audio 3 in bfloat16 and float16: a step and a decoding against float32, with random weights.

    python benchmarks/half_precision.py CONFIG.json [...] [--frames 65] [--depth 0]

A config is a `model_config.json`; `--depth` keeps so many blocks of its transformer, 0 all. Weights and inputs come from
a seed. Random weights tell the rounding of the computation, not what it does to a sound: differential attention of
trained weights cancels more.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from auralith.config import ModelConfig
from auralith.families.model_config import config_from_json
from auralith.families.registry import family_of, transformer_network
from auralith.foreign import read_json
from auralith.models.autoencoder import Autoencoder

TIMES = (0.1, 0.5, 0.9)


def step_drift(config: ModelConfig, frames: int) -> Iterator[tuple[str, list[float]]]:
    """Yield the relative L2 differences of the velocity at `TIMES`, by number format."""
    generator = torch.Generator().manual_seed(0)
    dit = config.dit
    channels, extra = config.audio.latent_channels, dit.extra_channels
    tokens = config.text.max_tokens + 1
    shapes = ((1, channels, frames), (1, tokens, dit.context_dim), (1, dit.global_dim))
    x, *rest = (torch.randn(*shape, generator=generator) for shape in shapes)
    inputs = [*rest, torch.zeros(1, extra, frames)]

    def velocities(network: nn.Module, dtype: torch.dtype) -> list[Tensor]:
        given = [part.to(dtype) for part in inputs]
        return [network(x.to(dtype), torch.tensor([t]), *given).float() for t in TIMES]

    return drift(lambda: transformer_network(config), velocities)


def decoding_drift(config: ModelConfig, frames: int) -> Iterator[tuple[str, list[float]]]:
    """Yield the relative L2 difference of the waveform of random latents, by number format."""
    shape = (1, config.audio.latent_channels, frames)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    kind = family_of(config.autoencoder).autoencoder

    def waveform(network: nn.Module, dtype: torch.dtype) -> list[Tensor]:
        assert isinstance(network, Autoencoder)
        return [network.decode(latents.to(dtype)).float()]

    return drift(lambda: kind.build(config.autoencoder), waveform)


def drift(
    build: Callable[[], nn.Module], run: Callable[[nn.Module, torch.dtype], list[Tensor]]
) -> Iterator[tuple[str, list[float]]]:
    """Yield the relative L2 differences of what a network gives in float32 and in each half format."""
    with torch.random.fork_rng(), torch.inference_mode():
        torch.default_generator.manual_seed(0)
        network = build().eval()
        exact = run(network, torch.float32)
        weights = {name: value.clone() for name, value in network.state_dict().items()}
        for dtype in (torch.bfloat16, torch.float16):
            network.float().load_state_dict(weights)
            made = run(network.to(dtype), dtype)
            yield (
                str(dtype).removeprefix("torch."),
                [float((a - b).norm() / b.norm()) for a, b in zip(made, exact, strict=True)],
            )


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
        for name, errors in step_drift(config, chosen.frames):
            listed = "  ".join(f"t {t}: {e:.1e}" for t, e in zip(TIMES, errors, strict=True))
            print(f"{path}  {config.dit.depth} blocks  {name}  {listed}", flush=True)
        for name, errors in decoding_drift(config, chosen.frames):
            print(f"{path}  decoding  {name}  {errors[0]:.1e}", flush=True)


if __name__ == "__main__":
    main()
