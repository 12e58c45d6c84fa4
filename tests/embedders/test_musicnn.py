"""musicnn against TensorFlow's numbers: with random weights everywhere, with the published ones where they are."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import GOLDEN, relative_error
from musicnn_cases import SAMPLE_RATE, random_tensors, shapes, sound, windows, write_bundle
from safetensors.torch import load_file
from torch import Tensor

from auralith.embedders import Classifier, Embedder, open_embedder
from auralith.embedders.musicnn import (
    MSD_TAGS,
    MTT_TAGS,
    WINDOW_FRAMES,
    Musicnn,
    MusicnnNetwork,
    log_mel,
    read_musicnn,
    windows_of,
)
from auralith.errors import AudioError, CheckpointError
from auralith.sound.resampling import resample
from auralith.sound.spectrum import mel_filters
from auralith.weights import find_weights

TOLERANCE = 1e-5
"""Sums of 3,927 products in another order: √(3,927 / 2) roundings of 2^-24, 2.6e-6, in each of a few layers."""


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN / "musicnn" / "golden.safetensors")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("musicnn") / "MTT_musicnn"
    write_bundle(folder, random_tensors(shapes()))
    return folder


@pytest.fixture(scope="module")
def network(folder: Path) -> MusicnnNetwork:
    return read_musicnn(folder)


def test_network_equals_tensorflow(network: MusicnnNetwork, golden: dict[str, Tensor]) -> None:
    heard = network(torch.from_numpy(windows()))
    assert relative_error(heard.embedding, golden["None.embedding"]) <= TOLERANCE
    assert relative_error(heard.logits, golden["None.logits"]) <= TOLERANCE


@pytest.mark.parametrize("name", ["MTT", "MSD"])
def test_published_weights_equal_tensorflow(name: str, golden: dict[str, Tensor]) -> None:
    try:
        found = find_weights(f"musicnn-{name.lower()}")
    except CheckpointError:
        pytest.skip(f"`auralith weights fetch musicnn-{name.lower()}` was not run")
    network = read_musicnn(found.path)
    heard = network(torch.from_numpy(windows()))
    assert relative_error(heard.embedding, golden[f"{name}.embedding"]) <= TOLERANCE
    assert relative_error(heard.logits, golden[f"{name}.logits"]) <= TOLERANCE
    embedder = Musicnn(f"musicnn-{name.lower()}", network, found.sha256)
    logits = embedder.logits(torch.from_numpy(sound())[None], SAMPLE_RATE)
    # powers at the edge between two numbers of float16 fall on either side, each of them 5e-4 of its value apart
    assert relative_error(logits, golden[f"{name}.sound.logits"]) <= 1e-3


def test_front_end_equals_librosa(golden: dict[str, Tensor]) -> None:
    found = log_mel(torch.from_numpy(sound()))
    assert len(found) == 1 + 7 * SAMPLE_RATE // 256
    found, expected = found[::8], golden["log_mel"]
    assert float(expected.max()) > 4.9  # a power beyond 6.5, which float16 can't take times 10,000
    # one step of float16 where the power lies at an edge; elsewhere rounding of float32
    assert float((found - expected).abs().max()) <= np.log10(1 + 2**-10)
    assert float(((found - expected).abs() > 1e-5).float().mean()) < 0.01


def test_front_end_by_formula() -> None:
    """A tone on bin 32: Hann's window, 256 in sum, gives |0.5·256/2|² there, and a quarter of it in both neighbors."""
    time = torch.arange(SAMPLE_RATE, dtype=torch.float64) / SAMPLE_RATE
    frame = log_mel(0.5 * torch.cos(2 * torch.pi * 1_000 * time).float())[30]
    power = torch.zeros(257, dtype=torch.float64)
    power[31:34] = 64**2 * torch.tensor([1 / 4, 1, 1 / 4])
    expected = torch.log10(10_000 * (mel_filters(SAMPLE_RATE, 512, 96) @ power) + 1)
    assert float(expected.max()) > 5
    # half a step of float16
    assert float((frame - expected).abs().max()) <= np.log10(1 + 2**-11) + 1e-5


