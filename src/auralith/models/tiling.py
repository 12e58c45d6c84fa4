"""Encoding and decoding in tiles, equal to doing it whole.

Every tile brings as many frames of real context per side as the network can see, and the context is discarded
afterwards: nothing is cross-faded. The first and last tile end where the signal ends, so that true edges stay edges.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.models.autoencoder import Autoencoder, Posterior, tile_bounds, wrapped


def decode(
    autoencoder: Autoencoder, latents: Float[Tensor, "batch channel frame"], tile: int
) -> Float[Tensor, "batch audio_channel sample"]:
    return torch.cat(tuple(autoencoder.decode_tiles(latents, tile)), dim=-1)


def decode_circular(
    autoencoder: Autoencoder, latents: Float[Tensor, "batch channel frame"], tile: int
) -> Float[Tensor, "batch audio_channel sample"]:
    """A waveform whose end runs into its start: beyond each end of the latents their other end is the context."""
    halo, rate = autoencoder.decoder_halo, autoencoder.samples_per_frame
    if halo is None or latents.shape[-1] <= tile:
        return autoencoder.decode_circular(latents)
    return decode(autoencoder, wrapped(latents, halo), tile)[..., halo * rate : -halo * rate]


def encode(
    autoencoder: Autoencoder, waveform: Float[Tensor, "batch channel sample"], tile: int
) -> Posterior:
    """Posterior of the frames that fit into the waveform, `tile` frames at a time."""
    halo, rate = autoencoder.encoder_halo, autoencoder.samples_per_frame
    num_frames = waveform.shape[-1] // rate
    if halo is None or num_frames <= tile:
        return autoencoder.encode(waveform)
    pieces = []
    for start, end, kept_start, kept_end in tile_bounds(num_frames, tile, halo):
        # the samples after the last whole frame belong to the last tile: its frames can see them
        stop = waveform.shape[-1] if end == num_frames else end * rate
        piece = autoencoder.encode(waveform[..., start * rate : stop])
        kept = slice(kept_start - start, kept_end - start)
        pieces.append((piece.mean[..., kept], piece.std[..., kept]))
    mean, std = (torch.cat(parts, dim=-1) for parts in zip(*pieces, strict=True))
    return Posterior(mean, std)
