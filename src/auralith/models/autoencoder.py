"""The autoencoder: waveform ↔ latents. `Autoencoder` is the interface, `Oobleck` the published network.

Oobleck (arXiv 2407.14358, section 3.1) is a convolutional VAE with snake activations. Padding is zeros and every
stride is even, so frames = ⌊samples / stride product⌋ and samples = frames · stride product, exactly. Weight norm of
the published checkpoints is folded at load: these convolutions are plain.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from auralith.config import OobleckConfig

DILATIONS = (1, 3, 9)


@dataclass(frozen=True)
class Posterior:
    """The encoder's diagonal Gaussian over latents."""

    mean: Float[Tensor, "batch channel frame"]
    std: Float[Tensor, "batch channel frame"]

    def sample(
        self, noise: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch channel frame"]:
        """Latents for unit normal noise."""
        return self.mean + self.std * noise


class Autoencoder(nn.Module):
    """Interface of every autoencoder. Halos are the frames of context a tile needs per side; None: don't tile."""

    samples_per_frame: int
    encoder_halo: int | None
    decoder_halo: int | None

    def encode(self, waveform: Float[Tensor, "batch channel sample"]) -> Posterior:
        """Posterior of ⌊samples / samples_per_frame⌋ frames."""
        raise NotImplementedError

    def decode(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        """A waveform of exactly frames · samples_per_frame samples."""
        raise NotImplementedError


class Snake(nn.Module):
    """x + sin²(αx)/β per channel (Ziyin et al. 2020), with α and β stored as logarithms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.zeros(channels))
        self.log_beta = nn.Parameter(torch.zeros(channels))

    def forward(
        self, x: Float[Tensor, "batch channel time"]
    ) -> Float[Tensor, "batch channel time"]:
        # exp in float32: in half precision the reciprocal loses most of its digits
        alpha = self.log_alpha.float().exp().to(x.dtype)[:, None]
        inverse_beta = (1 / (self.log_beta.float().exp() + 1e-9)).to(x.dtype)[:, None]
        if torch.is_grad_enabled():
            return x + torch.sin(x * alpha).square() * inverse_beta
        return (x * alpha).sin_().square_().mul_(inverse_beta).add_(x)


class ResidualUnit(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.snake1 = Snake(channels)
        self.conv1 = nn.Conv1d(channels, channels, 7, dilation=dilation, padding=3 * dilation)
        self.snake2 = Snake(channels)
        self.conv2 = nn.Conv1d(channels, channels, 1)

    def forward(
        self, x: Float[Tensor, "batch channel time"]
    ) -> Float[Tensor, "batch channel time"]:
        return x + self.conv2(self.snake2(self.conv1(self.snake1(x))))


def residual_units(channels: int) -> nn.ModuleList:
    return nn.ModuleList(ResidualUnit(channels, dilation) for dilation in DILATIONS)


class EncoderBlock(nn.Module):
    """Residual units, then a strided convolution."""

    def __init__(self, dim_in: int, dim_out: int, stride: int) -> None:
        super().__init__()
        self.units = residual_units(dim_in)
        self.snake = Snake(dim_in)
        self.conv = nn.Conv1d(dim_in, dim_out, 2 * stride, stride, padding=-(-stride // 2))

    def forward(self, x: Float[Tensor, "batch dim_in time"]) -> Float[Tensor, "batch dim_out out"]:
        for unit in self.units:
            x = unit(x)
        return self.conv(self.snake(x))


class DecoderBlock(nn.Module):
    """A transposed convolution, then residual units."""

    def __init__(self, dim_in: int, dim_out: int, stride: int) -> None:
        super().__init__()
        self.snake = Snake(dim_in)
        self.conv = nn.ConvTranspose1d(dim_in, dim_out, 2 * stride, stride, padding=-(-stride // 2))
        self.units = residual_units(dim_out)

    def forward(self, x: Float[Tensor, "batch dim_in time"]) -> Float[Tensor, "batch dim_out out"]:
        x = self.conv(self.snake(x))
        for unit in self.units:
            x = unit(x)
        return x


class OobleckEncoder(nn.Module):
    def __init__(self, config: OobleckConfig) -> None:
        super().__init__()
        widths = [config.encoder_width * m for m in (1, *config.encoder_multiples)]
        self.conv_in = nn.Conv1d(config.channels, widths[0], 7, padding=3)
        self.blocks = nn.ModuleList(
            EncoderBlock(widths[i], widths[i + 1], stride)
            for i, stride in enumerate(config.strides)
        )
        self.snake = Snake(widths[-1])
        self.conv_out = nn.Conv1d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(
        self, waveform: Float[Tensor, "batch channel sample"]
    ) -> Float[Tensor, "batch twice_latent frame"]:
        x = self.conv_in(waveform)
        for block in self.blocks:
            x = block(x)
        return self.conv_out(self.snake(x))


class OobleckDecoder(nn.Module):
    def __init__(self, config: OobleckConfig) -> None:
        super().__init__()
        widths = [config.decoder_width * m for m in (1, *config.decoder_multiples)][::-1]
        self.conv_in = nn.Conv1d(config.latent_channels, widths[0], 7, padding=3)
        self.blocks = nn.ModuleList(
            DecoderBlock(widths[i], widths[i + 1], stride)
            for i, stride in enumerate(reversed(config.strides))
        )
        self.snake = Snake(widths[-1])
        self.conv_out = nn.Conv1d(widths[-1], config.channels, 7, padding=3, bias=False)
        self.final_tanh = config.final_tanh

    def forward(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        x = self.conv_in(latents)
        for block in self.blocks:
            x = block(x)
        x = self.conv_out(self.snake(x))
        return torch.tanh(x) if self.final_tanh else x


class Oobleck(Autoencoder):
    def __init__(self, config: OobleckConfig) -> None:
        super().__init__()
        self.config = config
        self.samples_per_frame = config.samples_per_frame
        self.encoder = OobleckEncoder(config)
        self.decoder = OobleckDecoder(config)
        self.encoder_halo = encoder_halo(config.strides)
        self.decoder_halo = decoder_halo(config.strides)

    def encode(self, waveform: Float[Tensor, "batch channel sample"]) -> Posterior:
        """std = softplus(scale) + 1e-4, in float32."""
        mean, scale = self.encoder(waveform).chunk(2, dim=1)
        return Posterior(mean, (F.softplus(scale.float()) + 1e-4).to(mean.dtype))

    def decode(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        return self.decoder(latents)


def decoder_halo(strides: tuple[int, ...]) -> int:
    """Latent frames per side that the samples of one frame depend on (10 at the published strides).

    Found by walking from the output to the latents with the interval of positions that each layer reads.
    """
    units = 3 * sum(DILATIONS)
    low, high = 0, torch.Size(strides).numel() - 1
    low, high = low - 3, high + 3
    for stride in strides:
        low, high = low - units, high + units
        padding = -(-stride // 2)
        low = -((-(low + padding - (2 * stride - 1))) // stride)
        high = (high + padding) // stride
    return max(-(low - 3), high + 3)


def encoder_halo(strides: tuple[int, ...]) -> int:
    """Frames of samples per side that one latent frame depends on (8 at the published strides)."""
    units = 3 * sum(DILATIONS)
    low, high = -1, 1
    for stride in reversed(strides):
        padding = -(-stride // 2)
        low, high = low * stride - padding, high * stride - padding + 2 * stride - 1
        low, high = low - units, high + units
    low, high = low - 3, high + 3
    frame = torch.Size(strides).numel()
    return max(-(low // frame), high // frame)
