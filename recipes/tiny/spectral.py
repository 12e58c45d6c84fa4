"""Training the spectral autoencoder on a corpus: random crops of freshly rendered clips.

The level's error is measured by the likelihood of a Laplace distribution whose scale the decoder predicts, weighted
by loudness, so that what can't be heard costs little and what is noise by nature costs no more than it must. The mean
absolute error beside it keeps the level exact where the scale has already explained the error, and the error of the
slope around peaks keeps partials in tune.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from auralith.errors import InvalidRequest
from auralith.models.spectral import Spectral, normalized
from auralith.training.optimizers import OptimizerSettings
from auralith.training.task import Batch, Share, item_rng
from recipes.tiny.corpus import Corpus
from recipes.tiny.synth import SAMPLE_RATE

VALIDATION_STREAM = 2**40


@dataclass(frozen=True)
class SpectralSettings:
    batch_size: int = 8
    """Crops of a step, over all processes and parts."""
    crop_frames: int = 28
    kl_weight: float = 1e-3
    error_weight: float = 1.0
    tilt_weight: float = 0.5
    """Of the slope around spectral peaks, from which the synthesis reads the frequency of a partial."""
    calibration_clips: int = 300
    """Clips over which mean and spread of the finished latents are measured."""

    def __post_init__(self) -> None:
        if min(self.batch_size, self.crop_frames) < 1:
            raise InvalidRequest("batch_size and crop_frames must be at least 1")


class Reconstruction(NamedTuple):
    """Decoded levels and scales as (batch, band, time) and what its latents were drawn from, as (batch, channel, frame)."""

    level: Tensor
    scale: Tensor
    mean: Tensor
    log_var: Tensor


class SpectralNetwork(nn.Module):
    """A Spectral as it is trained: in one call from levels to decoded ones."""

    def __init__(self, autoencoder: Spectral) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(
        self,
        level: Float[Tensor, "batch band time"],
        noise: Float[Tensor, "batch channel frame"],
    ) -> Reconstruction:
        network = self.autoencoder
        mean, log_var = network.encoder(normalized(level)).float().chunk(2, dim=1)
        latents = mean + (0.5 * log_var).exp() * noise
        decoded, scale = network.levels(latents)
        return Reconstruction(decoded, scale, mean, log_var)


class SpectralTask:
    name = "autoencoder"

    def __init__(
        self,
        network: Spectral,
        corpus: Corpus[Any],
        settings: SpectralSettings,
        optimization: OptimizerSettings,
        seed: int,
    ) -> None:
        self.networks: dict[str, nn.Module] = {"autoencoder": SpectralNetwork(network)}
        self.optimization = {"autoencoder": optimization}
        # its analysis has no weights, so that it is called where the losses need a target
        self.network, self.corpus = network, corpus
        self.settings, self.seed = settings, seed

    def turn(self, step: int) -> str:
        return "autoencoder"

    def batch(self, step: int, share: Share) -> Batch:
        rngs = [item_rng(self.seed, step, p) for p in share.positions(self.settings.batch_size)]
        waveform = torch.stack([self._crop(rng) for rng in rngs])
        shape = self.network.config.learned_channels, self.settings.crop_frames
        noise = np.stack([rng.standard_normal(shape, dtype=np.float32) for rng in rngs])
        return {
            "waveform": waveform,
            "noise": torch.from_numpy(noise),
            "audio_seconds": torch.tensor(waveform.shape[0] * waveform.shape[2] / SAMPLE_RATE),
        }

    def losses(
        self, batch: Batch, step: int, networks: Mapping[str, nn.Module]
    ) -> dict[str, Tensor]:
        target = self.network.analyze(batch["waveform"]).level
        made = networks["autoencoder"](target, batch["noise"])
        kl = 0.5 * (made.mean.square() + made.log_var.exp() - made.log_var - 1).mean()
        losses = reconstruction_losses(made.level, made.scale, target, self.settings)
        return losses | {"kl": self.settings.kl_weight * kl}

    def validate(self, networks: Mapping[str, nn.Module]) -> dict[str, float]:
        """The losses of a batch that is not trained on, the level's error first."""
        device = next(networks["autoencoder"].parameters()).device
        batch = self.batch(VALIDATION_STREAM, Share(0, 1))
        batch = {name: value.to(device) for name, value in batch.items()}
        losses = self.losses(batch, 0, networks)
        return {name: float(losses[name]) for name in ("level", "likelihood", "tilt", "kl")}

    def _crop(self, rng: np.random.Generator) -> Float[Tensor, "channel sample"]:
        waveform = torch.from_numpy(self.corpus.render(self.corpus.draw(rng), rng)).float()
        length = self.settings.crop_frames * self.network.samples_per_frame
        missing = length - waveform.shape[-1]
        if missing >= 0:
            return torch.nn.functional.pad(waveform, (0, missing))
        # a quarter of the crops starts at the very beginning, where attacks are
        start = max(0, int(rng.integers(-waveform.shape[-1] // 4, -missing + 1)))
        return waveform[:, start : start + length]


def reconstruction_losses(
    level: Float[Tensor, "batch band time"],
    scale: Float[Tensor, "batch band time"],
    target: Float[Tensor, "batch band time"],
    settings: SpectralSettings,
) -> dict[str, Tensor]:
    error = (level - target).abs()
    loudness = ((target + 8.0) / 6.0).clamp(0.03, 1.0)
    # bands well below the loudest of their frame are masked by it
    masked = target.amax(dim=1, keepdim=True) - target
    loudness = loudness * (1 - masked / 8.0).clamp(0.1, 1.0)
    loudness = loudness / loudness.mean()
    return {
        "likelihood": (loudness * (error / scale + scale.log())).mean(),
        "level": settings.error_weight * (loudness * error).mean(),
        "tilt": settings.tilt_weight * _tilt_error(level, target, loudness),
    }


def _tilt_error(
    level: Float[Tensor, "batch band time"],
    target: Float[Tensor, "batch band time"],
    loudness: Float[Tensor, "batch band time"],
) -> Float[Tensor, ""]:
    """Return the mean error of the difference between a peak's two neighbours, over the peaks of the target."""
    inner = target[:, 1:-1]
    is_peak = (inner > target[:, :-2]) & (inner >= target[:, 2:])
    weight = loudness[:, 1:-1] * is_peak
    error = (level[:, 2:] - level[:, :-2]) - (target[:, 2:] - target[:, :-2])
    return (weight * error.abs()).sum() / weight.sum().clamp(min=1e-6)
