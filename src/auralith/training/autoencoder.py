"""Training the spectral autoencoder on the procedural corpus.

The level's error is measured by the likelihood of a Laplace distribution whose scale the decoder predicts, weighted
by loudness, so that what can't be heard costs little and what is noise by nature costs no more than it must. The mean
absolute error beside it keeps the level exact where the scale has already explained the error.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.data.synth import draw_sound, render
from auralith.models.spectral import Spectral, Spectrum


@dataclass(frozen=True)
class AutoencoderSettings:
    batch_size: int = 8
    crop_frames: int = 28
    kl_weight: float = 1e-3
    stereo_weight: float = 0.5
    error_weight: float = 1.0
    calibration_clips: int = 300
    """Clips over which mean and spread of the finished latents are measured."""


class AutoencoderTask:
    """Random crops of freshly rendered clips; nothing is read from disk."""

    name = "autoencoder"

    def __init__(self, network: Spectral, settings: AutoencoderSettings) -> None:
        self.network, self.settings = network, settings

    def losses(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        spectrum = self.network.analyze(self.batch(generator))
        out = self.network.encoder(self.network.features(spectrum))
        mean, log_var = out.float().chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=generator)
        latents = mean + (0.5 * log_var).exp() * noise
        kl = 0.5 * (mean.square() + log_var.exp() - log_var - 1).mean()
        losses = reconstruction_losses(self.network, latents, spectrum, self.settings)
        return losses | {"kl": self.settings.kl_weight * kl}

    def batch(self, generator: torch.Generator) -> Float[Tensor, "batch channel sample"]:
        return torch.stack([self._crop(generator) for _ in range(self.settings.batch_size)])

    def _crop(self, generator: torch.Generator) -> Float[Tensor, "channel sample"]:
        rng = np.random.default_rng(int(torch.randint(2**62, (), generator=generator)))
        waveform = torch.from_numpy(render(draw_sound(rng), rng)).float()
        length = self.settings.crop_frames * self.network.samples_per_frame
        missing = length - waveform.shape[-1]
        if missing >= 0:
            return torch.nn.functional.pad(waveform, (0, missing))
        # a quarter of the crops starts at the very beginning, where attacks are
        start = max(0, int(rng.integers(-waveform.shape[-1] // 4, -missing + 1)))
        return waveform[:, start : start + length]


def reconstruction_losses(
    network: Spectral,
    latents: Float[Tensor, "batch channel frame"],
    target: Spectrum,
    settings: AutoencoderSettings,
) -> dict[str, Tensor]:
    prediction = network.predict((latents - network.latent_mean) / network.latent_std)
    error = (prediction.spectrum.level - target.level).abs()
    loudness = ((target.level + 8.0) / 6.0).clamp(0.03, 1.0)
    # bands well below the loudest of their frame are masked by it
    masked = target.level.amax(dim=1, keepdim=True) - target.level
    loudness = loudness * (1 - masked / 8.0).clamp(0.1, 1.0)
    loudness = loudness / loudness.mean()
    likelihood = (loudness * (error / prediction.scale + prediction.scale.log())).mean()
    stereo = (prediction.spectrum.width - target.width).abs()
    stereo = stereo + (prediction.spectrum.balance - target.balance).abs()
    return {
        "likelihood": likelihood,
        "level": settings.error_weight * (loudness * error).mean(),
        "stereo": settings.stereo_weight * (loudness * stereo).mean(),
    }
