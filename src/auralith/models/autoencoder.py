"""The autoencoder: waveform ↔ latents. `Autoencoder` is the interface, `Oobleck` the published network.

Oobleck (arXiv 2407.14358, section 3.1) is a convolutional VAE with snake activations. Padding is zeros and every
stride is even, so frames = ⌊samples / stride product⌋ and samples = frames · stride product, exactly. Weight norm of
the published checkpoints is folded at load: these convolutions are plain.

Inside the networks a map is (batch, channel, 1, time), because torch keeps channels-last memory, the fast one on a CPU,
for two-dimensional convolutions only. There the decoder's last blocks also run slice by slice, with the exact context:
maps at the sample rate never exist as a whole.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from auralith.config import OobleckConfig

Draw = Callable[[tuple[int, ...]], Tensor]
"""Unit normal noise of a shape; each call goes on in the stream."""

DILATIONS = (1, 3, 9)
SLICED_BLOCKS = 2
SLICE_SAMPLES = 8_192


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


class Autoencoder(nn.Module, ABC):
    """Interface of every autoencoder.

    Its networks are called `encoder`, which may be without weights until something is encoded (`models.deferred`), and
    `decoder`.
    """

    samples_per_frame: int
    encoder_halo: int
    """Frames per side that a latent frame's value depends on, or more."""
    decoder_halo: int
    """Frames per side that the sound of a frame depends on, or more."""
    is_tileable: bool = True
    """Says whether a part with its halos is encoded and decoded as in the whole."""
    frame_group: int = 1
    """Frames that are computed together: a part must begin at a multiple of so many."""

    @property
    def tail_frames(self) -> int:
        """Frames of silence behind a sound until the latents are those of silence alone."""
        return self.encoder_halo

    @property
    def seam_frames(self) -> int:
        """Frames per side within which a frame is heard."""
        return self.decoder_halo

    @abstractmethod
    def encode(self, waveform: Float[Tensor, "batch channel sample"]) -> Posterior:
        """Posterior of ⌊samples / samples_per_frame⌋ frames."""

    @abstractmethod
    def decode(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        """A waveform of exactly frames · samples_per_frame samples."""

    @abstractmethod
    def decode_circular(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        """Decode latents that are one turn of a circle: the waveform's end runs into its start."""

    def encode_as_reference(
        self, waveform: Float[Tensor, "batch channel sample"], draw: Draw
    ) -> Float[Tensor, "batch latent frame"]:
        """Return latents as the published code makes them, which may differ from the posterior's mean.

        What it draws is drawn in its order.
        """
        return self.encode(waveform).mean

    def decode_as_reference(
        self, latents: Float[Tensor, "batch channel frame"], draw: Draw
    ) -> Float[Tensor, "batch audio_channel sample"]:
        """Return a waveform as the published code makes it, with what it draws."""
        return self.decode(latents)

    def decode_tiles(
        self, latents: Float[Tensor, "batch channel frame"], tile: int
    ) -> Iterator[Float[Tensor, "batch audio_channel sample"]]:
        """Yield what `decode` returns piece by piece, `tile` frames each, computed with exact context.

        An autoencoder that is not tileable gives all in one piece.
        """
        halo, rate = self.decoder_halo, self.samples_per_frame
        if not self.is_tileable or latents.shape[-1] <= tile:
            yield self.decode(latents)
            return
        for start, end, kept_start, kept_end in tile_bounds(
            latents.shape[-1], tile, halo, self.frame_group
        ):
            piece = self.decode(latents[..., start:end])
            yield piece[..., (kept_start - start) * rate : (kept_end - start) * rate]


def wrapped(
    latents: Float[Tensor, "batch channel frame"], reach: int
) -> Float[Tensor, "batch channel wrapped"]:
    """Latents on a circle with `reach` more frames before and behind one turn."""
    num_frames = latents.shape[-1]
    return latents[..., torch.arange(-reach, num_frames + reach) % num_frames]


def is_cpu_inference(x: Tensor) -> bool:
    """Channels-last maps and slices pay on a CPU only, and there not for the backward pass; a graph of any length has none."""
    is_run = not (torch.is_grad_enabled() or torch.compiler.is_exporting())
    return x.device.type == "cpu" and is_run


def to_map(signal: Float[Tensor, "batch channel time"]) -> Float[Tensor, "batch channel 1 time"]:
    layout = torch.channels_last if is_cpu_inference(signal) else torch.contiguous_format
    return signal.unsqueeze(2).contiguous(memory_format=layout)


def convolve(
    conv: nn.Conv1d, x: Float[Tensor, "batch dim_in 1 time"]
) -> Float[Tensor, "batch dim_out 1 out"]:
    padding = (0, int(conv.padding[0]))
    stride, dilation = (1, *conv.stride), (1, *conv.dilation)
    return F.conv2d(x, conv.weight.unsqueeze(2), conv.bias, stride, padding, dilation)


def convolve_transposed(
    conv: nn.ConvTranspose1d, x: Float[Tensor, "batch dim_in 1 time"]
) -> Float[Tensor, "batch dim_out 1 out"]:
    padding = (0, int(conv.padding[0]))
    return F.conv_transpose2d(x, conv.weight.unsqueeze(2), conv.bias, (1, *conv.stride), padding)


class Snake(nn.Module):
    """x + sin²(αx)/β per channel (Ziyin et al. 2020), with α and β stored as logarithms."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.log_alpha = nn.Parameter(torch.zeros(channels))
        self.log_beta = nn.Parameter(torch.zeros(channels))

    def forward(
        self, x: Float[Tensor, "batch channel 1 time"]
    ) -> Float[Tensor, "batch channel 1 time"]:
        # exp in float32: in half precision the reciprocal loses most of its digits
        alpha = self.log_alpha.float().exp().to(x.dtype)[:, None, None]
        inverse_beta = (1 / (self.log_beta.float().exp() + 1e-9)).to(x.dtype)[:, None, None]
        if torch.is_grad_enabled():
            return x + torch.sin(x * alpha).square() * inverse_beta
        wave = (x * alpha).sin_().square_()
        return torch.addcmul(x, wave, inverse_beta, out=wave)


class ResidualUnit(nn.Module):
    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.snake1 = Snake(channels)
        self.conv1 = nn.Conv1d(channels, channels, 7, dilation=dilation, padding=3 * dilation)
        self.snake2 = Snake(channels)
        self.conv2 = nn.Conv1d(channels, channels, 1)

    def forward(
        self, x: Float[Tensor, "batch channel 1 time"]
    ) -> Float[Tensor, "batch channel 1 time"]:
        hidden = convolve(self.conv1, self.snake1(x))
        hidden = self.snake2(hidden)  # lets the map before it go, at the sample rate a large one
        return convolve(self.conv2, hidden).add_(x)


def residual_units(channels: int) -> nn.ModuleList:
    return nn.ModuleList(ResidualUnit(channels, dilation) for dilation in DILATIONS)


class EncoderBlock(nn.Module):
    """Residual units, then a strided convolution."""

    def __init__(self, dim_in: int, dim_out: int, stride: int) -> None:
        super().__init__()
        self.units = residual_units(dim_in)
        self.snake = Snake(dim_in)
        self.conv = nn.Conv1d(dim_in, dim_out, 2 * stride, stride, padding=-(-stride // 2))

    def forward(
        self, x: Float[Tensor, "batch dim_in 1 time"]
    ) -> Float[Tensor, "batch dim_out 1 out"]:
        for unit in self.units:
            x = unit(x)
        return convolve(self.conv, self.snake(x))


class DecoderBlock(nn.Module):
    """A transposed convolution, then residual units."""

    def __init__(self, dim_in: int, dim_out: int, stride: int) -> None:
        super().__init__()
        self.snake = Snake(dim_in)
        self.conv = nn.ConvTranspose1d(dim_in, dim_out, 2 * stride, stride, padding=-(-stride // 2))
        self.units = residual_units(dim_out)

    def forward(
        self, x: Float[Tensor, "batch dim_in 1 time"]
    ) -> Float[Tensor, "batch dim_out 1 out"]:
        x = convolve_transposed(self.conv, self.snake(x))
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
        x = convolve(self.conv_in, to_map(waveform))
        for block in self.blocks:
            x = block(x)
        return convolve(self.conv_out, self.snake(x)).squeeze(2)


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
        self.num_tanhs = config.final_tanh + config.soft_clip
        self.tail_strides = config.strides[:SLICED_BLOCKS]

    def forward(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        x = convolve(self.conv_in, to_map(latents))
        for block in self.blocks[:-SLICED_BLOCKS]:
            x = block(x)
        return torch.cat(tuple(self._tail_slices(x)), dim=-1).squeeze(2)

    def _tail_slices(
        self, x: Float[Tensor, "batch channel 1 time"]
    ) -> Iterator[Float[Tensor, "batch audio_channel 1 sample"]]:
        if not is_cpu_inference(x):
            yield self._tail(x)
            return
        rate, halo = math.prod(self.tail_strides), tail_halo(self.tail_strides)
        length = max(1, SLICE_SAMPLES // rate)
        for start, end, kept_start, kept_end in tile_bounds(x.shape[-1], length, halo):
            samples = self._tail(x[..., start:end])
            yield samples[..., (kept_start - start) * rate : (kept_end - start) * rate]

    def _tail(
        self, x: Float[Tensor, "batch channel 1 time"]
    ) -> Float[Tensor, "batch audio_channel 1 sample"]:
        for block in self.blocks[-SLICED_BLOCKS:]:
            x = block(x)
        x = convolve(self.conv_out, self.snake(x))
        for _ in range(self.num_tanhs):
            x = torch.tanh(x)
        return x


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

    def decode_circular(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        halo = self.decoder_halo
        context = halo * self.samples_per_frame
        return self.decode(wrapped(latents, halo))[..., context:-context]


def weight_normed(network: nn.Module) -> None:
    """Split the weight of every convolution into length and direction, as it is trained (Salimans and Kingma 2016)."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
            weight_norm(module)


def tile_bounds(
    num_frames: int, tile: int, halo: int, group: int = 1
) -> Iterator[tuple[int, int, int, int]]:
    """(start, end) of each tile with its context, then (start, end) of what is kept, all in frames.

    A tile starts and ends at multiples of `group`, but for the end of the whole.
    """
    for kept_start in range(0, num_frames, tile):
        kept_end = min(kept_start + tile, num_frames)
        start = max(0, kept_start - halo) // group * group
        end = min(num_frames, -(-(kept_end + halo) // group) * group)
        yield start, end, kept_start, kept_end


def tail_halo(strides: tuple[int, ...]) -> int:
    """Positions per side, before the decoder's last blocks, that the samples of one position depend on.

    `strides` are those of the blocks, last block first. Found by walking back from the output with the interval of
    positions that each layer reads.
    """
    units = 3 * sum(DILATIONS)
    low, high = -3, math.prod(strides) - 1 + 3
    for stride in strides:
        low, high = low - units, high + units
        padding = -(-stride // 2)
        low = -((-(low + padding - (2 * stride - 1))) // stride)
        high = (high + padding) // stride
    return max(-low, high)


def decoder_halo(strides: tuple[int, ...]) -> int:
    """Latent frames per side that the samples of one frame depend on (10 at the published strides)."""
    return tail_halo(strides) + 3


def encoder_halo(strides: tuple[int, ...]) -> int:
    """Frames of samples per side that one latent frame depends on (8 at the published strides)."""
    units = 3 * sum(DILATIONS)
    low, high = -1, 1
    for stride in reversed(strides):
        padding = -(-stride // 2)
        low, high = low * stride - padding, high * stride - padding + 2 * stride - 1
        low, high = low - units, high + units
    low, high = low - 3, high + 3
    frame = math.prod(strides)
    return max(-(low // frame), high // frame)
