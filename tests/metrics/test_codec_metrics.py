"""Codec metrics: exact values, values of auraloss 0.4.0, and the same formulas written out in NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from auralith.errors import InvalidRequest
from auralith.metrics.codec import (
    codec_metrics,
    codec_summary,
    magnitudes,
    mel_distance,
    multi_resolution_stft_distance,
    si_sdr,
    spectral_distance,
    stft_distance,
)
from auralith.sound.spectrum import mel_filters
from tests.training.test_losses import RATE, chirp, noise


def chirps() -> tuple[Tensor, Tensor]:
    """Original and decoded."""
    original = (
        chirp(300, 9e3, 0.5) + chirp(5e3, 2e4, 0.1),
        chirp(300, 9e3, 0.3, 0.4) + chirp(900, 4e4, 0.2),
    )
    decoded = (
        chirp(300, 9e3, 0.45, 0.1) + chirp(5e3, 2.1e4, 0.08),
        chirp(310, 9e3, 0.3, 0.4) + chirp(900, 4e4, 0.25),
    )
    return torch.from_numpy(np.stack(original)).float(), torch.from_numpy(np.stack(decoded)).float()


def test_values_of_auraloss() -> None:
    original, decoded = chirps()
    found = codec_metrics(decoded, original, RATE)
    assert found.stft == pytest.approx(0.3500791, abs=1e-5)
    assert found.mel == pytest.approx(0.2977598, abs=1e-5)
    assert found.si_sdr == pytest.approx(1.4455791, abs=1e-5)
    assert found.multi_resolution_stft == pytest.approx(0.3772590, abs=1e-5)


def test_the_published_pair() -> None:
    """The phases are in float32, whose rounding is part of the pair."""
    t = torch.arange(RATE, dtype=torch.float32) / RATE

    def tone(hz: float, gain: float, phase: float = 0.0) -> Tensor:
        return gain * torch.sin(2 * np.pi * hz * t + phase)

    original = (tone(440, 0.5) + tone(3_000, 0.1))[None]
    decoded = (tone(440, 0.45, 0.1) + tone(3_000, 0.12) + tone(9_000, 0.01))[None]
    found = codec_metrics(decoded, original, RATE)
    assert found.stft == pytest.approx(0.35640, abs=1e-3)
    assert found.mel == pytest.approx(0.35766, abs=1e-3)
    assert found.si_sdr == pytest.approx(18.51784, abs=1e-3)
    assert found.multi_resolution_stft == pytest.approx(0.50900, abs=1e-3)


@pytest.mark.parametrize("gain", [0.5, 0.9, 2.0])
def test_a_gain_costs_what_it_must(gain: float) -> None:
    original = noise(2, 20_000)
    expected = abs(1 - gain) + abs(math.log(gain))
    assert float(stft_distance(gain * original, original)) == pytest.approx(expected, abs=1e-4)
    assert float(mel_distance(gain * original, original, RATE)) == pytest.approx(expected, abs=1e-4)
    swapped = abs(1 - gain) / gain + abs(math.log(gain))
    assert float(stft_distance(original, gain * original)) == pytest.approx(swapped, abs=1e-4)


def test_one_ratio_is_taken_over_both_channels() -> None:
    original = noise(2, 44_100)
    decoded = original * torch.tensor([[0.5], [3.0]])
    joint = float(stft_distance(decoded, original))
    x, y = (magnitudes(signal, 1_024, 256) for signal in (decoded, original))
    separate = float(spectral_distance(x, y, separate=1))
    assert joint == pytest.approx(2.355, abs=0.01)
    assert separate == pytest.approx(2.146, abs=0.01)
    named = codec_metrics(decoded, original, RATE, "per_channel")
    assert named.stft == separate and codec_metrics(decoded, original, RATE).stft == joint
    assert named.mel != codec_metrics(decoded, original, RATE).mel
    both = [
        float(multi_resolution_stft_distance(decoded, original, c))
        for c in ("joint", "per_channel")
    ]
    assert both[0] > both[1] + 0.1
    assert named.si_sdr == codec_metrics(decoded, original, RATE).si_sdr


def test_files_that_mean_nothing_are_counted() -> None:
    original = noise(2, 20_000)
    decoded = {id: original * gain for id, gain in (("a", 0.5), ("b", 0.9))}
    files = [
        *((id, waveform, original) for id, waveform in decoded.items()),
        ("silent", original, original * 1e-5),
        ("short", original[:, :900], original[:, :900]),
        ("mono", original[:1], original),
        ("nan", original * float("nan"), original),
    ]
    found = codec_summary(files, RATE)
    alone = [codec_metrics(waveform, original, RATE) for waveform in decoded.values()]
    for name, values in found.metrics.items():
        assert (values.expected, values.used) == (6, 2)
        assert values.failed.keys() == {"silent", "short", "mono", "nan"}
        assert values.mean == pytest.approx(sum(getattr(one, name) for one in alone) / 2)
    assert "silent" in found.metrics["stft"].failed["silent"]
    with pytest.raises(InvalidRequest, match="twice"):
        codec_summary([files[0], files[0]], RATE)


@pytest.mark.parametrize("gain", [2.0, -3.0])
def test_si_sdr_ignores_gain_and_sign(gain: float) -> None:
    original = noise(2, 20_000)
    assert float(si_sdr(gain * original + 0.2, original)) > 115


def test_si_sdr_of_orthogonal_noise_and_of_silence() -> None:
    original, other = noise(1, 20_000), noise(1, 20_000, seed=1)
    original, other = original - original.mean(), other - other.mean()
    other -= (other * original).sum() / original.square().sum() * original
    other *= (0.1 * original.square().sum() / other.square().sum()).sqrt()
    assert float(si_sdr(original + other, original)) == pytest.approx(10.0, abs=1e-3)
    assert float(si_sdr(torch.zeros(1, 2_000), original)) == pytest.approx(-80.0, abs=1e-3)


def test_the_longer_one_is_cut() -> None:
    original, decoded = chirps()
    whole = codec_metrics(decoded[:, :8_000], original, RATE)
    assert whole == codec_metrics(decoded[:, :8_000], original[:, :8_000], RATE)


def test_the_distance_written_out() -> None:
    original, decoded = chirps()
    y, x = (_magnitudes(signal.double().numpy(), 512, 50, 240) for signal in (original, decoded))
    expected = np.sqrt(((y - x) ** 2).sum()) / np.sqrt((y**2).sum()) + np.abs(np.log(x / y)).mean()
    found = spectral_distance(
        magnitudes(decoded.double(), 512, 50, 240), magnitudes(original.double(), 512, 50, 240)
    )
    assert float(found) == pytest.approx(expected, abs=1e-8)
    assert float(multi_resolution_stft_distance(decoded, original)) != pytest.approx(expected)


def test_mel_filters_have_unit_area_and_their_peaks_in_order() -> None:
    filters = mel_filters(RATE, 16_384, 128)
    areas = filters.sum(1) * RATE / 16_384
    assert torch.allclose(areas, torch.ones_like(areas), atol=0.02)
    peaks = filters.argmax(1) * RATE / 16_384
    assert (peaks.diff() > 0).all()
    # 15 mel are 1 kHz, 60 mel (45 steps of a 27th of 6.4 further) nearly Nyquist
    step = (15 + 27 * math.log(22.05) / math.log(6.4)) / 129
    assert float(peaks[0]) == pytest.approx(step * 200 / 3, abs=2.0)
    assert (filters[:, 0] == 0).all() and (mel_filters(RATE, 1_024, 128).sum(1) > 0).all()


def _magnitudes(signal: np.ndarray, fft_size: int, hop: int, size: int) -> np.ndarray:
    window = np.zeros(fft_size)
    start = (fft_size - size) // 2
    window[start : start + size] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    padded = np.pad(signal, ((0, 0), (fft_size // 2, fft_size // 2)), mode="reflect")
    places = range(0, padded.shape[1] - fft_size + 1, hop)
    spectra = [np.fft.rfft(padded[:, p : p + fft_size] * window) for p in places]
    return np.sqrt(np.maximum(np.abs(np.stack(spectra)) ** 2, 1e-8))
