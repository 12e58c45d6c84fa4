"""The resampler inside OpenL3, against recorded values of resampy 0.2.2 and against what a resampler must do."""

import json
import math
from pathlib import Path

import pytest
import torch

from auralith.embedders.kaiser_best import kaiser_best
from scripts.embedder_peers import sound

GOLDEN = Path(__file__).parents[1] / "golden" / "embedders.json"


def test_values_of_resampy() -> None:
    """resampy adds up its place in steps that each round, 1e-11 of a sample in so short a sound."""
    expected = torch.tensor(json.loads(GOLDEN.read_text())["kaiser_best"], dtype=torch.float64)
    found = kaiser_best(sound(0.01, 44_100).double()[None], 44_100, 48_000)
    assert found.shape == (1, len(expected)) == (1, 480)
    assert float((found - expected).abs().max()) < 1e-9


@pytest.mark.parametrize("hz", [50.0, 1_000.0, 12_345.0, 19_000.0])
def test_a_tone_stays_the_tone(hz: float) -> None:
    def tone(rate: int, seconds: float) -> torch.Tensor:
        t = torch.arange(int(seconds * rate), dtype=torch.float64) / rate
        return torch.sin(2 * math.pi * hz * t)[None]

    found = kaiser_best(tone(44_100, 0.1), 44_100, 48_000)
    inside = slice(200, -200)  # the ends fade into the zeros around the sound
    assert float((found - tone(48_000, 0.1))[:, inside].abs().max()) < 1e-5


@pytest.mark.parametrize("num_samples", [1, 2, 146, 147, 148, 44_100, 441_000])
def test_lengths_are_rounded_down(num_samples: int) -> None:
    found = kaiser_best(torch.ones(2, num_samples), 44_100, 48_000)
    assert found.shape == (2, int(num_samples * (48_000 / 44_100)))


def test_a_sound_is_resampled_the_same_wherever_it_begins() -> None:
    """147 samples are 160, so a delay of 147 is a delay of 160; at the ends the sound meets zeros on either side."""
    waveform = sound(0.05, 44_100).double()[None]
    delayed = torch.nn.functional.pad(waveform, (147, 0))
    found, later = (kaiser_best(x, 44_100, 48_000) for x in (waveform, delayed))
    assert float((later[:, 160:] - found[:, : later.shape[1] - 160]).abs().max()) < 1e-14
