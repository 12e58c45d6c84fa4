"""Crops: what is in them, when it is, what is padding; and the preparation of channels, rate and level."""

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float
from sounds import RATE, tone, write_sound
from torch import Tensor

from auralith.data.crops import AudioOptions, crop_start, crop_timing, prepare, read_crop
from auralith.data.recording import Recording, Recordings
from auralith.data.recordings import open_recordings
from auralith.errors import InvalidRequest
from auralith.sound.extent import SoundInfo
from auralith.sound.resampling import resample

MONO = AudioOptions(sample_rate=RATE, channels=1)


class InMemory(Recordings):
    """One recording that remembers what was read of it."""

    def __init__(self, samples: np.ndarray, rate: int = RATE) -> None:
        self.waveform, self.rate = torch.from_numpy(samples.T.copy()), rate
        self.stretches: list[tuple[int, int | None]] = []

    def __len__(self) -> int:
        return 1

    def __getitem__(self, i: int) -> Recording:
        return Recording("a", "a.wav", ("a tone",), {})

    def info(self, i: int) -> SoundInfo:
        return SoundInfo(self.waveform.shape[1], self.rate, self.waveform.shape[0])

    def read(
        self, i: int, start: int = 0, stop: int | None = None
    ) -> tuple[Float[Tensor, "channel sample"], int]:
        self.stretches.append((start, stop))
        return self.waveform[:, start:stop], self.rate


@given(length=st.integers(1, 500), window=st.integers(1, 500), seed=st.integers(0, 50))
def test_a_crop_lies_inside_the_file(length: int, window: int, seed: int):
    start = crop_start(length, window, np.random.default_rng(seed))
    assert 0 <= start <= max(0, length - window)


def test_every_place_is_reached_the_last_one_too():
    rng = np.random.default_rng(1)
    assert {crop_start(12, 8, rng) for _ in range(200)} == {0, 1, 2, 3, 4}


