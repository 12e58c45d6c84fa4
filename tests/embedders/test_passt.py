"""PaSST: recorded values of hear21passt, its front end, windows, and what is skipped."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from auralith.embedders import Classifier, open_embedder, passt
from auralith.embedders.embedder import PEAK
from auralith.embedders.passt import (
    SHORTEST,
    PaSST,
    PaSSTNetwork,
    log_mel,
    ten_second_windows,
)
from auralith.embedders.passt import sound as heard
from auralith.errors import AudioError, CheckpointError
from auralith.sound.resampling import resample
from auralith.sound.spectrum import mel_filters
from scripts.embedder_peers import fill, sound
from tests.rounding import assert_rounding_only

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "embedders.json").read_text())["passt"]
RATE = 32_000


def network() -> PaSSTNetwork:
    made = PaSSTNetwork(width=24, depth=2, heads=3)
    fill(made.requires_grad_(False))
    return made


@pytest.mark.parametrize("seconds", [10, 1])
@torch.inference_mode()
def test_values_of_hear21passt(seconds: int) -> None:
    expected = {name: torch.tensor(values) for name, values in GOLDEN[str(seconds)].items()}
    picture = log_mel(sound(seconds, RATE)[None])
    # the peer's mel edges are in float32, of which 2e-5 is left
    assert float((picture[0, ::8, ::40] - expected["log_mel"]).abs().max()) < 5e-5
    for found, name in zip(network()(picture[:, None]), ("logits", "features"), strict=True):
        scale = float(expected[name].abs().max())
        assert float((found[0] - expected[name]).abs().max()) < 1e-5 * scale


def test_names_shapes_and_number_of_parameters_are_those_of_the_published_file() -> None:
    with torch.device("meta"):
        state = PaSSTNetwork().state_dict()
    assert sum(tensor.numel() for tensor in state.values()) == 86_153_758
    shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
    assert shapes["time_new_pos_embed"] == (1, 768, 1, 99)
    assert shapes["freq_new_pos_embed"] == (1, 768, 12, 1)
    assert shapes["new_pos_embed"] == (1, 2, 768)
    assert shapes["patch_embed.proj.weight"] == (768, 1, 16, 16)
    assert shapes["blocks.11.attn.qkv.weight"] == (2_304, 768)
    assert shapes["blocks.0.mlp.fc2.bias"] == (768,)
    assert shapes["head.0.bias"] == (768,) and shapes["head.1.weight"] == (527, 768)
    assert shapes["head_dist.weight"] == (527, 768)
    assert len(state) == 5 + 2 + 12 * 12 + 2 + 4 + 2


@torch.inference_mode()
def test_the_last_block_skips_what_nothing_reads() -> None:
    made = network()
    picture = log_mel(sound(3, RATE)[None])[:, None]
    whole = network()
    last = whole.blocks[-1]
    keep_all = last.forward
    last.forward = lambda x, kept: keep_all(x, x.shape[1])[:, :kept]
    assert_rounding_only(made(picture), lambda: whole(picture))


@pytest.mark.parametrize(
    ("seconds", "count"), [(1.6, 1), (10, 1), (10.5, 2), (20, 3), (30, 5), (47, 9), (120, 23)]
)
def test_windows_of_ten_seconds_end_in_zeros(seconds: float, count: int) -> None:
    mixed = torch.arange(1, round(seconds * RATE) + 1)[None].float()
    found = ten_second_windows(mixed)
    assert found.shape == (count, 320_000)
    last = mixed[0, 160_000 * (count - 1) :]
    assert torch.equal(found[-1, : len(last)], last[:320_000])
    assert (found[-1, len(last) :] == 0).all()


def test_a_sound_of_at_most_a_second_and_a_half_is_not_padded() -> None:
    assert ten_second_windows(torch.ones(1, 48_000)).shape == (1, 48_000)
    assert ten_second_windows(torch.ones(1, 48_001)).shape == (1, 320_000)


def formula(waveform: Tensor) -> np.ndarray:
    """Write the front end out in float64, frame by frame."""
    x = waveform.double().numpy()
    y = x[1:] - 0.97 * x[:-1]
    hann = np.zeros(1_024)
    hann[112:912] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(800) / 799)
    padded = np.pad(y, 512, mode="reflect")
    frames = [padded[320 * i : 320 * i + 1_024] * hann for i in range(1 + len(y) // 320)]
    power = np.abs(np.fft.rfft(np.stack(frames), axis=1)) ** 2
    mel = mel_filters(RATE, 1_024, 128, 0.0, 15_000.0, scale="kaldi", unit_area=False)
    return (np.log(mel.numpy() @ power.T + 1e-5) + 4.5) / 5


def test_the_front_end_is_the_formula_in_a_thousand_frames() -> None:
    waveform = sound(10, RATE)
    found = log_mel(waveform[None])[0].numpy()
    assert found.shape == (128, 1_000)
    assert np.abs(found - formula(waveform)).max() < 1e-4


def test_the_sound_is_mixed_resampled_and_leveled_in_this_order() -> None:
    stereo = torch.stack([sound(1, 44_100), 0.2 * sound(2, 44_100)[44_100:]])
    mixed = resample(stereo.mean(0, keepdim=True), 44_100, RATE)
    assert torch.equal(heard(stereo, 44_100), mixed * (PEAK / float(mixed.abs().max())))


def test_logits_and_features_have_a_row_for_each_window() -> None:
    made = PaSST(network())
    assert isinstance(made, Classifier)
    waveform = sound(25, RATE)[None]
    logits, features = made.logits(waveform, RATE), made.embed(waveform, RATE)
    assert logits.shape == (4, 527) == (4, len(made.classes)) and features.shape == (4, made.dim)
    # each window as if it were alone, at the level of the whole
    window = ten_second_windows(heard(waveform, RATE))[2]
    alone = network()(log_mel(window[None])[:, None])
    assert torch.allclose(logits[2], alone[0][0], atol=1e-4)
    assert torch.allclose(features[2], alone[1][0], atol=1e-4)


def test_the_shortest_sound_gives_one_patch_and_a_shorter_one_is_refused() -> None:
    made = PaSST(network())
    assert made.logits(sound(1, RATE)[None, :SHORTEST], RATE).shape == (1, 527)
    with pytest.raises(AudioError) as caught:
        made.logits(sound(1, RATE)[None, : SHORTEST - 1], RATE)
    assert caught.value.reason_code == "too_short" and "\n" not in str(caught.value)


def test_channels_in_antiphase_are_silent() -> None:
    waveform = sound(1, RATE)
    with pytest.raises(AudioError, match="silent"):
        PaSST(network()).embed(torch.stack([waveform, -waveform]), RATE)


def test_weights_load_strictly_and_nothing_else_does(tmp_path: Path) -> None:
    path = tmp_path / "passt-s-f128-p16-s10-ap.476-swa.pt"
    torch.save({"head_dist.bias": torch.zeros(527), "extra": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError) as caught:
        open_embedder("passt", path, "cpu")
    assert "PaSST" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_with_the_names_of_the_network_is_that_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "small.pt"
    torch.save(network().state_dict(), path)
    monkeypatch.setattr(passt, "PaSSTNetwork", lambda: PaSSTNetwork(width=24, depth=2, heads=3))
    opened, built = open_embedder("passt", path, "cpu"), PaSST(network())
    assert opened.protocol() == built.protocol()
    waveform = sound(1, RATE)[None]
    assert torch.equal(opened.embed(waveform, RATE), built.embed(waveform, RATE))