@pytest.mark.parametrize(
    ("frames", "count"), [(1, 1), (93, 1), (186, 1), (187, 1), (373, 1), (374, 2), (1_000, 5)]
)
def test_windows(frames: int, count: int) -> None:
    rows = torch.arange(frames)[:, None].expand(-1, 96).float()
    found = windows_of(rows)
    assert found.shape == (count, WINDOW_FRAMES, 96)
    expected = torch.arange(count * WINDOW_FRAMES) % frames
    assert torch.equal(found[:, :, 0].flatten(), expected.float())


def test_as_an_embedder(folder: Path) -> None:
    embedder = open_embedder("musicnn-mtt", folder, "cpu")
    assert isinstance(embedder, Embedder) and isinstance(embedder, Classifier)
    assert len(embedder.classes) == len(set(embedder.classes)) == 50
    stereo = torch.from_numpy(np.stack([sound(), sound()[::-1].copy()]))
    found = embedder.embed(stereo, 44_100)
    assert found.shape == (1, 200) and found.dtype == torch.float32  # of 2.54 s
    assert embedder.protocol()["weights_sha256"] == find_weights("musicnn-mtt", folder).sha256
    mono = resample(stereo.mean(dim=0, keepdim=True), 44_100, SAMPLE_RATE)
    assert torch.equal(found, embedder.embed(mono, SAMPLE_RATE))


def test_level_is_kept_and_other_windows_do_not_matter(network: MusicnnNetwork) -> None:
    embedder = Musicnn("musicnn-mtt", network, "0" * 64)
    waveform = torch.from_numpy(sound())[None]
    whole = embedder.embed(waveform, SAMPLE_RATE)
    assert len(whole) == 2
    # frame 187 ends 256 samples after its middle: so much sound the first window needs
    first = embedder.embed(waveform[:, : 187 * 256 + 256], SAMPLE_RATE)
    assert torch.equal(first[0], whole[0])
    assert not torch.allclose(embedder.embed(waveform / 4, SAMPLE_RATE), whole)


@pytest.mark.parametrize(
    ("waveform", "code"),
    [
        (torch.zeros(1, 20_000), "silent"),
        (torch.ones(1, 256), "too_short"),
        (torch.full((1, 20_000), torch.nan), "nan_samples"),
        (torch.stack([torch.ones(20_000), -torch.ones(20_000)]), "silent"),
    ],
)
def test_unusable_sounds(network: MusicnnNetwork, waveform: Tensor, code: str) -> None:
    embedder = Musicnn("musicnn-mtt", network, "0" * 64)
    with pytest.raises(AudioError) as caught:
        embedder.embed(waveform, SAMPLE_RATE)
    assert caught.value.reason_code == code


def test_loud_sound_stays_finite(network: MusicnnNetwork) -> None:
    loud = 3 * torch.sign(torch.from_numpy(sound()))[None]
    assert Musicnn("musicnn-mtt", network, "0" * 64).embed(loud, SAMPLE_RATE).isfinite().all()


def test_other_networks_are_refused(tmp_path: Path) -> None:
    tensors = random_tensors(shapes())
    tensors["dense_1/kernel"] = tensors["dense_1/kernel"][:, :49]
    write_bundle(tmp_path / "a", tensors)
    with pytest.raises(CheckpointError, match=r"dense_1/kernel has the shape \(200, 49\)"):
        read_musicnn(tmp_path / "a")
    del tensors["conv2d_3/bias"]
    write_bundle(tmp_path / "b", tensors)
    with pytest.raises(CheckpointError, match=r"conv2d_3/bias is missing"):
        read_musicnn(tmp_path / "b")


def test_number_of_parameters_and_tags() -> None:
    trained = sum(p.numel() for p in MusicnnNetwork().parameters())
    assert 780_000 < trained < 800_000
    assert len(MTT_TAGS) == len(MSD_TAGS) == 50
    assert MTT_TAGS[0] == "guitar" and MTT_TAGS[-1] == "choral"
    assert MSD_TAGS[0] == "rock" and MSD_TAGS[-1] == "happy"
