"""The embedded model's autoencoder: its front end and phase reconstruction, without any trained weight."""

import math

import pytest
import torch
from torch import Tensor

from auralith.config import SpectralConfig
from auralith.models.phase import Stft, peak_of_bin
from auralith.models.spectral import Spectral, SpectralPrediction, warped_bands

RATE = 44_100


@pytest.fixture(scope="module")
def spectral() -> Spectral:
    return Spectral(SpectralConfig())


def resynthesize(spectral: Spectral, waveform: Tensor, relative_scale: float) -> Tensor:
    """Analysis and synthesis, with certain levels (0) or with levels that scatter as noise does (1)."""
    spectrum = spectral.analyze(waveform)
    noise_scale = spectral.noise(spectrum.level.shape[-1], waveform.device).scatter
    scale = torch.ones_like(spectrum.level) * noise_scale[:, None] * max(relative_scale, 1e-3)
    return spectral.synthesize(SpectralPrediction(spectrum, scale))


def tone(hz: float, seconds: float, gains: tuple[float, float] = (0.5, 0.5)) -> Tensor:
    time = torch.arange(int(seconds * RATE) // 2048 * 2048) / RATE
    wave = torch.sin(2 * math.pi * hz * time)
    return torch.stack([gain * wave for gain in gains])[None]


def peak_hz(wave: Tensor) -> float:
    spectrum = torch.fft.rfft(wave * torch.hann_window(len(wave)), n=8 * len(wave)).abs()
    return float(spectrum.argmax()) * RATE / (8 * len(wave))


def test_stft_is_inverted_exactly() -> None:
    stft = Stft(3072, 512)
    waveform = torch.randn(2, 64 * 512, generator=torch.Generator().manual_seed(1))
    restored = stft.inverse_transform(stft.forward_transform(waveform))
    assert (restored - waveform).abs().max() < 1e-4
    assert stft.forward_transform(waveform).shape[-1] == 64


def test_a_full_scale_sine_has_level_zero() -> None:
    stft = Stft(3072, 512)
    spectrum = stft.forward_transform(2 * tone(RATE * 40 / 3072, 0.5)[0, 0])
    assert abs(float(spectrum.abs()[:, 20].max()) - 1) < 0.01


@torch.inference_mode()
@pytest.mark.parametrize("hz", [82.4, 220.0, 987.8, 3520.0])
def test_pitch_survives_resynthesis(spectral: Spectral, hz: float) -> None:
    restored = resynthesize(spectral, tone(hz, 2.0), 0.0)
    cents = 1200 * math.log2(peak_hz(restored[0, 0, 8192:73_728]) / hz)
    assert abs(cents) < 15


@torch.inference_mode()
def test_level_and_balance_survive_resynthesis(spectral: Spectral) -> None:
    restored = resynthesize(spectral, tone(440, 1.5, (0.6, 0.2)), 0.0)[0, :, 16_384:49_152]
    left, right = restored.square().mean(-1).sqrt()
    assert abs(20 * math.log10(float(left) / (0.6 / math.sqrt(2)))) < 1
    assert abs(20 * math.log10(float(left / right)) - 20 * math.log10(3)) < 1


@torch.inference_mode()
def test_noise_stays_noise_of_the_same_level(spectral: Spectral) -> None:
    noise = 0.1 * torch.randn(1, 2, 131_072, generator=torch.Generator().manual_seed(2))
    restored = resynthesize(spectral, noise, 1.0)
    ratio = float(restored.square().mean() / noise.square().mean())
    assert abs(10 * math.log10(ratio)) < 1.5
    correlation = torch.corrcoef(restored[0])[0, 1]
    assert abs(float(correlation)) < 0.35


@torch.inference_mode()
@pytest.mark.parametrize("side_db", [-25.0, -15.0, -6.0, 0.0])
@pytest.mark.parametrize("balance_db", [-15.0, 0.0, 15.0])
def test_the_stereo_latents_carry_width_and_balance(
    spectral: Spectral, side_db: float, balance_db: float
) -> None:
    """Through the latents, of which the network's part is left as it is: only the measured ones are tested."""
    generator = torch.Generator().manual_seed(3)
    mid, side = 0.1 * torch.randn(2, 65_536, generator=generator)
    side = side * 10 ** (side_db / 20)
    gains = torch.tensor([10 ** (-balance_db / 40), 10 ** (balance_db / 40)])
    waveform = torch.stack((mid + side, mid - side)) * gains[:, None]
    latents = spectral.encode(waveform[None]).mean
    spectrum = spectral.analyze(waveform[None])
    decoded = spectral.predict(latents)
    assert torch.allclose(decoded.spectrum.stereo, spectrum.stereo, atol=1e-4)
    noise = spectral.noise(spectrum.level.shape[-1], waveform.device).scatter
    scale = torch.ones_like(spectrum.level) * noise[:, None]
    restored = spectral.synthesize(SpectralPrediction(spectrum, scale))[0]

    def ratios(sound: Tensor) -> list[float]:
        powers = sound.square().mean(-1)
        middle = (sound[0] + sound[1]).square().mean(), (sound[0] - sound[1]).square().mean()
        return [10 * math.log10(float(a / b)) for a, b in (powers.flip(0), middle[::-1])]

    for found, wanted in zip(ratios(restored), ratios(waveform), strict=True):
        assert abs(found - wanted) < 1.5


@torch.inference_mode()
def test_a_sound_starts_from_silence_whole_and_in_tiles(spectral: Spectral) -> None:
    latents = torch.randn(1, 72, 40, generator=torch.Generator().manual_seed(4))
    whole = spectral.decode(latents)
    pieces = list(spectral.decode_tiles(latents, 8))
    first = pieces[0]
    for sound in (whole, first):
        assert sound[..., 0].abs().max() == 0
    assert whole[..., :44].abs().max() < 0.3 * whole[..., 132:4_096].abs().max()
    assert torch.allclose(
        first, whole[..., : first.shape[-1]], atol=1e-4 * float(whole.abs().max())
    )


@torch.inference_mode()
def test_ratios_of_a_part_are_those_of_the_whole(spectral: Spectral) -> None:
    latents = torch.randn(1, 72, 40, generator=torch.Generator().manual_seed(5))
    hops = spectral.config.hops_per_frame
    whole = spectral.predict(latents).per_hop().hops(20 * hops, 24 * hops)
    part = spectral.predict(latents[..., 9:35]).per_hop().hops(11 * hops, 15 * hops)
    assert torch.allclose(part.spectrum.stereo, whole.spectrum.stereo, atol=1e-6)
    own = spectral.predict(latents).spectrum.stereo
    quarter = 0.875 * own[..., 20] + 0.125 * own[..., 21]
    assert torch.allclose(whole.spectrum.stereo[..., 2], quarter, atol=1e-6)


@torch.inference_mode()
def test_silence_stays_silent(spectral: Spectral) -> None:
    assert resynthesize(spectral, torch.zeros(1, 2, 32_768), 0.0).abs().max() < 1e-5


@torch.inference_mode()
def test_latents_have_one_frame_per_2048_samples_and_decode_repeatably(spectral: Spectral) -> None:
    latents = spectral.encode(tone(300, 0.7)).mean
    assert latents.shape == (1, 72, int(0.7 * RATE) // 2048)
    first, second = spectral.decode(latents), spectral.decode(latents)
    assert first.shape[-1] == latents.shape[-1] * 2048
    assert torch.equal(first, second)


def test_bands_pool_to_averages_and_spread_to_interpolations() -> None:
    bands = warped_bands(1537, 256, 104, torch.device("cpu"))
    assert torch.allclose(bands.pool.sum(1), torch.ones(256), atol=1e-5)
    assert torch.allclose(bands.spread.sum(1), torch.ones(1537), atol=1e-5)
    assert float(bands.pool[9].argmax()) == 10


def test_every_bin_finds_the_peak_uphill() -> None:
    level = torch.tensor([0.0, 3, 2, 1, 4, 9, 8, 7])[None, :, None]
    assert peak_of_bin(level).flatten().tolist() == [1, 1, 1, 5, 5, 5, 5, 5]
