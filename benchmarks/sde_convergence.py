"""Convergence of the SDE samplers as steps are added, and their distance from k-diffusion's.

For each seed the steps are doubled, and the latents compared with those of half as many steps: |a - b| / |b|. With
`--noise reference` all follow one Brownian path, so the distance should halve each time (strong order 1); the default
noise draws every step anew, so more steps are another sound. With a checkout of github.com/crowsonkb/k-diffusion its
samplers run on the same network and the same path; torchsde must be installed, its other libraries need not be.
"""

import importlib
import sys
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import torch
import typer
from peer_checkout import StandIn
from torch import Tensor

from auralith import Auralith, GenerationRequest, load
from auralith.diffusion import Predictor, variance_exploding_denoiser
from auralith.noise import ReferenceNoise
from auralith.pipeline import Steering

NAMES = ("dpmpp-3m-sde", "dpmpp-2m-sde")
SOUNDS = (
    ("rain on a tin roof", 1),
    ("a bright pluck, note E4", 3),
    ("a techno loop at 120 bpm", 2),
    ("a kick drum", 5),
)


def distance(x: Tensor, reference: Tensor) -> float:
    return float((x - reference).norm() / reference.norm())


def k_diffusion(checkout: Path) -> ModuleType:
    """Return its module of samplers, without the libraries that those of the SDE never call."""
    package = ModuleType("k_diffusion")
    package.__path__ = [str(checkout / "k_diffusion")]
    sys.modules["k_diffusion"] = package
    for name in ("k_diffusion.utils", "torchdiffeq"):
        sys.modules[name] = StandIn(name)
    return importlib.import_module("k_diffusion.sampling")


def network(model: Auralith, request: GenerationRequest) -> Predictor:
    """Return the guided network of a request, as its sampler gets it."""
    found: list[Predictor] = []

    def keep(predict: Predictor) -> Predictor:
        found.append(predict)
        return predict

    next(model.denoising_steps([request], Steering(constrain=keep)))
    return found[0]


def peer_result(peer: ModuleType, model: Auralith, request: GenerationRequest) -> Tensor:
    """Return k-diffusion's result for the same network, starting noise and entropy of the path."""
    sampler = model.sampler(request)
    sigmas = torch.tensor(sampler.levels(model.schedule(request)))
    denoise = variance_exploding_denoiser(network(model, request))
    shape = (1, model.config.audio.latent_channels, model.num_frames(request))
    noise = ReferenceNoise(request.seed or 0, shape)
    start = noise.initial() * sigmas[0]
    entropy = int(torch.randint(0, 2**63 - 1, (), generator=noise.generator))
    path = peer.BrownianTreeNoiseSampler(start, sigmas[-2], sigmas[0], seed=entropy)
    method: Callable[..., Tensor] = getattr(peer, f"sample_{sampler.name.replace('-', '_')}")
    with torch.inference_mode():
        return method(
            lambda x, sigma: denoise(x, float(sigma[0])),
            start,
            sigmas,
            noise_sampler=path,
            disable=True,
        )


def our_result(model: Auralith, request: GenerationRequest) -> Tensor:
    """Return our latents, of as many frames as the peer's: a steered window has no room behind the sound."""
    return model.denoise([request], Steering(constrain=lambda predict: predict))


def main(
    checkout: Annotated[Path | None, typer.Option(help="Checkout of k-diffusion.")] = None,
    noise: Annotated[str, typer.Option(help="reference or item.")] = "reference",
    most: Annotated[int, typer.Option(help="Most steps, from 20 doubled.")] = 640,
    seconds: float = 2.0,
) -> None:
    """Print the distances for the embedded model."""
    model = load(device="cpu", dtype="float32")
    peer = None if checkout is None else k_diffusion(checkout)
    counts = [20 * 2**power for power in range(16) if 20 * 2**power <= most]
    for name in NAMES:
        for prompt, seed in SOUNDS:
            settings: dict[str, Any] = {"seed": seed, "seconds_total": seconds, "noise": noise}
            make = partial(GenerationRequest, prompt, sampler=name, window="fit", **settings)
            requests = [model.resolve(make(steps=count)) for count in counts]
            ours = [our_result(model, request) for request in requests]
            steps = [f"{distance(a, b):.4f}" for a, b in pairwise(ours)]
            print(f"{name} {prompt!r} seed {seed}: {counts} steps", *steps, flush=True)
            if peer is not None:
                far = [
                    distance(peer_result(peer, model, r), x)
                    for r, x in zip(requests, ours, strict=True)
                ]
                print("    from k-diffusion", *(f"{value:.1e}" for value in far), flush=True)


if __name__ == "__main__":
    typer.run(main)
