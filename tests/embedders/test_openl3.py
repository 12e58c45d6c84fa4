"""OpenL3: recorded values of torchopenl3, the first front end as a formula, windows, the chain, batch norms folded in."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from auralith.embedders import Embedder
from auralith.embedders.embedder import CPU, PEAK
from auralith.embedders.kaiser_best import kaiser_best
from auralith.embedders.openl3 import (
    FoldedNetwork,
    FrontEnd,
    OpenL3,
    OpenL3Network,
    one_second_windows,
    spectrogram,
)
from auralith.errors import AudioError
from auralith.sound.resampling import resample
from auralith.sound.spectrum import mel_filters
from scripts.embedder_peers import fill, sound
from tests.rounding import assert_rounding_only

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "embedders.json").read_text())["openl3"]
FRONT_ENDS: tuple[FrontEnd, ...] = ("openl3-0.4", "kapre-0.1.4")


def network(*, small: bool = True) -> OpenL3Network:
    made = OpenL3Network((4, 4, 8, 8, 8, 8, 8), 6) if small else OpenL3Network()
    fill(made.requires_grad_(False))
    return made


def embedder(**options: str) -> OpenL3:
    return OpenL3("openl3-env", network(), **options)  # pyright: ignore[reportArgumentType]


def test_the_second_front_end_is_that_of_torchopenl3() -> None:
    found = spectrogram(sound(1, 48_000)[None], "kapre-0.1.4")[0, 0, ::8, ::10]
    assert found.shape == (32, 20)
    assert float((found - torch.tensor(GOLDEN["spectrogram"])).abs().max()) < 1e-3  # dB


@torch.inference_mode()
def test_the_network_is_that_of_torchopenl3() -> None:
    full, expected = network(small=False), torch.tensor(GOLDEN["embedding"])
    picture = spectrogram(sound(1, 48_000)[None], "kapre-0.1.4")
    scale = float(expected.abs().max())
    for run in (full, FoldedNetwork(full, CPU, torch.float32)):
        assert float((run(picture)[0] - expected).abs().max()) < 1e-5 * scale


def test_the_number_of_parameters_is_that_of_the_published_network() -> None:
    full = OpenL3Network()
    trainable = sum(parameter.numel() for parameter in full.parameters())
    assert trainable == 4_687_042
    assert trainable + sum(buffer.numel() for buffer in full.buffers()) == 4_689_860


@torch.inference_mode()
def test_folding_changes_rounding_only() -> None:
    small = network()
    picture = spectrogram(torch.stack([sound(1, 48_000), sound(2, 48_000)[48_000:]]), "openl3-0.4")
    folded = FoldedNetwork(small, CPU, torch.float32)
    assert_rounding_only(folded(picture), lambda: small(picture))


def formula(window: Tensor) -> np.ndarray:
    """Write openl3 0.4's front end out in float64: frame by frame, as kapre 0.3 defines it."""
    padded = np.concatenate([window.double().numpy(), np.zeros(1_964)])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2_048) / 2_048)
    frames = [padded[start : start + 2_048] * hann for start in range(0, 48_000, 242)]
    magnitudes = np.abs(np.fft.rfft(np.stack(frames), axis=1))
    mel = mel_filters(48_000, 2_048, 256).numpy() @ magnitudes.T
    decibels = 10 * np.log10(np.maximum(mel, 1e-10))
    return np.maximum(decibels - decibels.max(), -80)


def test_the_first_front_end_is_the_formula() -> None:
    window = sound(1, 48_000)
    found = spectrogram(window[None], "openl3-0.4")[0, 0].numpy()
    assert found.shape == (256, 199)
    assert np.abs(found - formula(window)).max() < 0.02  # dB, of the quietest bands


@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_a_silent_window_is_at_its_maximum_throughout(front_end: FrontEnd) -> None:
    halves = torch.cat([sound(1, 48_000)[:24_000], torch.zeros(24_000)])
    found = spectrogram(torch.stack([torch.zeros(48_000), halves]), front_end)
    assert found.shape == (2, 1, 256, 199)
    assert (found[0] == 0).all()
    assert float(found[1].max()) == 0 and float(found[1].min()) == -80


@pytest.mark.parametrize("front_end", FRONT_ENDS)
@pytest.mark.parametrize("hz", [300.0, 2_000.0, 15_000.0])
def test_a_tone_is_loudest_in_its_band(front_end: FrontEnd, hz: float) -> None:
    t = torch.arange(48_000) / 48_000
    loudest = spectrogram(torch.sin(2 * math.pi * hz * t)[None], front_end)[0, 0].mean(1).argmax()
    scale = "slaney" if front_end == "openl3-0.4" else "htk"
    filters = mel_filters(48_000, 2_048, 256, scale=scale, unit_area=False)
    nearest = filters[:, round(hz * 2_048 / 48_000)].argmax()
    assert abs(int(loudest) - int(nearest)) <= 1


