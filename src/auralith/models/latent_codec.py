"""Waveforms ↔ the latents that a diffusion model sees: an autoencoder, in tiles, and the model's latent scale.

Every tile brings as many frames of real context per side as the network can see, and the context is discarded
afterwards: nothing is cross-faded, and tiles equal the whole. The first and last tile end where the signal ends, so that
true edges stay edges.
"""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.models.autoencoder import Autoencoder, Draw, Posterior, tile_bounds, wrapped

TILE_FRAMES = 256


class LatentCodec:
    """An autoencoder whose latents are divided by `latent_scale`; inputs may be on any device and in any float format."""

    def __init__(
        self, autoencoder: Autoencoder, latent_scale: float = 1.0, tile_frames: int = TILE_FRAMES
    ) -> None:
        self.autoencoder, self.latent_scale = autoencoder, latent_scale
        self.tile_frames = tile_frames

    def encode(self, waveform: Float[Tensor, "batch channel sample"]) -> Posterior:
        """Return the posterior of the whole frames in a waveform at the autoencoder's rate, in float32."""
        posterior = self._posterior(self._fitting(waveform))
        mean, std = (part.float() / self.latent_scale for part in (posterior.mean, posterior.std))
        return Posterior(mean, std)

    def decode(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        """Return the waveform of latents, in the autoencoder's number format."""
        return torch.cat(tuple(self.pieces(latents, self.tile_frames)), dim=-1)

    def encode_as_reference(
        self, waveform: Float[Tensor, "batch channel sample"], draw: Draw
    ) -> Float[Tensor, "batch latent frame"]:
        """Return the latents that the published code makes of a waveform, in float32, with what it draws."""
        found = self.autoencoder.encode_as_reference(self._fitting(waveform), draw)
        return found.float() / self.latent_scale

    def decode_as_reference(
        self, latents: Float[Tensor, "batch channel frame"], draw: Draw
    ) -> Float[Tensor, "batch audio_channel sample"]:
        """Return the waveform that the published code makes of latents, with what it draws."""
        return self.autoencoder.decode_as_reference(self._scaled(latents), draw)

    def pieces(
        self, latents: Float[Tensor, "batch channel frame"], frames: int
    ) -> Iterator[Float[Tensor, "batch audio_channel sample"]]:
        """Yield what `decode` returns, `frames` latent frames at a time."""
        return self.autoencoder.decode_tiles(self._scaled(latents), frames)

    def decode_circular(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        """Return a waveform whose end runs into its start: beyond each end of the latents lies their other end."""
        halo, rate = self.autoencoder.decoder_halo, self.autoencoder.samples_per_frame
        if not self.autoencoder.is_tileable or latents.shape[-1] <= self.tile_frames:
            return self.autoencoder.decode_circular(self._scaled(latents))
        return self.decode(wrapped(latents, halo))[..., halo * rate : -halo * rate]

    def frames_needed(self, wanted: int, available: int) -> int:
        """Return how many of the first `available` frames the sound of the first `wanted` ones depends on."""
        if not self.autoencoder.is_tileable:
            return available
        group = self.autoencoder.frame_group
        needed = wanted + self.autoencoder.decoder_halo
        return min(available, -(-needed // group) * group)

    def _posterior(self, waveform: Float[Tensor, "batch channel sample"]) -> Posterior:
        autoencoder, tile = self.autoencoder, self.tile_frames
        rate = autoencoder.samples_per_frame
        num_frames = waveform.shape[-1] // rate
        if not autoencoder.is_tileable or num_frames <= tile:
            return autoencoder.encode(waveform)
        pieces = []
        for start, end, kept_start, kept_end in tile_bounds(
            num_frames, tile, autoencoder.encoder_halo, autoencoder.frame_group
        ):
            # the samples after the last whole frame belong to the last tile: its frames can see them
            stop = waveform.shape[-1] if end == num_frames else end * rate
            piece = autoencoder.encode(waveform[..., start * rate : stop])
            kept = slice(kept_start - start, kept_end - start)
            pieces.append((piece.mean[..., kept], piece.std[..., kept]))
        mean, std = (torch.cat(parts, dim=-1) for parts in zip(*pieces, strict=True))
        return Posterior(mean, std)

    def _scaled(
        self, latents: Float[Tensor, "batch channel frame"]
    ) -> Float[Tensor, "batch channel frame"]:
        return self._fitting(latents * self.latent_scale)

    def _fitting(self, values: Tensor) -> Tensor:
        # an encoder may have no weights yet, and the decoder of an export has none
        weight = next(one for one in self.autoencoder.parameters() if not one.is_meta)
        return values.to(weight.device, weight.dtype)
