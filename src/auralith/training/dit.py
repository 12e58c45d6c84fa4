"""Training the diffusion transformer on cached latents.

A batch holds clips of similar length, padded with latents of silence to the longest: the padding counts, so that the
model learns where a sound ends. Timesteps are logit-normal (Esser et al. 2024); a tenth of the items gets the null
condition, which guidance needs. Prompts are drawn anew each time a clip is seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from auralith.conditioning import Conditioner
from auralith.data.latents import LatentItem
from auralith.data.synth import caption
from auralith.diffusion import Objective
from auralith.errors import InvalidRequest
from auralith.models.dit import DiT


@dataclass(frozen=True)
class DiTSettings:
    batch_frames: int = 2_048
    """Latent frames of a batch, padding included; its size follows from the length of its clips."""
    bucket_frames: int = 12
    condition_dropout: float = 0.1
    timestep_mean: float = 0.0
    timestep_std: float = 1.0


class DiTNetwork(nn.Module):
    """What is trained: the transformer and the embedders of numbers. The text encoder is frozen and outside."""

    def __init__(self, dit: DiT, numbers: nn.ModuleDict) -> None:
        super().__init__()
        self.dit, self.numbers = dit, numbers


class DiTTask:
    name = "dit"

    def __init__(
        self,
        network: DiTNetwork,
        conditioner: Conditioner,
        objective: Objective,
        items: Sequence[LatentItem],
        silence: Float[Tensor, " channel"],
        settings: DiTSettings,
    ) -> None:
        if not items:
            raise InvalidRequest("there are no latents to train on; encode a corpus first")
        self.network, self.conditioner, self.objective = network, conditioner, objective
        self.settings, self.silence = settings, silence
        self.items = sorted(items, key=lambda item: item.latents.shape[-1])
        self.buckets = _buckets(self.items, settings.bucket_frames)

    def losses(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        latents, prompts, seconds = self._batch(rng)
        batch = latents.shape[0]
        settings = self.settings
        normal = torch.randn(batch, generator=generator)
        t = torch.sigmoid(settings.timestep_mean + settings.timestep_std * normal)
        noise = torch.randn(latents.shape, generator=generator)
        keep = torch.rand(batch, generator=generator) >= settings.condition_dropout
        with torch.no_grad():
            text = self.conditioner.encode_text(prompts)
        numbers = dict.fromkeys(self.conditioner.number_ids, seconds)
        conditioning = self.conditioner.assemble(text, numbers, keep)
        noisy = self.objective.add_noise(latents, noise, t)
        out = self.network.dit(noisy, t, conditioning.context, conditioning.global_embed)
        target = self.objective.target(latents, noise, t)
        return {"v": (out.float() - target).square().mean()}

    def _batch(
        self, rng: np.random.Generator
    ) -> tuple[Float[Tensor, "batch channel frame"], list[str], list[float]]:
        start, end = self.buckets[int(rng.integers(len(self.buckets)))]
        longest = self.items[end - 1].latents.shape[-1]
        size = max(1, self.settings.batch_frames // longest)
        chosen = [self.items[int(i)] for i in rng.integers(start, end, size)]
        frames = max(item.latents.shape[-1] for item in chosen)
        latents = torch.stack([_padded(item.latents, frames, self.silence) for item in chosen])
        prompts = [caption(item.sound, rng) for item in chosen]
        return latents, prompts, [item.sound.seconds for item in chosen]


def _buckets(items: Sequence[LatentItem], bucket_frames: int) -> list[tuple[int, int]]:
    """Ranges of items of similar length, each listed as often as its share of all frames asks for."""
    ranges: dict[int, list[int]] = {}
    for index, item in enumerate(items):
        ranges.setdefault(item.latents.shape[-1] // bucket_frames, []).append(index)
    total = sum(item.latents.shape[-1] for item in items)
    buckets = []
    for indices in ranges.values():
        frames = sum(items[i].latents.shape[-1] for i in indices)
        buckets += [(indices[0], indices[-1] + 1)] * max(1, round(1_000 * frames / total))
    return buckets


def _padded(
    latents: Float[Tensor, "channel frame"], frames: int, silence: Float[Tensor, " channel"]
) -> Float[Tensor, "channel padded"]:
    missing = frames - latents.shape[-1]
    padding = silence[:, None].expand(-1, missing)
    return torch.cat((latents.float(), padding), dim=-1)
