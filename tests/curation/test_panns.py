"""PANNs' network: names, shapes and counts of the published file; its numbers against plain NumPy; loading."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from auralith.curation.tagging import panns, taggers
from auralith.curation.tagging.panns import (
    Cnn14DecisionLevelMax,
    fixed_tensors,
    fourier_rows,
    log_mel,
    mel_matrix,
    read_panns,
)
from auralith.curation.tagging.taggers import PannsTagger, check_hash, existing_weights
from auralith.errors import CheckpointError, InvalidRequest

TINY = (3, 4, 4, 5, 6, 8)
WINDOW = 320_000


@pytest.fixture(scope="module")
def tiny() -> Cnn14DecisionLevelMax:
    return tiny_network()


def tiny_network() -> Cnn14DecisionLevelMax:
    """Random weights and statistics, so that no batch norm is the identity."""
    network = Cnn14DecisionLevelMax(TINY).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(4)
    fixed = fixed_tensors()
    for name, tensor in network.state_dict().items():
        if name in fixed or not tensor.is_floating_point():
            continue
        scale = 0.8 if tensor.ndim > 1 else 0.2
        tensor.copy_(scale * torch.randn(tensor.shape, generator=generator))
        if name.endswith(("running_var", "bn0.weight")):
            tensor.abs_().add_(0.5)
    network.bn0.running_mean.fill_(-40)  # pyright: ignore[reportCallIssue, reportOptionalMemberAccess]
    network.bn0.running_var.fill_(300)  # pyright: ignore[reportCallIssue, reportOptionalMemberAccess]
    return network


def sound(num_samples: int, seed: int = 0) -> Tensor:
    """Noise whose level swings over 40 dB."""
    noise = torch.randn(1, num_samples, generator=torch.Generator().manual_seed(seed))
    return 0.1 * noise * 10 ** torch.sin(torch.arange(num_samples) / 5_000)


# names, shapes, counts


def published_shapes() -> dict[str, tuple[int, ...]]:
    """As the documentation of the published checkpoint lists them."""

    def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
        parts = ("weight", "bias", "running_mean", "running_var")
        return {f"{name}.{part}": (channels,) for part in parts} | {
            f"{name}.num_batches_tracked": ()
        }

    shapes: dict[str, tuple[int, ...]] = {
        "spectrogram_extractor.stft.conv_real.weight": (513, 1, 1024),
        "spectrogram_extractor.stft.conv_imag.weight": (513, 1, 1024),
        "logmel_extractor.melW": (513, 64),
        "fc1.weight": (2048, 2048),
        "fc1.bias": (2048,),
        "fc_audioset.weight": (527, 2048),
        "fc_audioset.bias": (527,),
    } | norm("bn0", 64)
    before = 1
    for block, width in enumerate((64, 128, 256, 512, 1024, 2048), 1):
        shapes[f"conv_block{block}.conv1.weight"] = (width, before, 3, 3)
        shapes[f"conv_block{block}.conv2.weight"] = (width, width, 3, 3)
        shapes |= norm(f"conv_block{block}.bn1", width) | norm(f"conv_block{block}.bn2", width)
        before = width
    return shapes


def test_names_shapes_and_counts_are_the_published_ones() -> None:
    with torch.device("meta"):
        network = Cnn14DecisionLevelMax()
    state = network.state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == published_shapes()
    assert len(state) == 84
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert trained == 80_753_615
    assert sum(p.numel() for p in network.parameters()) == 81_837_071
    assert sum(tensor.numel() * tensor.itemsize for tensor in state.values()) == 327_413_412


# the front end


def test_the_mel_matrix_has_the_published_sum_and_no_empty_band() -> None:
    mel = mel_matrix()
    assert float(mel.double().sum()) == pytest.approx(2.04813, abs=1e-5)
    assert (mel.amax(dim=0) > 0).all()
    hz = torch.arange(513) * 32_000 / 1024
    assert not mel[(hz < 50) | (hz > 14_000)].any()


def test_the_fourier_rows_are_a_windowed_transform() -> None:
    real, imaginary = fourier_rows()
    wave = sound(1024)[0].double().numpy()
    window = np.hanning(1025)[:-1]
    expected = np.fft.rfft(wave * window)
    np.testing.assert_allclose(real[:, 0].double().numpy() @ wave, expected.real, atol=1e-5)
    np.testing.assert_allclose(imaginary[:, 0].double().numpy() @ wave, expected.imag, atol=1e-5)


def test_torch_stft_is_the_convolution_with_the_stored_rows() -> None:
    waveform = sound(32_000, 1)
    real, imaginary = fourier_rows()
    padded = torch.nn.functional.pad(waveform[:, None], (512, 512), mode="reflect")
    parts = [torch.nn.functional.conv1d(padded, rows, stride=320) for rows in (real, imaginary)]
    power = parts[0].square() + parts[1].square()
    expected = 10 * torch.log10((power.mT @ mel_matrix()).clamp(min=1e-10))[:, None]
    assert (log_mel(waveform, mel_matrix()) - expected).abs().max() <= 5e-5


def test_silence_is_at_minus_100_db() -> None:
    assert (log_mel(torch.zeros(1, 9_920), mel_matrix()) == -100).all()


# the network


@pytest.mark.parametrize(
    ("num_samples", "frames"), [(WINDOW, 1_001), (9_920, 32), (32_000, 101), (3_200, 32), (1, 32)]
)
def test_frames_of_lengths(tiny: Cnn14DecisionLevelMax, num_samples: int, frames: int) -> None:
    found = tiny(sound(num_samples))
    assert found.framewise.shape == (1, frames, 527)
    assert found.clipwise.shape == (1, 527)


def test_a_segment_is_32_frames_and_the_last_one_fills_the_rest(
    tiny: Cnn14DecisionLevelMax,
) -> None:
    framewise = tiny(sound(WINDOW)).framewise[0]
    segments = framewise[: 31 * 32].reshape(31, 32, 527)
    assert (segments == segments[:, :1]).all()
    assert (framewise[31 * 32 :] == framewise[31 * 32 - 1]).all()
    assert len(segments[:, 0].unique(dim=0)) == 31


def test_clipwise_is_the_largest_segment(tiny: Cnn14DecisionLevelMax) -> None:
    found = tiny(sound(64_000))
    assert torch.equal(found.clipwise, found.framewise.amax(dim=1))


def test_short_sound_is_padded_with_zeros(tiny: Cnn14DecisionLevelMax) -> None:
    short = sound(3_000)
    padded = torch.nn.functional.pad(short, (0, 9_920 - 3_000))
    assert torch.equal(tiny(short).framewise, tiny(padded).framewise)


def test_items_of_a_batch_are_independent(tiny: Cnn14DecisionLevelMax) -> None:
    batch = torch.cat([sound(20_000, 1), sound(20_000, 2)])
    alone = tiny(batch[1:]).framewise
    assert torch.allclose(tiny(batch).framewise[1:], alone, atol=1e-6)


@pytest.mark.parametrize("num_samples", [9_920, 40_123])
def test_the_network_equals_plain_numpy(tiny: Cnn14DecisionLevelMax, num_samples: int) -> None:
    waveform = sound(num_samples, 3)
    state = {name: tensor.double().numpy() for name, tensor in tiny.state_dict().items()}
    expected = by_numpy(state, waveform[0].double().numpy())
    found = tiny(waveform).framewise[0].numpy()
    if num_samples > 9_920:
        assert expected.std(axis=0).max() > 0.02  # the weights let something through
    np.testing.assert_allclose(found, expected, atol=1e-5)


def by_numpy(state: dict[str, np.ndarray], wave: np.ndarray) -> np.ndarray:
    """The published description, written down again from its table, in float64."""
    padded = np.pad(wave, 512, mode="reflect")
    frames = [padded[start : start + 1024] for start in range(0, len(wave) + 1, 320)]
    rows = [
        state[f"spectrogram_extractor.stft.conv_{part}.weight"][:, 0] for part in ("real", "imag")
    ]
    power = sum((np.stack(frames) @ row.T) ** 2 for row in rows)
    mel = 10 * np.log10(np.maximum(power @ state["logmel_extractor.melW"], 1e-10))
    x = norm(state, "bn0", mel.T[:, :, None])[:, :, 0].T[None]  # (1, frame, mel)
    for block in range(1, 7):
        for layer in (1, 2):
            x = convolution(x, state[f"conv_block{block}.conv{layer}.weight"])
            x = np.maximum(norm(state, f"conv_block{block}.bn{layer}", x), 0)
        if block < 6:
            height, width = x.shape[1] // 2, x.shape[2] // 2
            x = x[:, : 2 * height, : 2 * width]
            x = x.reshape(len(x), height, 2, width, 2).mean(axis=(2, 4))
    x = x.mean(axis=2)
    infinite = np.pad(x, ((0, 0), (1, 1)), constant_values=-np.inf)
    zeros = np.pad(x, ((0, 0), (1, 1)))
    count = x.shape[1]
    shifts = range(3)
    largest = np.max([infinite[:, i : i + count] for i in shifts], axis=0)
    mean = sum(zeros[:, i : i + count] for i in shifts) / 3
    hidden = np.maximum((largest + mean).T @ state["fc1.weight"].T + state["fc1.bias"], 0)
    logits = hidden @ state["fc_audioset.weight"].T + state["fc_audioset.bias"]
    segments = 1 / (1 + np.exp(-logits))
    place = np.minimum(np.arange(len(frames)) // 32, count - 1)
    return segments[place]


def norm(state: dict[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    """Batch normalization of (channel, ...) by stored statistics."""

    def of(part: str) -> np.ndarray:
        return state[f"{name}.{part}"][:, None, None]

    scale = of("weight") / np.sqrt(of("running_var") + 1e-5)
    return (x - of("running_mean")) * scale + of("bias")


def convolution(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    views = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.einsum("cfmij,ocij->ofm", views, kernel)


# the file of weights


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading at a width that a test can afford; nothing else differs."""
    monkeypatch.setattr(panns, "Cnn14DecisionLevelMax", lambda: Cnn14DecisionLevelMax(TINY))


