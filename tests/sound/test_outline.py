"""Outlines and excerpts: what people see and hear of a file is what it holds, at the place where it is."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auralith.errors import AudioError
from auralith.sound.excerpt import SAMPLE_RATE, excerpt_wav
from auralith.sound.peaks import outline, read_outline
from auralith.sound.stretch import read_stretch


def written(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE) -> Path:
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


@pytest.mark.parametrize("length", [1, 7, 1_000, 300_001])
@pytest.mark.parametrize("stretches", [1, 3, 1_024])
def test_an_outline_holds_the_extremes_of_each_stretch(
    tmp_path: Path, length: int, stretches: int
) -> None:
    samples = np.random.default_rng(length).uniform(-1, 1, (length, 2)).astype(np.float32)
    info, low, high = read_outline(written(tmp_path / "a.wav", samples), stretches)
    assert (low, high) == outline(samples.T, stretches) and len(low) == min(stretches, length)
    assert (low[0] <= samples[0].min() + 1e-5) and (high[-1] >= samples[-1].max() - 1e-5)
    assert (info.num_samples, info.sample_rate) == (length, SAMPLE_RATE)


def test_an_outline_of_what_is_no_number_is_refused(tmp_path: Path) -> None:
    samples = np.full(9, np.nan, np.float32)
    with pytest.raises(AudioError, match="not finite"):
        read_outline(written(tmp_path / "a.wav", samples), 3)


def excerpt(path: Path, start: float, seconds: float) -> np.ndarray:
    found, rate = soundfile.read(
        io.BytesIO(excerpt_wav(read_stretch(path, start, seconds), start, seconds)),
        dtype="float32",
        always_2d=True,
    )
    assert rate == SAMPLE_RATE and found.shape == (round(seconds * SAMPLE_RATE), 2)
    return found


@pytest.mark.parametrize("start", [-2.0, -0.25, 0.0, 0.25, 0.9, 1.0, 5.0, 1e9])
def test_an_excerpt_is_silent_beyond_the_ends(tmp_path: Path, start: float) -> None:
    samples = np.random.default_rng(0).uniform(-0.9, 0.9, (SAMPLE_RATE, 2)).astype(np.float32)
    found = excerpt(written(tmp_path / "a.wav", samples), start, 1.5)
    around = np.zeros((5 * SAMPLE_RATE, 2), np.float32)
    around[2 * SAMPLE_RATE : 3 * SAMPLE_RATE] = samples
    first = round((start + 2) * SAMPLE_RATE) if start < 1 else 0
    expected = around[first : first + len(found)] if start < 1 else np.zeros_like(found)
    assert np.abs(found - expected).max() <= 2**-15  # 16 bits


@pytest.mark.parametrize("rate", [8_000, 48_000, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_an_excerpt_has_one_form_and_its_place(tmp_path: Path, rate: int, channels: int) -> None:
    """A click is where it was, whatever the rate; one channel sounds on both sides."""
    samples = np.zeros((2 * rate, channels), np.float32)
    samples[rate] = 0.9
    found = excerpt(written(tmp_path / "a.wav", samples, rate), 0.5, 1.0)
    assert np.abs(found).argmax(axis=0) == pytest.approx([SAMPLE_RATE // 2] * 2, abs=1)
