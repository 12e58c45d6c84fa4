"""Loudness against the signals of EBU Tech 3341 and the values that ITU-R BS.1770-4 states."""

from collections.abc import Sequence

import numpy as np
import pytest

from auralith.sound.loudness import LoudnessMeter, k_weighting

RATE = 48_000
LEVELS = tuple[float, ...]


def sine(seconds: float, levels_dbfs: Sequence[float], rate: int = RATE) -> np.ndarray:
    """997 Hz with a peak level for each channel."""
    wave = np.sin(2 * np.pi * 997 * np.arange(round(seconds * rate)) / rate)
    return (wave[:, None] * 10 ** (np.array(levels_dbfs) / 20)).astype(np.float32)


def integrated(samples: np.ndarray, rate: int = RATE, block: int = 65_536) -> float | None:
    meter = LoudnessMeter(rate, samples.shape[1])
    for start in range(0, len(samples), block):
        meter.add(samples[start : start + block])
    return meter.integrated


def test_the_filters_are_the_standards_at_48_khz() -> None:
    (shelf, shelf_feedback), (high_pass, high_pass_feedback) = k_weighting(48_000)
    assert shelf == pytest.approx((1.53512485958697, -2.69169618940638, 1.19839281085285), abs=1e-9)
    assert shelf_feedback == pytest.approx((1, -1.69065929318241, 0.73248077421585), abs=1e-9)
    assert high_pass == pytest.approx((1, -2, 1), abs=1e-12)
    assert high_pass_feedback == pytest.approx((1, -1.99004745483398, 0.99007225036621), abs=1e-9)


def test_a_full_scale_sine_in_one_channel_has_3_01_lkfs() -> None:
    assert integrated(sine(3, [0.0])) == pytest.approx(-3.01, abs=0.01)


@pytest.mark.parametrize("level", [-23.0, -33.0])
def test_a_stereo_sine_has_its_level(level: float) -> None:
    assert integrated(sine(5, [level, level])) == pytest.approx(level, abs=0.02)


@pytest.mark.parametrize(
    ("rate", "tolerance"),
    # the bilinear transform squeezes the shelf where it comes near to half the rate
    [
        (8_000, 0.25),
        (11_025, 0.15),
        (22_050, 0.05),
        (44_100, 0.01),
        (96_000, 0.02),
        (192_000, 0.02),
    ],
)
def test_loudness_does_not_depend_on_the_rate(rate: int, tolerance: float) -> None:
    assert integrated(sine(2, [-23.0, -23.0], rate), rate) == pytest.approx(-23.0, abs=tolerance)


@pytest.mark.parametrize(
    "parts",
    [
        [(2.0, -36.0), (30.0, -23.0), (2.0, -36.0)],  # case 3, shortened: the relative gate
        [(2.0, -72.0), (2.0, -36.0), (30.0, -23.0), (2.0, -36.0), (2.0, -72.0)],  # case 4: both
    ],
)
def test_quiet_parts_are_gated(parts: list[tuple[float, float]]) -> None:
    joined = np.concatenate([sine(seconds, [level, level]) for seconds, level in parts])
    assert integrated(joined) == pytest.approx(-23.0, abs=0.1)


def test_parts_above_the_gate_are_averaged_by_power() -> None:
    parts = [(20.0, -26.0), (20.1, -20.0), (20.0, -26.0)]  # EBU Tech 3341, case 5
    joined = np.concatenate([sine(seconds, [level, level]) for seconds, level in parts])
    assert integrated(joined) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize(
    "levels", [(-28.0, -28.0, -24.0, -30.0, -30.0), (-28.0, -28.0, -24.0, 0.0, -30.0, -30.0)]
)
def test_surround_channels_are_weighted_and_the_low_frequency_one_is_not_heard(
    levels: LEVELS,
) -> None:
    assert integrated(sine(4, levels)) == pytest.approx(-23.0, abs=0.1)  # case 6


def test_below_400_ms_there_is_no_loudness() -> None:
    assert integrated(sine(0.399, [-23.0])) is None
    assert integrated(sine(0.4, [-20.0])) == pytest.approx(-23.0, abs=0.1)


def test_silence_and_what_lies_under_the_gate_have_no_loudness() -> None:
    assert integrated(np.zeros((RATE, 2), np.float32)) is None
    assert integrated(sine(1, [-75.0, -75.0])) is None


def test_a_rate_below_the_shelf_has_no_loudness() -> None:
    assert integrated(sine(1, [-6.0], 3_000), 3_000) is None


def test_the_filters_are_the_recursion_sample_by_sample() -> None:
    noise = np.random.default_rng(3).standard_normal(4_410).astype(np.float32)
    weighted = noise.astype(float)
    for numerator, denominator in k_weighting(11_025):
        weighted = recursion(weighted, numerator, denominator)
    found = integrated(noise[:, None], 11_025, block=777)
    assert found == pytest.approx(-0.691 + 10 * np.log10(np.square(weighted).mean()), abs=1e-4)


def recursion(
    x: np.ndarray, b: tuple[float, float, float], a: tuple[float, float, float]
) -> np.ndarray:
    """A second-order filter in direct form."""
    y = np.zeros(len(x) + 2)
    x = np.concatenate([[0.0, 0.0], x])
    for n in range(2, len(x)):
        y[n] = b[0] * x[n] + b[1] * x[n - 1] + b[2] * x[n - 2] - a[1] * y[n - 1] - a[2] * y[n - 2]
    return y[2:]


@pytest.mark.parametrize("block", [37, 997, 4_410])
def test_the_cut_into_blocks_does_not_matter(block: int) -> None:
    noise = np.random.default_rng(1).standard_normal((4_000, 2)).astype(np.float32) * 0.1
    whole = integrated(noise, 8_000)
    assert whole is not None
    assert integrated(noise, 8_000, block) == pytest.approx(whole, abs=1e-4)