def save(path: Path, state: dict[str, Tensor], **beside: object) -> Path:
    torch.save({"iteration": 600_000, **beside, "model": state}, path)
    return path


@pytest.mark.usefixtures("narrow")
def test_a_file_loads_and_gives_its_network(tmp_path: Path) -> None:
    network = tiny_network()
    sampler = {"pointers": np.arange(5), "queue": [np.int64(3)]}  # what training leaves beside it
    path = save(tmp_path / "w.pth", network.state_dict(), sampler=sampler)
    loaded = read_panns(path)
    assert not loaded.training
    assert torch.equal(loaded(sound(20_000)).framewise, network(sound(20_000)).framewise)


def test_a_missing_file_says_its_name_its_size_and_where_it_is(tmp_path: Path) -> None:
    for path in (None, tmp_path / "gone.pth", tmp_path):
        with pytest.raises(CheckpointError) as error:
            existing_weights(path)
        for fact in ("Cnn14_DecisionLevelMax_mAP=0.385.pth", "327 MB", "zenodo", "3987831"):
            assert fact in str(error.value)


@pytest.mark.usefixtures("narrow")
def test_an_unknown_hash_is_refused_unless_allowed_or_named(tmp_path: Path) -> None:
    path = save(tmp_path / "w.pth", tiny_network().state_dict())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    window = np.zeros(WINDOW, np.float32)
    with pytest.raises(CheckpointError, match="--allow-unknown-weights") as error:
        PannsTagger(path, device="cpu").framewise(window)
    assert digest in str(error.value)
    named = PannsTagger(path, sha256=digest.upper(), device="cpu")
    assert named.framewise(window).shape == (1_000, 527)
    assert named.weights_sha256() == digest
    with pytest.raises(CheckpointError, match="fetch the file again"):
        PannsTagger(path, sha256="0" * 64, allow_unknown=True).framewise(window)
    with pytest.raises(InvalidRequest, match="64"):
        PannsTagger(path, sha256="abc").framewise(window)


