"""Latents computed once: a shard is one safetensors file with the latents of many clips and what each clip is.

Latents are stored in float16, one after another along the frame axis; the prompt of a clip is drawn anew every time it
is used. A shard names the autoencoder that made it and is refused with any other.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from auralith.data.synth import Sound
from auralith.errors import CheckpointError
from auralith.files import whole_file


@dataclass(frozen=True)
class LatentItem:
    """Latents of one clip and what it is."""

    latents: Float[Tensor, "channel frame"]
    sound: Sound


def save_shard(path: Path, items: Sequence[LatentItem], autoencoder_hash: str) -> None:
    """Write a shard, whole or not at all."""
    tensors = {
        "latents": torch.cat([item.latents.half() for item in items], dim=-1),
        "num_frames": torch.tensor([item.latents.shape[-1] for item in items]),
    }
    sounds = json.dumps([asdict(item.sound) for item in items])
    with whole_file(path) as file:
        file.write(save(tensors, {"sounds": sounds, "autoencoder": autoencoder_hash}))


def load_shards(paths: Iterable[Path], autoencoder_hash: str) -> list[LatentItem]:
    """All clips of the shards, in order.

    Raises:
        CheckpointError: a shard is damaged, or was made with another autoencoder.
    """
    items: list[LatentItem] = []
    for path in paths:
        try:
            with safe_open(path, "pt") as shard:
                metadata = shard.metadata() or {}
                latents, lengths = shard.get_tensor("latents"), shard.get_tensor("num_frames")
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is damaged; delete it and encode again") from error
        if metadata.get("autoencoder") != autoencoder_hash:
            raise CheckpointError(
                f"{path} was encoded with another autoencoder; delete it and encode again"
            )
        sounds = [
            Sound(**{**fields, "descriptors": tuple(fields["descriptors"])})
            for fields in json.loads(metadata["sounds"])
        ]
        parts = latents.split(lengths.tolist(), dim=-1)
        items += [LatentItem(part, sound) for part, sound in zip(parts, sounds, strict=True)]
    return items
