"""Codec metrics of an autoencoder: each recording encoded and decoded, and compared with itself (section 4.3)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.checkpoints import AutoencoderCheckpoint
from auralith.data.crops import AudioOptions, prepare
from auralith.errors import AudioError, InvalidRequest
from auralith.evaluation.sounds import Sounds
from auralith.metrics.codec import CodecSummary, codec_summary
from auralith.models.latent_codec import LatentCodec
from auralith.sound.reading import read

Pair = tuple[Float[Tensor, "channel sample"], Float[Tensor, "channel sample"]]


def measure_codec(
    checkpoint: AutoencoderCheckpoint,
    sounds: Sounds,
    on_file: Callable[[int], None],
) -> tuple[CodecSummary, dict[str, str]]:
    """Return the figures over all files, and why some could not be read; each file is resampled to the model's rate.

    Raises:
        InvalidRequest: no file could be measured.
    """
    failed: dict[str, str] = {}

    def pairs() -> Iterator[tuple[str, Float[Tensor, "..."], Float[Tensor, "..."]]]:
        for done, (id, path) in enumerate(sounds.paths.items(), 1):
            try:
                decoded, original = reconstruct(checkpoint, path)
            except (AudioError, InvalidRequest) as error:
                failed[id] = str(error)
            else:
                yield id, decoded, original
            on_file(done)

    return codec_summary(pairs(), checkpoint.audio.sample_rate), failed


@torch.inference_mode()
def reconstruct(checkpoint: AutoencoderCheckpoint, path: Path) -> Pair:
    """Return a file encoded to the mean of its posterior and decoded, and the file itself, at the model's rate.

    Raises:
        AudioError: the file can't be read.
        InvalidRequest: it can't be brought to the model's channels.
    """
    audio = checkpoint.audio
    options = AudioOptions(audio.sample_rate, audio.channels, resample=True)
    original = prepare(*read(path), options, str(path))
    codec = LatentCodec(checkpoint.autoencoder)
    missing = -original.shape[-1] % audio.samples_per_frame
    padded = torch.nn.functional.pad(original, (0, missing))
    decoded = codec.decode(codec.encode(padded[None]).mean)[0].float().cpu()
    return decoded[:, : original.shape[-1]], original