def test_a_known_hash_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taggers, "KNOWN_SHA256", frozenset({"a" * 64}))
    check_hash("w.pth", "a" * 64, None, False)
    with pytest.raises(CheckpointError):
        check_hash("w.pth", "b" * 64, None, False)


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("name", list(fixed_tensors()))
def test_fixed_tensors_are_checked_not_ignored(tmp_path: Path, name: str) -> None:
    state = tiny_network().state_dict()
    state[name] = state[name] + 0.9e-4 * (state[name] == state[name].max())
    read_panns(save(tmp_path / "near.pth", state))
    for wrong in (state[name] + 1.1e-4, torch.full_like(state[name], float("nan"))):
        path = save(tmp_path / "far.pth", {**state, name: wrong})
        with pytest.raises(CheckpointError, match="another front end"):
            read_panns(path)


@pytest.mark.usefixtures("narrow")
def test_other_networks_are_refused(tmp_path: Path) -> None:
    state = tiny_network().state_dict()
    fewer = {name: tensor for name, tensor in state.items() if name != "fc1.bias"}
    more = {**state, "extra": torch.ones(1)}
    other = {**state, "fc1.bias": torch.ones(9)}
    for wrong, reason in ((fewer, r"fc1\.bias"), (more, "extra"), (other, "shape")):
        with pytest.raises(CheckpointError, match=reason):
            read_panns(save(tmp_path / "w.pth", wrong))


class Attack:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[object, ...]:
        return (os.mkdir, (str(self.witness),))


def test_a_file_with_code_in_it_is_refused_and_does_nothing(tmp_path: Path) -> None:
    torch.save({"model": Attack(tmp_path / "witness")}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="could run code"):
        read_panns(tmp_path / "w.pth")
    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize(
    "data", [b"", b"hello, this is text", b"PK\x03\x04 cut", b"\x80\x02}q\x00."]
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(data)
    with pytest.raises(CheckpointError):
        read_panns(tmp_path / "w.pth")


@pytest.mark.usefixtures("narrow")
def test_the_tagger_gives_1000_rows_for_a_window(tmp_path: Path) -> None:
    network = tiny_network()
    tagger = PannsTagger(
        save(tmp_path / "w.pth", network.state_dict()), allow_unknown=True, device="cpu"
    )
    assert tagger.facts.frames_per_window == 1_000
    waveform = sound(WINDOW)
    found = tagger.framewise(waveform[0].numpy())
    assert np.array_equal(found, network(waveform).framewise[0, :1_000].numpy())
    assert panns.WIDTHS[-1] == 2_048
