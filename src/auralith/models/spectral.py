"""A VAE on log-magnitude spectra: the embedded model's autoencoder, small enough to train on two CPU cores.

The encoder sees the log level per band of a warped frequency axis (linear below ~1.5 kHz, logarithmic above) and per
STFT frame. Patches of 4 bands × 4 frames pass ConvNeXt blocks (Liu et al. 2022) at two resolutions and become 16
positions × 4 channels = 64 latent channels per 2,048 samples. The decoder predicts the levels and the scale of a Laplace
distribution around each: large scale means noise, small means tone. `auralith.models.phase` turns levels and scales back
into a waveform.

Eight more channels are measured, not learned: width (side against mid) and balance (left against right) of four broad
bands, as logarithms of ratios. A network that has to choose drops them, since levels are worth more to every loss.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor, nn

from auralith.config import SpectralConfig
from auralith.models.autoencoder import Autoencoder, Posterior, tile_bounds, wrapped
from auralith.models.phase import Stft, peak_advances, peak_phases, reach, reconstruct

FLOOR = 1e-10  # power of −100 dB re full scale
LEVEL_MEAN, LEVEL_SPAN = -7.0, 2.5  # of natural-log magnitudes, to bring them near unit variance
WIDTH_LIMIT = 4.0  # nepers, 35 dB, between side and mid
BALANCE_LIMIT = 3.0  # nepers, 26 dB, between right and left
NOISE_SEED = 2407
RISE_SAMPLES = 132  # 3 ms
TURN_BINS = 12  # after which the diffuse side signal changes its sign; fewer cost more of it where they meet


@dataclass(frozen=True)
class Spectrum:
    """Natural logarithms of magnitudes per band, and of their ratios in broad bands: all widths, then all balances."""

    level: Float[Tensor, "batch band time"]
    stereo: Float[Tensor, "batch ratio frame_or_hop"]


@dataclass(frozen=True)
class SpectralPrediction:
    """A decoded `Spectrum` with the scale of the Laplace distribution around its level."""

    spectrum: Spectrum
    scale: Float[Tensor, "batch band time"]

    def per_hop(self) -> "SpectralPrediction":
        """Return the same with ratios for every hop, between those of frames: a part of it is as in the whole."""
        stereo = F.interpolate(
            self.spectrum.stereo, size=self.scale.shape[-1], mode="linear", align_corners=False
        )
        return SpectralPrediction(Spectrum(self.spectrum.level, stereo), self.scale)

    def hops(self, first: int, last: int) -> "SpectralPrediction":
        """Return the hops [first, last) of a prediction per hop."""
        level, stereo, scale = (
            values[..., first:last]
            for values in (self.spectrum.level, self.spectrum.stereo, self.scale)
        )
        return SpectralPrediction(Spectrum(level, stereo), scale)


@dataclass(frozen=True)
class Noise:
    """White noise of unit bin power, and per band its median log level and the scatter around it."""

    spectrum: Complex[Tensor, "bin time"]
    level: Float[Tensor, " band"]
    scatter: Float[Tensor, " band"]

    def hops(self, first: int, last: int) -> "Noise":
        """Return the noise of the hops [first, last), with the statistics of the whole."""
        return Noise(self.spectrum[:, first:last], self.level, self.scatter)


@dataclass(frozen=True)
class Bands:
    """The warped frequency axis. `pool` averages bin powers into bands; `spread` interpolates band values to bins."""

    pool: Float[Tensor, "band bin"]
    spread: Float[Tensor, "bin band"]


@lru_cache(maxsize=4)
def warped_bands(num_bins: int, num_bands: int, linear_bins: int, device: torch.device) -> Bands:
    """Bands one bin apart up to `linear_bins`, then geometrically spaced up to the Nyquist frequency."""
    num_log = num_bands - linear_bins
    ratio = (num_bins - 1) / linear_bins
    log_centers = linear_bins * ratio ** (torch.arange(1, num_log + 1) / num_log)
    centers = torch.cat((torch.arange(1, linear_bins + 1), log_centers)).double()
    bins = torch.arange(num_bins).double()
    left = torch.cat((centers[:1] - 1, centers[:-1]))
    right = torch.cat((centers[1:], 2 * centers[-1:] - centers[-2:-1]))
    rising = (bins - left[:, None]) / (centers - left)[:, None]
    falling = (right[:, None] - bins) / (right - centers)[:, None]
    pool = torch.minimum(rising, falling).clamp(min=0)
    upper = torch.searchsorted(centers, bins).clamp(1, num_bands - 1)
    fraction = ((bins - centers[upper - 1]) / (centers[upper] - centers[upper - 1])).clamp(0, 1)
    spread = torch.zeros(num_bins, num_bands, dtype=torch.float64)
    rows = torch.arange(num_bins)
    spread[rows, upper - 1] = 1 - fraction
    spread[rows, upper] += fraction
    pool = pool / pool.sum(dim=1, keepdim=True)
    return Bands(pool.float().to(device), spread.float().to(device))


class ConvNeXtBlock(nn.Module):
    """Depthwise 3×3 convolution, LayerNorm, two pointwise layers; channels last."""

    def __init__(self, width: int, expansion: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expansion * width)
        self.down = nn.Linear(expansion * width, width)

    def forward(
        self, x: Float[Tensor, "batch position frame width"]
    ) -> Float[Tensor, "batch position frame width"]:
        mixed = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.down(F.gelu(self.up(self.norm(mixed)), approximate="tanh"))


class ConvNeXtStage(nn.Module):
    """ConvNeXt blocks after adding a learned embedding of the position along frequency."""

    def __init__(self, positions: int, width: int, num_blocks: int, expansion: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.empty(positions, 1, width).normal_(std=0.02))
        self.blocks = nn.Sequential(*(ConvNeXtBlock(width, expansion) for _ in range(num_blocks)))

    def forward(
        self, x: Float[Tensor, "batch position frame width"]
    ) -> Float[Tensor, "batch position frame width"]:
        return self.blocks(x + self.position)


class SpectralEncoder(nn.Module):
    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        self.config = config
        fine, coarse = fine_positions(config), coarse_positions(config)
        per_position = 2 * config.learned_channels // coarse
        patch = config.band_patch * config.hops_per_frame
        self.patch_in = nn.Linear(patch, config.fine_width)
        self.fine = ConvNeXtStage(fine, config.fine_width, config.fine_blocks, config.expansion)
        self.merge = nn.Linear(config.band_merge * config.fine_width, config.coarse_width)
        self.coarse = ConvNeXtStage(
            coarse, config.coarse_width, config.coarse_blocks, config.expansion
        )
        self.norm = nn.LayerNorm(config.coarse_width)
        self.out = nn.Linear(config.coarse_width, per_position)

    def forward(
        self, level: Float[Tensor, "batch band time"]
    ) -> Float[Tensor, "batch twice_learned frame"]:
        config = self.config
        x = level.unflatten(1, (-1, config.band_patch)).unflatten(3, (-1, config.hops_per_frame))
        x = x.permute(0, 1, 3, 2, 4).flatten(3)  # batch, position, frame, patch
        x = self.fine(self.patch_in(x))
        x = x.unflatten(1, (-1, config.band_merge)).transpose(2, 3).flatten(3)
        x = self.out(self.norm(self.coarse(self.merge(x))))
        mean, log_var = x.chunk(2, dim=-1)  # batch, position, frame, channel
        parts = (part.permute(0, 1, 3, 2).flatten(1, 2) for part in (mean, log_var))
        return torch.cat(tuple(parts), dim=1)


class SpectralDecoder(nn.Module):
    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        self.config = config
        fine, coarse = fine_positions(config), coarse_positions(config)
        per_position = config.learned_channels // coarse
        patch = 2 * config.band_patch * config.hops_per_frame
        self.latent_in = nn.Linear(per_position, config.coarse_width)
        self.coarse = ConvNeXtStage(
            coarse, config.coarse_width, config.coarse_blocks, config.expansion
        )
        self.split = nn.Linear(config.coarse_width, config.band_merge * config.fine_width)
        self.fine = ConvNeXtStage(fine, config.fine_width, config.fine_blocks, config.expansion)
        self.norm = nn.LayerNorm(config.fine_width)
        self.out = nn.Linear(config.fine_width, patch)

    def forward(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch kind band time"]:
        config = self.config
        x = latents.unflatten(1, (coarse_positions(config), -1)).permute(0, 1, 3, 2)
        x = self.split(self.coarse(self.latent_in(x)))
        x = x.unflatten(3, (config.band_merge, -1)).transpose(2, 3).flatten(1, 2)
        x = self.out(self.norm(self.fine(x)))
        x = x.unflatten(3, (2, config.band_patch, config.hops_per_frame))
        return x.permute(0, 3, 1, 4, 2, 5).flatten(4).flatten(2, 3)


class Spectral(Autoencoder):
    """`latent_mean` and `latent_std` are measured after training, so that latents come out with unit variance."""

    encoder_halo = decoder_halo = 12
    is_tileable = False  # noise and phases run on from the first frame

    def __init__(self, config: SpectralConfig) -> None:
        super().__init__()
        self.config = config
        self.samples_per_frame = config.samples_per_frame
        self.stft = Stft(config.window_size, config.hop)
        self.encoder = SpectralEncoder(config)
        self.decoder = SpectralDecoder(config)
        self.register_buffer("latent_mean", torch.zeros(config.latent_channels, 1))
        self.register_buffer("latent_std", torch.ones(config.latent_channels, 1))
        self.latent_mean: Tensor
        self.latent_std: Tensor

    @property
    def tail_frames(self) -> int:
        return 16

    @property
    def seam_frames(self) -> int:
        return 4

    def encode(self, waveform: Float[Tensor, "batch channel sample"]) -> Posterior:
        usable = waveform.shape[-1] // self.samples_per_frame * self.samples_per_frame
        spectrum = self.analyze(waveform[..., :usable].float())
        dtype = self.latent_mean.dtype
        mean, log_var = self.encoder(normalized(spectrum.level).to(dtype)).chunk(2, 1)
        stereo = spectrum.stereo.to(dtype)
        mean = torch.cat((mean, stereo), dim=1)
        std = torch.cat(((0.5 * log_var).exp(), torch.zeros_like(stereo)), dim=1) / self.latent_std
        return Posterior((mean - self.latent_mean) / self.latent_std, std)

    def decode(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        """A waveform; its noise comes from a fixed stream, so equal latents give equal audio."""
        return self._risen(self.synthesize(self.predict(latents)))

    def decode_circular(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        """Decode one turn of a circle: the network sees the other end beyond each end, and so does the transform."""
        context = self._network_reach * self.config.hops_per_frame
        prediction = self.predict(wrapped(latents, self._network_reach)).per_hop()
        turn = prediction.hops(context, prediction.scale.shape[-1] - context)
        stft = Stft(self.config.window_size, self.config.hop, circular=True)
        return self.synthesize(turn, stft)

    def decode_tiles(
        self, latents: Float[Tensor, "batch channel frame"], tile: int
    ) -> Iterator[Float[Tensor, "batch audio_channel sample"]]:
        """Yield what `decode` returns piece by piece, equal up to rounding.

        A tile takes its stretch of the noise of the whole, and its phases go on where those before it have come to.
        """
        num_frames, hops, rate = (
            latents.shape[-1],
            self.config.hops_per_frame,
            self.samples_per_frame,
        )
        if num_frames <= tile:
            yield self.decode(latents)
            return
        noise = self.noise(num_frames * hops, latents.device)
        network = self._network_reach
        context = network + self._synthesis_reach
        before: Tensor | float = 0.0
        for start, end, kept_start, kept_end in tile_bounds(num_frames, tile, context):
            # what lies at the edges of a tile was predicted without its context, but for the true ends
            first = start + network if start else 0
            last = end - network if end < num_frames else end
            predicted = self.predict(latents[..., start:end]).per_hop()
            known = predicted.hops((first - start) * hops, (last - start) * hops)
            waveform, advances = self._synthesize(
                known, noise.hops(first * hops, last * hops), self.stft, before
            )
            kept = waveform[..., (kept_start - first) * rate : (kept_end - first) * rate]
            yield kept if kept_start else self._risen(kept)
            following = kept_end - context + network if kept_end > context else 0
            before = before + advances[..., : (following - first) * hops].sum(-1, keepdim=True)

    def _risen(
        self, waveform: Float[Tensor, "batch channel sample"]
    ) -> Float[Tensor, "batch channel sample"]:
        """Return a sound that rises from silence: its windows are longer than what comes before its first attack."""
        size = min(RISE_SAMPLES, waveform.shape[-1])
        position = torch.arange(size, device=waveform.device) / RISE_SAMPLES
        return torch.cat(
            (waveform[..., :size] * torch.sin(torch.pi / 2 * position) ** 2, waveform[..., size:]),
            dim=-1,
        )

    @property
    def _network_reach(self) -> int:
        """Frames on each side that the decoder network sees."""
        return self.config.coarse_blocks + self.config.fine_blocks

    @property
    def _synthesis_reach(self) -> int:
        """Frames on each side that the synthesis of a frame depends on; the side signal passes one more transform."""
        hops = reach(self.stft, self.config.phase_iterations) + 2 * reach(self.stft, 0)
        return -(-hops // self.config.hops_per_frame)

    def predict(self, latents: Float[Tensor, "batch channel frame"]) -> SpectralPrediction:
        """The network's part of decoding, up to levels and scales per band, in float32."""
        values = latents * self.latent_std + self.latent_mean
        learned, stereo = values.split(
            (self.config.learned_channels, 2 * self.config.stereo_bands), dim=1
        )
        level, scale = self.levels(learned)
        return SpectralPrediction(Spectrum(level, stereo.float()), scale)

    def levels(
        self, learned: Float[Tensor, "batch channel frame"]
    ) -> tuple[Float[Tensor, "batch band time"], Float[Tensor, "batch band time"]]:
        """Return the decoder's levels and scales for the learned channels as the encoder gives them, in float32."""
        level, log_scale = self.decoder(learned).float().unbind(1)
        return level * LEVEL_SPAN + LEVEL_MEAN, log_scale.clamp(-5, 3).exp() * LEVEL_SPAN

    def analyze(self, waveform: Float[Tensor, "batch channel sample"]) -> Spectrum:
        """Levels of a stereo waveform per band and hop; widths and balances per broad band and latent frame."""
        left, right = self.stft.forward_transform(waveform).unbind(1)
        power_left, power_right = power(left), power(right)
        total, difference = (power_left + power_right) / 2, power_left - power_right
        level = 0.5 * (self.bands(waveform.device).pool @ total + FLOOR).log()
        broad = self._broad_bands(waveform.device).T @ torch.stack(
            (total, power((left - right) / 2), difference)
        )
        mean, side, difference = broad.unflatten(-1, (-1, self.config.hops_per_frame)).mean(-1)
        mean = mean + FLOOR
        width = 0.5 * torch.logit(side / mean, eps=1e-6)
        balance = torch.atanh((difference / (2 * mean)).clamp(-1 + 1e-6, 1 - 1e-6))
        stereo = (
            width.clamp(-WIDTH_LIMIT, WIDTH_LIMIT),
            balance.clamp(-BALANCE_LIMIT, BALANCE_LIMIT),
        )
        return Spectrum(level, torch.cat(stereo, dim=1))

    def synthesize(
        self, prediction: SpectralPrediction, stft: Stft | None = None
    ) -> Float[Tensor, "batch channel sample"]:
        """Waveform from levels: the mid signal by phase reconstruction, the side signal as a filtered copy of it."""
        stft, level = stft or self.stft, prediction.spectrum.level
        noise = self.noise(level.shape[-1], level.device, stft.circular)
        return self._synthesize(prediction.per_hop(), noise, stft, 0.0)[0]

    def _synthesize(
        self,
        prediction: SpectralPrediction,
        noise: Noise,
        stft: Stft,
        before: Float[Tensor, "batch bin 1"] | float,
    ) -> tuple[Float[Tensor, "batch channel sample"], Float[Tensor, "batch bin time"]]:
        """Return the waveform of a prediction per hop, and the phase advances in it; `before` is the sum of those before them."""
        spectrum = prediction.spectrum
        spread = self.bands(spectrum.level.device).spread
        width, balance = self._per_bin(spectrum)
        # 0 where the level is certain (a tone), 1 where it scatters as white noise does
        noisiness = ((prediction.scale / noise.scatter[:, None] - 0.3) / 0.5).clamp(0, 1)
        silent = (spectrum.level < 0.5 * torch.tensor(FLOOR).log() + 0.5).float()
        level = spread @ (spectrum.level - 20.0 * silent)
        level = level + 0.5 * torch.log1p(-torch.sigmoid(2 * width))  # of the mid signal
        texture = 0.5 * (power(noise.spectrum) + FLOOR).log() - spread @ noise.level[:, None]
        magnitude = (level + (spread @ noisiness) * texture).exp()
        advances = peak_advances(magnitude, stft)
        phases = torch.where(
            spread @ noisiness > 0.5, noise.spectrum.angle()[None], peak_phases(advances, before)
        )
        mid = reconstruct(magnitude, phases, stft, self.config.phase_iterations)
        side = self._side(mid, width, balance, stft)
        return torch.stack((mid + side, mid - side), dim=1), advances

    def _side(
        self,
        waveform: Float[Tensor, "batch sample"],
        width: Float[Tensor, "batch bin time"],
        balance: Float[Tensor, "batch bin time"],
        stft: Stft,
    ) -> Float[Tensor, "batch sample"]:
        """A part in phase with the mid signal (balance), and one a quarter of a turn before or behind it (width).

        In quadrature it makes both channels equally loud at every frequency; its turns change so often that neither
        leads.
        """
        mid = stft.forward_transform(waveform)
        ratio = (2 * width).exp()  # of the powers of side and mid
        coherent = 0.5 * torch.tanh(balance) * (1 + ratio)
        diffuse = (ratio - coherent.square()).clamp(min=0).sqrt()
        turn = 1 - 2 * (torch.arange(mid.shape[1], device=mid.device) // TURN_BINS % 2)
        return stft.inverse_transform(torch.complex(coherent, diffuse * turn[:, None]) * mid)

    def _per_bin(
        self, spectrum: Spectrum
    ) -> tuple[Float[Tensor, "batch bin time"], Float[Tensor, "batch bin time"]]:
        """Return widths and balances between those of broad bands."""
        spread = self._broad_bands(spectrum.stereo.device)
        width, balance = (spread @ part for part in spectrum.stereo.chunk(2, dim=1))
        return width.clamp(-WIDTH_LIMIT, WIDTH_LIMIT), balance.clamp(-BALANCE_LIMIT, BALANCE_LIMIT)

    def _broad_bands(self, device: torch.device) -> Float[Tensor, "bin broad"]:
        """Return the weights of broad bands at every bin, which sum to 1: hats over equal parts of the warped axis."""
        count = self.config.stereo_bands
        positions = torch.arange(self.config.bands, device=device) / self.config.bands * count - 0.5
        centers = torch.arange(count, device=device)
        hats = (1 - (positions.clamp(0, count - 1)[:, None] - centers).abs()).clamp(min=0)
        return self.bands(device).spread @ hats

    def noise(self, num_hops: int, device: torch.device, circular: bool = False) -> Noise:
        """Return the noise of so many hops, from a fixed stream; `circular`: as one turn of a circle."""
        generator = torch.Generator().manual_seed(NOISE_SEED)
        samples = torch.randn(1, max(num_hops, 128) * self.config.hop, generator=generator)
        samples = samples.to(device)
        spectrum = self.stft.forward_transform(samples)[0]
        scale = power(spectrum)[1:-1].mean().sqrt()
        spectrum = spectrum / scale
        level = 0.5 * (self.bands(device).pool @ power(spectrum) + FLOOR).log()
        median = level.median(dim=1).values
        scatter = (level - median[:, None]).abs().mean(dim=1)
        if circular:
            stft = Stft(self.config.window_size, self.config.hop, circular=True)
            turn = samples[:, : num_hops * self.config.hop]
            return Noise(stft.forward_transform(turn)[0] / scale, median, scatter)
        return Noise(spectrum[:, :num_hops], median, scatter)

    def bands(self, device: torch.device) -> Bands:
        num_bins = self.config.window_size // 2 + 1
        return warped_bands(num_bins, self.config.bands, self.config.linear_bins, device)


def normalized(level: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Return log levels near unit variance."""
    return (level - LEVEL_MEAN) / LEVEL_SPAN


def power(spectrum: Complex[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    return spectrum.real.square() + spectrum.imag.square()


def fine_positions(config: SpectralConfig) -> int:
    return config.bands // config.band_patch


def coarse_positions(config: SpectralConfig) -> int:
    return fine_positions(config) // config.band_merge
