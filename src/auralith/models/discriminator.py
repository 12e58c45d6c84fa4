"""The discriminator that the autoencoder trains against: five networks on complex spectrograms of five resolutions.

The architecture is EnCodec's multi-scale STFT discriminator (Défossez et al. 2022, section 3.4) with the sizes of
Stable Audio's autoencoder: 64 filters, no stride, real and imaginary parts of all channels as input maps. Scores and
hidden maps are (batch, filter, time, bin); hidden maps are what feature matching compares. The spectrograms are computed
in float32 whatever the precision of the rest, and no window is a buffer: there is nothing here but parameters.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

TIME_DILATIONS = (1, 2, 4)
SLOPE = 0.2


@dataclass(frozen=True)
class DiscriminatorConfig:
    """FFT sizes in samples; the hop is a quarter of each."""

    channels: int = 2
    filters: int = 64
    fft_sizes: tuple[int, ...] = (2_048, 1_024, 512, 256, 128)


class Judgment(NamedTuple):
    """Judgment of one scale on waveforms. High scores say real, low ones fake."""

    score: Float[Tensor, "batch 1 time bin"]
    features: tuple[Float[Tensor, "batch filter time bin"], ...]


class StftDiscriminator(nn.Module):
    """One scale."""

    def __init__(self, config: DiscriminatorConfig, fft_size: int) -> None:
        super().__init__()
        self.fft_size = fft_size
        filters = config.filters
        self.convs = nn.ModuleList(
            (
                normed_conv(2 * config.channels, filters, (3, 9)),
                *(normed_conv(filters, filters, (3, 9), dilation) for dilation in TIME_DILATIONS),
                normed_conv(filters, filters, (3, 3)),
            )
        )
        self.conv_out = normed_conv(filters, 1, (3, 3))

    def forward(self, waveform: Float[Tensor, "batch channel sample"]) -> Judgment:
        x = spectrogram(waveform, self.fft_size)
        features = []
        for conv in self.convs:
            x = F.leaky_relu_(conv(x), SLOPE)
            features.append(x)
        return Judgment(self.conv_out(x), tuple(features))


class Discriminator(nn.Module):
    """All scales; waveforms need at least as many samples as the largest FFT."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        self.scales = nn.ModuleList(StftDiscriminator(config, size) for size in config.fft_sizes)

    def forward(self, waveform: Float[Tensor, "batch channel sample"]) -> tuple[Judgment, ...]:
        return tuple(scale(waveform) for scale in self.scales)


def normed_conv(
    dim_in: int, dim_out: int, kernel: tuple[int, int], time_dilation: int = 1
) -> nn.Module:
    """A weight-normed convolution that keeps the size of its map."""
    padding = (time_dilation * (kernel[0] // 2), kernel[1] // 2)
    conv = nn.Conv2d(dim_in, dim_out, kernel, padding=padding, dilation=(time_dilation, 1))
    return weight_norm(conv)


def spectrogram(
    waveform: Float[Tensor, "batch channel sample"], fft_size: int
) -> Float[Tensor, "batch part time bin"]:
    """Real parts of all channels, then imaginary parts: a Hann window of unit energy, not centered."""
    with torch.autocast(waveform.device.type, enabled=False):
        window = torch.hann_window(fft_size, device=waveform.device)
        spectrum = torch.stft(
            waveform.float().flatten(0, 1),
            fft_size,
            fft_size // 4,
            window=window / window.square().sum().sqrt(),
            center=False,
            return_complex=True,
        ).unflatten(0, waveform.shape[:2])
        return torch.cat((spectrum.real, spectrum.imag), dim=1).transpose(2, 3)
