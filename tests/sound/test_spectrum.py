"""Mel filters of HTK and of Kaldi against their formulas, filter by filter."""

import math

import pytest

from auralith.sound.spectrum import MelScale, mel_filters


def direct(scale: MelScale, rate: int, fft_size: int, count: int, low: float, high: float) -> list:
    """Write the triangles out as the toolkits define them: `height(f)` for every bin."""

    def mel(hz: float) -> float:
        return (
            1127 * math.log(1 + hz / 700) if scale == "kaldi" else 2595 * math.log10(1 + hz / 700)
        )

    def hz(value: float) -> float:
        return 700 * (10 ** (value / 2595) - 1)

    step = (mel(high) - mel(low)) / (count + 1)
    found = []
    for band in range(count):
        edges = [mel(low) + (band + i) * step for i in range(3)]
        if scale == "htk":
            edges = [hz(edge) for edge in edges]
        left, center, right = edges
        row = []
        for index in range(fft_size // 2 + 1):
            x = index * rate / fft_size
            x = mel(x) if scale == "kaldi" else x
            height = (x - left) / (center - left) if x <= center else (right - x) / (right - center)
            row.append(max(height, 0.0))
        found.append(row)
    return found


@pytest.mark.parametrize(
    ("scale", "rate", "fft_size", "count", "low", "high"),
    [
        ("kaldi", 32_000, 1_024, 128, 0.0, 15_000.0),
        ("htk", 48_000, 1_024, 64, 50.0, 14_000.0),
        ("htk", 16_000, 512, 96, 0.0, 8_000.0),
    ],
)
def test_triangles_are_those_of_the_formula(
    scale: MelScale, rate: int, fft_size: int, count: int, low: float, high: float
) -> None:
    filters = mel_filters(rate, fft_size, count, low, high, scale=scale, unit_area=False)
    expected = direct(scale, rate, fft_size, count, low, high)
    assert filters.shape == (count, fft_size // 2 + 1)
    for row, wanted in zip(filters.tolist(), expected, strict=True):
        assert row == pytest.approx(wanted, abs=1e-9)


def test_unit_area_is_in_hz_whatever_the_scale() -> None:
    size = 65_536
    for scale in ("slaney", "htk"):
        filters = mel_filters(48_000, size, 64, 50.0, 14_000.0, scale=scale)
        areas = filters.sum(1) * 48_000 / size
        assert areas.tolist() == pytest.approx([1.0] * 64, rel=2e-2)


def test_nothing_reaches_nyquist_where_the_bands_end_below_it() -> None:
    filters = mel_filters(32_000, 1_024, 128, 0.0, 15_000.0, scale="kaldi", unit_area=False)
    assert (filters[:, -1] == 0).all()