@given(st.integers(0, 10**9), st.sampled_from([8_000, 44_100, 48_000]))
def test_timing_rounds_whole_seconds_exactly(samples: int, rate: int):
    start, total = crop_timing(samples / rate, samples / rate)
    assert (start, total) == (samples // rate, -(-samples // rate))


@settings(max_examples=40)
@given(seconds=st.floats(0.01, 5.0), window=st.integers(1, 20_000), seed=st.integers(0, 99))
def test_a_crop_is_what_the_file_has_at_its_time(seconds: float, window: int, seed: int):
    samples = tone(seconds)
    recordings = InMemory(samples)
    crop = read_crop(recordings, 0, window, MONO, np.random.default_rng(seed))
    start, stop = recordings.stretches[-1]
    length = min(window, len(samples))
    assert stop == start + length
    assert crop.waveform.shape == (1, window)
    assert torch.equal(crop.waveform[0, :length], torch.from_numpy(samples[start:stop, 0]))
    assert not crop.waveform[0, length:].any()
    assert crop.mask.tolist() == [True] * length + [False] * (window - length)
    assert crop.seconds_start == start // RATE
    assert crop.seconds_total == math.ceil(len(samples) / RATE)


@pytest.mark.parametrize(
    ("rate", "ours"), [(48_000, 44_100), (22_050, 44_100), (44_100, 8_000), (8_001, 8_000)]
)
def test_a_resampled_crop_is_a_crop_of_the_resampled_file(rate: int, ours: int):
    samples = tone(4.0, 2, rate)
    options = AudioOptions(ours, 2, resample=True)
    whole = resample(torch.from_numpy(samples.T.copy()), rate, ours)
    for seed in range(5):
        recordings = InMemory(samples, rate)
        crop = read_crop(recordings, 0, ours // 2, options, np.random.default_rng(seed))
        start = crop_start(whole.shape[1], ours // 2, np.random.default_rng(seed))
        expected = whole[:, start : start + ours // 2]
        assert crop.mask.all()
        assert (crop.waveform - expected).abs().max() < 2e-4
        assert (crop.seconds_start, crop.seconds_total) == (start // ours, 4)
        first, last = recordings.stretches[0]
        if ours > 8_000:
            assert last is not None and last - first < rate  # not the whole file


def test_a_short_file_at_another_rate_is_padded():
    options = AudioOptions(44_100, 2, resample=True)
    crop = read_crop(
        InMemory(tone(0.3, 1, 48_000), 48_000), 0, 44_100, options, np.random.default_rng(0)
    )
    assert crop.mask.sum() == 13_230 and crop.waveform.shape == (2, 44_100)
    assert not crop.waveform[:, 13_230:].any()
    assert torch.equal(crop.waveform[0], crop.waveform[1])


def test_silence_is_skipped_within_the_bound():
    samples = np.zeros((10 * RATE, 1), np.float32)
    samples[6 * RATE : 8 * RATE] = tone(2.0)
    for seed in range(20):
        recordings = InMemory(samples)
        crop = read_crop(recordings, 0, RATE, MONO, np.random.default_rng(seed))
        assert len(recordings.stretches) <= 8
        assert crop.waveform.any() or len(recordings.stretches) == 8
        assert crop.seconds_start == recordings.stretches[-1][0] // RATE or not crop.waveform.any()
    silent = InMemory(np.zeros((10 * RATE, 1), np.float32))
    read_crop(silent, 0, RATE, MONO, np.random.default_rng(0))
    assert len(silent.stretches) == 8
    short = InMemory(np.zeros((RATE // 2, 1), np.float32))
    read_crop(short, 0, RATE, MONO, np.random.default_rng(0))
    assert len(short.stretches) == 1


def test_the_loudest_is_taken_of_silent_crops():
    ramp = (np.linspace(0, 1e-4, 10 * RATE, dtype=np.float32))[:, None]
    recordings = InMemory(ramp)
    crop = read_crop(recordings, 0, RATE, MONO, np.random.default_rng(3))
    assert crop.seconds_start == max(start for start, _ in recordings.stretches) // RATE


def test_the_same_stream_gives_the_same_crop(tmp_path: Path):
    write_sound(tmp_path / "a.wav", tone(3.0))
    recordings = open_recordings(tmp_path)
    options = AudioOptions(RATE, 2, flip_probability=0.5, gain_db=6.0)
    crops = [read_crop(recordings, 0, RATE, options, np.random.default_rng(s)) for s in (7, 7, 8)]
    assert torch.equal(crops[0].waveform, crops[1].waveform)
    assert not torch.equal(crops[0].waveform, crops[2].waveform)


def test_polarity_and_gain_vary_and_stay_in_full_scale():
    samples = tone(1.0)
    options = AudioOptions(RATE, 1, flip_probability=0.5, gain_db=12.0)
    factors = []
    for seed in range(200):
        crop = read_crop(InMemory(samples), 0, RATE, options, np.random.default_rng(seed))
        factors.append(float(crop.waveform[0, 1] / samples[1, 0]))
        assert crop.waveform.abs().max() <= 1.0 + 1e-6
    assert 0.4 < np.mean(np.sign(factors) < 0) < 0.6
    assert np.min(np.abs(factors)) < 10 ** (-11 / 20) and np.max(np.abs(factors)) > 1.9
    plain = read_crop(InMemory(samples), 0, RATE, MONO, np.random.default_rng(0))
    assert torch.equal(plain.waveform[0], torch.from_numpy(samples[:, 0]))


def test_a_file_that_ends_inside_the_window_can_fade_out():
    options = AudioOptions(RATE, 1, fade_seconds=0.01)
    ones = np.ones((RATE, 1), np.float32)
    crop = read_crop(InMemory(ones), 0, 2 * RATE, options, np.random.default_rng(0))
    assert crop.waveform[0, RATE - 1] == 0.0 and crop.waveform[0, RATE - 81] == 1.0
    assert crop.waveform[0].diff().abs().max() < 0.02
    full = read_crop(InMemory(ones), 0, RATE, options, np.random.default_rng(0))
    assert full.waveform.min() == 1.0


def test_channels():
    stereo = torch.tensor([[0.5, 1.0], [0.1, -3.0]])
    mono = stereo[:1]
    assert torch.equal(prepare(mono, RATE, AudioOptions(RATE, 2), "a"), mono.expand(2, -1))
    assert torch.equal(prepare(stereo, RATE, MONO, "a"), torch.tensor([[0.3, -1.0]]))
    assert torch.equal(
        prepare(stereo, RATE, AudioOptions(RATE, 2), "a"), torch.tensor([[0.5, 1.0], [0.1, -1.0]])
    )
    assert prepare(mono, RATE, AudioOptions(RATE, 6), "a").shape == (6, 2)
    for found, wanted in ((6, 2), (6, 1), (2, 6)):
        with pytest.raises(InvalidRequest, match=f"a has {found} channels, the model {wanted}"):
            prepare(torch.zeros(found, 9), RATE, AudioOptions(RATE, wanted), "a")


def test_nothing_is_resampled_silently():
    with pytest.raises(InvalidRequest, match=r"^a\.wav is at 48000 Hz, the model at 8000 Hz"):
        read_crop(InMemory(tone(), 48_000), 0, 100, MONO, np.random.default_rng(0))


@pytest.mark.parametrize(
    "wrong", [{"silence_tries": 0}, {"flip_probability": 1.5}, {"gain_db": -1.0}, {"channels": 0}]
)
def test_options_out_of_range_are_refused(wrong: dict):
    with pytest.raises(InvalidRequest):
        AudioOptions(**wrong)


def test_a_crop_of_a_long_file_does_not_read_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_sound(tmp_path / "a.flac", tone(20.0))
    recordings = open_recordings(tmp_path)
    counts = []
    read = soundfile.SoundFile.read

    def counted(self: soundfile.SoundFile, frames: int = -1, **rest) -> np.ndarray:
        counts.append(len(rest["out"]))
        return read(self, frames, **rest)

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    read_crop(recordings, 0, 1000, MONO, np.random.default_rng(0))
    assert counts == [1000]
