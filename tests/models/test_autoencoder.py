"""Oobleck against the reference's numbers; tiles against the whole; the receptive fields against gradients."""

import pytest
import torch
from rounding import DECODED, assert_rounding_only
from torch import Tensor

from auralith.checkpoints import Checkpoint
from auralith.config import OobleckConfig
from auralith.models.autoencoder import Oobleck, decoder_halo, encoder_halo
from auralith.models.latent_codec import LatentCodec
from tests.conftest import open_tiny, relative_error


@pytest.fixture(scope="module")
def oobleck() -> Oobleck:
    autoencoder = open_tiny("sao_tiny").autoencoder
    assert isinstance(autoencoder, Oobleck)
    return autoencoder


@torch.inference_mode()
def test_encoder_equals_the_reference(checkpoint: Checkpoint, golden: dict[str, Tensor]) -> None:
    posterior = checkpoint.autoencoder.encode(golden["vae.waveform"])
    assert relative_error(posterior.mean, golden["vae.mean"]) <= 1e-5
    assert relative_error(posterior.std, golden["vae.std"]) <= 1e-5


@torch.inference_mode()
def test_decoder_equals_the_reference(checkpoint: Checkpoint, golden: dict[str, Tensor]) -> None:
    decoded = checkpoint.autoencoder.decode(golden["vae.latents"])
    assert relative_error(decoded, golden["vae.decoded"]) <= 1e-5


def test_halos_of_the_published_strides() -> None:
    assert decoder_halo(OobleckConfig().strides) == 10
    assert encoder_halo(OobleckConfig().strides) == 8


def test_decoder_halo_is_what_gradients_reach(oobleck: Oobleck) -> None:
    latents = torch.zeros(1, 16, 33, requires_grad=True)
    rate = oobleck.samples_per_frame
    halo = oobleck.decoder_halo
    oobleck.decode(latents)[..., 16 * rate : 17 * rate].square().sum().backward()
    assert latents.grad is not None
    reached = latents.grad.abs().sum((0, 1)).nonzero().flatten()
    first, last = int(reached.min()), int(reached.max())
    assert 16 - halo <= first and last <= 16 + halo
    assert last - first >= 2 * (halo - 1)


@torch.inference_mode()
@pytest.mark.parametrize("num_frames", [1, 11, 24, 37])
def test_tiled_decoding_equals_whole(oobleck: Oobleck, num_frames: int) -> None:
    latents = torch.randn(2, 16, num_frames, generator=torch.Generator().manual_seed(3))
    whole = oobleck.decode(latents)
    assert relative_error(LatentCodec(oobleck, tile_frames=12).decode(latents), whole) <= DECODED


@torch.inference_mode()
@pytest.mark.parametrize("num_samples", [2048, 40_000, 24 * 2048, 37 * 2048 + 555])
def test_tiled_encoding_equals_whole(oobleck: Oobleck, num_samples: int) -> None:
    waveform = torch.randn(1, 2, num_samples, generator=torch.Generator().manual_seed(4))
    whole = oobleck.encode(waveform)
    tiled = LatentCodec(oobleck, tile_frames=12).encode(waveform)
    assert relative_error(tiled.mean, whole.mean) <= DECODED
    assert relative_error(tiled.std, whole.std) <= DECODED


@torch.inference_mode()
def test_a_halo_too_small_is_noticed(oobleck: Oobleck) -> None:
    latents = torch.randn(1, 16, 30, generator=torch.Generator().manual_seed(5))
    whole = oobleck.decode(latents)
    halo = oobleck.decoder_halo
    try:
        oobleck.decoder_halo = 3
        assert relative_error(LatentCodec(oobleck, tile_frames=10).decode(latents), whole) > DECODED
    finally:
        oobleck.decoder_halo = halo


def test_snake_for_training_equals_snake_for_inference(oobleck: Oobleck) -> None:
    snake = oobleck.decoder.snake
    x = torch.randn(1, len(snake.log_alpha), 1, 50, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        inferred = snake(x.clone())
    assert_rounding_only([snake(x), inferred], lambda: [snake(x.double())] * 2)
