"""The Keras file of OpenL3's weights: what is read of it, and what is refused."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from auralith.cli.main import run
from auralith.embedders import open_embedder
from auralith.embedders.openl3 import OpenL3Network
from auralith.embedders.openl3_weights import convert_openl3, read_openl3
from auralith.errors import CheckpointError
from scripts.embedder_peers import fill, sound
from scripts.random_weights import Change, write_keras

h5py = pytest.importorskip("h5py")

NAME = "openl3_audio_mel256_env-v0_4_0.h5.gz"


def state() -> dict[str, Tensor]:
    network = OpenL3Network()
    fill(network.requires_grad_(False))
    return network.state_dict()


def keras_file(path: Path, change: Change = lambda file: None, first: int = 4) -> Path:
    return write_keras(path, state(), first, change)


def test_a_keras_file_is_read_whatever_its_layers_are_counted_from(tmp_path: Path) -> None:
    for first in (1, 9):
        found = read_openl3(keras_file(tmp_path / NAME, first=first)).state_dict()
        expected = state()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_converted_once_it_is_the_same_embedder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = keras_file(tmp_path / NAME)
    run(["weights", "convert", "openl3-env", "--weights", str(source)])
    target = Path(capsys.readouterr().out.strip())
    assert target == tmp_path / "openl3_audio_mel256_env-v0_4_0.safetensors"
    first, second = (open_embedder("openl3-env", path, "cpu") for path in (source, target))
    assert first.protocol() == second.protocol()
    waveform = sound(0.4, 44_100)[None]
    assert torch.equal(first.embed(waveform, 44_100), second.embed(waveform, 44_100))
    with pytest.raises(CheckpointError, match="Keras"):
        convert_openl3(target)


def no_norm(file: Any) -> None:
    names = list(file.attrs["layer_names"])
    file.attrs["layer_names"] = [name for name in names if "batch_normalization_5" not in str(name)]


def front_end(file: Any) -> None:
    group = file["melspectrogram"]
    group.attrs["weight_names"] = [b"melspectrogram/freq2mel:0"]
    group["melspectrogram/freq2mel:0"] = np.zeros((4, 4), "float32")


def replaced(file: Any, value: Any) -> None:
    place = "conv2d_4/conv2d_4/bias:0"
    del file[place]
    file[place] = value


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (no_norm, "missing"),
        (front_end, "melspectrogram"),
        (lambda file: replaced(file, np.zeros(63, "float32")), "shape"),
        (lambda file: replaced(file, np.full(64, np.nan, "float32")), "finite"),
        (lambda file: replaced(file, np.zeros(64, "int32")), "floats"),
        (lambda file: replaced(file, h5py.ExternalLink("other.h5", "/secret")), "link"),
        (lambda file: replaced(file, h5py.SoftLink("/conv2d_5/conv2d_5/bias:0")), "link"),
        (lambda file: file["conv2d_4"].attrs.__delitem__("weight_names"), "weight_names"),
        (lambda file: file.attrs.__delitem__("layer_names"), "layer_names"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, change: Change, reason: str) -> None:
    with pytest.raises(CheckpointError, match=reason) as caught:
        read_openl3(keras_file(tmp_path / NAME, change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no gzip",
        gzip.compress(b"no HDF5", mtime=0),
        gzip.compress(bytes(200_000_000), 1, mtime=0),
    ],
)
def test_what_is_no_keras_file_is_refused_before_it_fills_the_memory(
    tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / NAME
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="v0_4_0") as caught:
        read_openl3(path)
    assert "\n" not in str(caught.value)


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = keras_file(tmp_path / NAME)
    path.write_bytes(path.read_bytes()[:-1_000])
    with pytest.raises(CheckpointError):
        read_openl3(path)


def test_missing_weights_are_named_with_the_way_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="weights fetch openl3-music"):
        open_embedder("openl3-music", tmp_path, "cpu")