@pytest.mark.parametrize(
    ("num_samples", "count"),
    [
        (1, 1),
        (24_000, 1),
        (24_001, 2),
        (48_000, 2),
        (480_000, 20),
        (1_440_000, 60),
        (47 * 48_000, 94),
        (2_282_592, 96),  # 2,097,152 samples at 44.1 kHz: 47.554 s
    ],
)
def test_windows_are_centered_on_every_half_second(num_samples: int, count: int) -> None:
    channel = torch.arange(1, num_samples + 1).float()
    found = one_second_windows(channel)
    assert found.shape == (count, 48_000)
    padded = torch.zeros(24_000 * (count + 1))
    padded[24_000 : 24_000 + num_samples] = channel
    for number in {0, count - 1}:
        assert torch.equal(found[number], padded[24_000 * number :][:48_000])


def test_the_chain_is_level_then_44100_then_48000() -> None:
    stereo = torch.stack([sound(1.5, 32_000), 0.5 * sound(1.5, 32_000).flip(0)])
    at_peak = stereo * (PEAK / stereo.abs().max())
    at_44100 = resample(at_peak, 32_000, 44_100)
    assert torch.equal(embedder().sound(stereo, 32_000), kaiser_best(at_44100, 44_100, 48_000))
    by_soxr = embedder(resampler="soxr").sound(stereo, 32_000)
    assert torch.equal(by_soxr, resample(at_44100, 44_100, 48_000))
    # 48 kHz goes through the bandwidth of the evaluation as well
    assert embedder().sound(sound(1, 48_000)[None], 48_000).shape == (1, 48_000)


def test_left_and_right_stand_side_by_side_and_mono_for_both() -> None:
    left, right = sound(1.2, 44_100), sound(2.2, 44_100)[44_100:]
    made = embedder()
    assert isinstance(made, Embedder)
    found = made.embed(torch.stack([left, right]), 44_100)
    assert found.shape == (3, made.dim) == (3, 12) and found.dtype == torch.float32
    swapped = made.embed(torch.stack([right, left]), 44_100)
    assert torch.equal(found, swapped.roll(6, dims=1))
    mono = made.embed(left[None], 44_100)
    assert torch.equal(mono, made.embed(left.expand(2, -1), 44_100))
    assert torch.equal(mono[:, :6], mono[:, 6:])


def test_a_window_is_the_same_in_a_longer_sound() -> None:
    """The peak comes first in both, so that the level is the same; 10 s are whole windows."""
    waveform = sound(4, 44_100)[None]
    made = embedder()
    long, short = made.embed(waveform, 44_100), made.embed(waveform[:, :88_200], 44_100)
    assert float(waveform[:, :88_200].abs().max()) == float(waveform.abs().max())
    # the last window of the short one sees its end
    assert torch.allclose(long[:3], short[:3], rtol=0.02, atol=0.02)


def test_bfloat16_is_close_and_another_protocol() -> None:
    waveform = sound(1, 44_100)[None]
    exact, rounded = (
        OpenL3("openl3-env", network(), dtype=dtype) for dtype in (torch.float32, torch.bfloat16)
    )
    found, expected = rounded.embed(waveform, 44_100), exact.embed(waveform, 44_100)
    assert found.dtype == torch.float32
    assert float((found - expected).norm() / expected.norm()) < 0.03
    assert exact.protocol() != rounded.protocol()


def test_all_that_changes_a_value_is_in_the_protocol() -> None:
    other = network()
    other.audio_embedding_layer.weight[0, 0, 0, 0] += 1e-3
    protocols = [
        json.dumps(made.protocol(), sort_keys=True)
        for made in (
            embedder(),
            embedder(front_end="kapre-0.1.4"),
            embedder(resampler="soxr"),
            OpenL3("openl3-env", other),
            OpenL3("openl3-music", network()),
        )
    ]
    assert len(set(protocols)) == 5
    assert embedder().protocol() == embedder().protocol()


def test_silence_and_more_channels_than_two_are_refused() -> None:
    with pytest.raises(AudioError, match="mono or stereo"):
        embedder().embed(torch.ones(3, 44_100), 44_100)
    with pytest.raises(AudioError, match="silent"):
        embedder().embed(torch.zeros(2, 44_100), 44_100)
