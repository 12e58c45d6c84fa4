"""Common parts of embedders: refusals, level, windows, the registry; and the one without weights."""

import math

import pytest
import torch
from torch import Tensor

from auralith.embedders import Embedder, open_embedder
from auralith.embedders.embedder import at_peak, checked, mono, windows
from auralith.embedders.mel import NUM_BANDS, SAMPLE_RATE, log_mel
from auralith.errors import AudioError, InvalidRequest
from auralith.sound.resampling import resample


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("seconds", "count"),
    [(0.01, 1), (5, 1), (10, 1), (10.5, 2), (20, 3), (30, 5), (47, 9), (120, 23)],
)
def test_windows_of_ten_seconds_every_five(seconds: float, count: int) -> None:
    sound = torch.arange(int(seconds * 320))[None].float()
    found = list(windows(sound, 3_200, 1_600))
    assert len(found) == count
    assert [float(part[0]) for part in found] == [1_600 * i for i in range(count)]
    assert all(len(part) == 3_200 for part in found[:-1])
    assert float(found[-1][-1]) == sound.shape[1] - 1 or len(found[-1]) == 3_200


def bad_sounds() -> list[tuple[str, Tensor, int]]:
    broken = noise(2, 100)
    broken[1, 7] = math.nan
    return [
        ("silent", torch.zeros(2, 48_000), 48_000),
        ("silent", torch.full((1, 100), 1e-6), 48_000),
        ("nan_samples", broken, 48_000),
        ("no_samples", torch.zeros(2, 0), 48_000),
        ("impossible_level", 1e4 * noise(1, 100), 48_000),
        ("bad_rate", noise(1, 100), 0),
    ]


@pytest.mark.parametrize(("code", "sound", "rate"), bad_sounds())
def test_a_sound_that_no_metric_can_count_is_refused_in_one_line(
    code: str, sound: Tensor, rate: int
) -> None:
    with pytest.raises(AudioError) as caught:
        checked(sound, rate)
    assert caught.value.reason_code == code and "\n" not in str(caught.value)


def test_the_peak_over_all_channels_is_minus_one_dbfs() -> None:
    sound = torch.stack([noise(1_000), 3 * noise(1_000, seed=1)])
    assert float(at_peak(sound).abs().max()) == pytest.approx(0.8912509, abs=1e-7)
    assert torch.allclose(at_peak(sound) / sound, at_peak(sound)[0, 0] / sound[0, 0])
    assert torch.equal(mono(sound), sound.mean(0)[None])


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="openl4"):
        open_embedder("openl4")


def test_mel_statistics_follow_the_sound_and_neither_its_level_nor_its_channels() -> None:
    embedder = open_embedder("mel")
    assert isinstance(embedder, Embedder)
    sound = noise(1, 12 * SAMPLE_RATE)
    found = embedder.embed(sound, SAMPLE_RATE)
    assert found.shape == (2, embedder.dim) and found.dtype == torch.float32
    assert torch.allclose(found, embedder.embed(0.01 * sound, SAMPLE_RATE), atol=1e-3)
    assert torch.allclose(found, embedder.embed(sound.expand(2, -1), SAMPLE_RATE), atol=1e-3)
    # a window is the same wherever it stands in a file, but for the level of the file
    alone = embedder.embed(sound[:, : 10 * SAMPLE_RATE], SAMPLE_RATE)
    assert torch.allclose(found[:1], alone, atol=1e-3)
    other = embedder.embed(noise(1, 12 * SAMPLE_RATE, seed=1), SAMPLE_RATE)
    assert float((found - other).abs().max()) > 0.01


def test_a_sound_at_another_rate_has_the_statistics_of_what_is_left_of_it() -> None:
    sound = noise(1, 5 * SAMPLE_RATE)
    embedder = open_embedder("mel")
    found = embedder.embed(resample(sound, SAMPLE_RATE, 48_000), 48_000)
    close = embedder.embed(sound, SAMPLE_RATE)
    assert torch.allclose(found[:, : NUM_BANDS - 2], close[:, : NUM_BANDS - 2], atol=0.5)


def test_a_tone_is_loudest_in_its_band() -> None:
    for hz in (100, 1_000, 9_000):
        t = torch.arange(SAMPLE_RATE) / SAMPLE_RATE
        bands = log_mel(torch.sin(2 * math.pi * hz * t)).mean(1)
        centers = torch.tensor([_center(band) for band in range(NUM_BANDS)])
        nearest = int((centers - hz).abs().argmin())
        assert abs(int(bands.argmax()) - nearest) <= 1


def _center(band: int) -> float:
    from auralith.sound.spectrum import mel_filters

    filters = mel_filters(SAMPLE_RATE, 2_048, NUM_BANDS)
    return float(filters[band].argmax()) * SAMPLE_RATE / 2_048
