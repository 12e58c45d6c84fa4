"""Losses against the formulas written out in NumPy, and against values of auraloss 0.4.0."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from auralith.models.discriminator import Judgment
from auralith.training.losses import (
    FFT_SIZES,
    a_weighted,
    a_weighting,
    a_weighting_taps,
    adversarial_loss,
    feature_matching_loss,
    hinge_loss,
    kl_divergence,
    stft_loss,
    views,
)

RATE = 44_100


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def chirp(hz: float, slope: float, gain: float, phase: float = 0.0) -> np.ndarray:
    t = np.arange(9_000) / RATE
    return gain * np.sin(2 * np.pi * (hz * t + slope * t**2) + phase)


def stereo(left: np.ndarray, right: np.ndarray) -> Tensor:
    return torch.from_numpy(np.stack((left, right)))[None].float()


def test_values_of_auraloss() -> None:
    """Sum and difference, left and right at half weight, its arguments in the published order."""
    original = stereo(
        chirp(300, 9e3, 0.5) + chirp(5e3, 2e4, 0.1),
        chirp(300, 9e3, 0.3, 0.4) + chirp(900, 4e4, 0.2),
    )
    decoded = stereo(
        chirp(300, 9e3, 0.45, 0.1) + chirp(5e3, 2.1e4, 0.08),
        chirp(310, 9e3, 0.3, 0.4) + chirp(900, 4e4, 0.25),
    )
    assert float(stft_loss(decoded, original, RATE)) == pytest.approx(1.359359, rel=1e-5)
    left = stft_loss(decoded[:, :1], original[:, :1], RATE)
    assert float(left) == pytest.approx(0.438885, rel=1e-5)


@pytest.mark.parametrize("normalized_by", ["decoded", "original"])
def test_the_distance_written_out(normalized_by: str) -> None:
    original, decoded = noise(2, 2, 4_000), 0.5 * noise(2, 2, 4_000, seed=1)
    taps = a_weighting_taps(RATE)
    total = 0.0
    for size in FFT_SIZES:
        spectra = [_spectra(signal.double().numpy(), taps, size) for signal in (original, decoded)]
        base = spectra[1 if normalized_by == "decoded" else 0]
        axes = (2, 3) if normalized_by == "decoded" else (1, 2, 3)
        squared = ((spectra[0] - spectra[1]) ** 2).sum(axes) / (base**2).sum(axes)
        of_views = np.sqrt(squared).mean() + np.abs(np.log(spectra[0] / spectra[1])).mean()
        total += 2 * of_views / len(FFT_SIZES)  # (sum + difference) / 2 + left / 2 + right / 2
    found = stft_loss(decoded, original, RATE, normalized_by)  # pyright: ignore[reportArgumentType]
    assert float(found) == pytest.approx(total, rel=1e-5)


def test_a_mono_recording_costs_no_more_than_a_stereo_one() -> None:
    """Its difference is silent: a ratio over that alone would be of the order of 1e2 and more."""
    mono = 0.3 * noise(1, 1, 8_000).expand(1, 2, -1)
    decoded = mono + 0.01 * noise(1, 2, 8_000, seed=1)
    for normalized_by in ("decoded", "original"):
        assert float(stft_loss(decoded, mono, RATE, normalized_by)) < 10


def test_equal_waveforms_cost_nothing_and_have_a_finite_gradient() -> None:
    waveform = noise(1, 2, 4_000).requires_grad_()
    loss = stft_loss(waveform, waveform.detach(), RATE)
    loss.backward()
    assert float(loss.detach()) == 0
    assert waveform.grad is not None and torch.isfinite(waveform.grad).all()
    silent = torch.zeros(1, 2, 4_000, requires_grad=True)
    stft_loss(silent, torch.zeros(1, 2, 4_000), RATE).backward()
    assert silent.grad is not None and torch.isfinite(silent.grad).all()


def test_the_mean_over_items_is_the_mean_over_a_batch() -> None:
    original, decoded = noise(4, 2, 4_000), noise(4, 2, 4_000, seed=1)
    decoded *= torch.tensor([0.1, 0.5, 1.0, 2.0])[:, None, None]
    for normalized_by in ("decoded", "original"):
        whole = stft_loss(decoded, original, RATE, normalized_by)
        parts = [stft_loss(decoded[i::2], original[i::2], RATE, normalized_by) for i in range(2)]
        assert float(whole) == pytest.approx(float(sum(parts)) / 2, rel=1e-6)


def test_views_are_sum_difference_left_and_right() -> None:
    waveform = torch.tensor([[[3.0], [1.0]]])
    assert views(waveform).flatten().tolist() == [4, 2, 3, 1]


@pytest.mark.parametrize(
    ("hz", "db"), [(100, -19.1), (1_000, 0.0), (2_000, 1.2), (10_000, -2.5), (20_000, -9.3)]
)
def test_the_weighting_is_that_of_the_standard(hz: int, db: float) -> None:
    at, gains = a_weighting(64 * hz)  # the bilinear transform bends little there
    assert at[16] == pytest.approx(hz)
    assert 20 * math.log10(gains[16]) == pytest.approx(db, abs=0.1)


def test_the_filter_follows_the_curve() -> None:
    hz, gains = a_weighting(RATE)
    taps = a_weighting_taps(RATE)
    assert taps.shape == (101,) and np.array_equal(taps, taps[::-1])
    response = np.abs(np.exp(-2j * np.pi * np.outer(hz / RATE, np.arange(101))) @ taps)
    heard = hz > 1_000
    assert np.abs(response - gains)[heard].max() < 0.03


def test_the_filter_has_no_delay() -> None:
    click = torch.zeros(1, 1, 400)
    click[0, 0, 200] = 1
    filtered = a_weighted(click, RATE)
    assert filtered.shape == click.shape
    assert int(filtered.abs().argmax()) == 200


def test_hinge_loss_and_adversarial_loss() -> None:
    real = [torch.tensor([2.0, 0.5]), torch.tensor([[-1.0]])]
    fake = [torch.tensor([-3.0, 0.0]), torch.tensor([[1.0]])]
    expected = ((0 + 0.5) / 2 + (0 + 1) / 2 + 2 + 2) / 2
    assert float(hinge_loss(real, fake)) == pytest.approx(expected)
    judgments = [Judgment(score.reshape(1, 1, 1, -1), ()) for score in fake]
    assert float(adversarial_loss(judgments)) == pytest.approx(-((-1.5) + 1) / 2)


def test_feature_matching_is_averaged_over_layers_and_scales() -> None:
    def judgment(*values: float) -> Judgment:
        return Judgment(torch.zeros(1, 1, 1, 1), tuple(torch.full((1, 1, 2, 2), v) for v in values))

    real = [judgment(0, 1), judgment(2, 2)]
    fake = [judgment(3, 1), judgment(2, -2)]
    assert float(feature_matching_loss(real, fake)) == pytest.approx((3 + 0 + 0 + 4) / 4)


def test_kl_has_no_factor_of_a_half_and_sums_over_channels() -> None:
    mean, std = noise(2, 3, 5), noise(2, 3, 5, seed=1).exp()
    m, s = mean.double().numpy(), std.double().numpy()
    expected = (m**2 + s**2 - np.log(s**2) - 1).sum(1).mean()
    assert float(kl_divergence(mean, std)) == pytest.approx(expected, rel=1e-6)
    assert float(kl_divergence(torch.zeros(1, 3, 2), torch.ones(1, 3, 2))) == 0


def _spectra(signal: np.ndarray, taps: np.ndarray, size: int) -> np.ndarray:
    """(batch, view, bin, time) magnitudes of the weighted views."""
    left, right = signal[:, 0], signal[:, 1]
    stacked = np.stack((left + right, left - right, left, right), axis=1)
    rows = [np.convolve(row, taps, "same") for row in stacked.reshape(-1, stacked.shape[2])]
    weighted = np.stack(rows).reshape(stacked.shape)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    padded = np.pad(weighted, ((0, 0), (0, 0), (size // 2, size // 2)), mode="reflect")
    places = range(0, padded.shape[2] - size + 1, size // 4)
    spectra = [np.fft.rfft(padded[..., p : p + size] * window) for p in places]
    return np.sqrt(np.maximum(np.abs(np.stack(spectra, axis=-1)) ** 2, 1e-8))
