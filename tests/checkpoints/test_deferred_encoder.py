"""A model that only generates never reads its encoder; one that encodes computes with the weights it was loaded with."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from auralith import GenerationRequest, load
from auralith.checkpoints import open_autoencoder
from auralith.jobs.model_cache import weights_size
from auralith.models.deferred import is_deferred
from auralith.models.latent_codec import LatentCodec
from auralith.pipeline import EMBEDDED, Auralith
from tests.conftest import GOLDEN
from tests.sa3 import SIZES, write_sa3

CPU = torch.device("cpu")


@pytest.fixture(params=["embedded", "sao_tiny", *SIZES])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param in SIZES:
        return write_sa3(request.param, tmp_path / "model")
    source = EMBEDDED if request.param == "embedded" else GOLDEN / request.param
    return Path(shutil.copytree(source, tmp_path / "model"))


def loaded(folder: Path, dtype: str = "float32") -> Auralith:
    return load(folder, device="cpu", dtype=dtype)


def sound(model: Auralith, frames: int = 3) -> Tensor:
    audio = model.config.audio
    generator = torch.Generator().manual_seed(1)
    return torch.randn(audio.channels, frames * audio.samples_per_frame, generator=generator) / 4


def encoded_at_once(folder: Path, waveform: Tensor, scale: float, dtype: torch.dtype) -> Tensor:
    """Return the latents of an autoencoder that was opened whole."""
    whole = open_autoencoder(folder, device=CPU, dtype=dtype).autoencoder
    assert not is_deferred(whole.get_submodule("encoder"))
    with torch.no_grad():
        return LatentCodec(whole, scale).encode(waveform[None]).mean[0]


def test_generating_leaves_the_encoder_alone(folder: Path) -> None:
    model = loaded(folder)
    seconds = model.config.audio.seconds(3 * model.config.audio.samples_per_frame)
    request = GenerationRequest("rain", seconds_total=seconds, steps=1, seed=0)
    assert len(model.generate(request).waveform)
    list(model.stream(request))
    assert is_deferred(model.autoencoder.get_submodule("encoder"))
    assert not is_deferred(model.autoencoder.get_submodule("decoder"))
    before = weights_size([model])
    model.encode(sound(model))
    encoder = sum(p.nbytes for p in model.autoencoder.get_submodule("encoder").parameters())
    assert weights_size([model]) == before + encoder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_encodes_as_if_it_had_been_there(folder: Path, dtype: str) -> None:
    model = loaded(folder, dtype)
    waveform, scale = sound(model), model.config.latent_scale
    with torch.inference_mode():  # weights that come to life in here must serve outside as well
        found = model.encode(waveform)
    assert torch.equal(found, encoded_at_once(folder, waveform, scale, getattr(torch, dtype)))
    assert torch.equal(model.encode(waveform), found)
    assert all(
        not p.is_inference() for p in model.autoencoder.get_submodule("encoder").parameters()
    )


def test_its_state_is_whole(folder: Path) -> None:
    found = loaded(folder).autoencoder.state_dict()
    expected = open_autoencoder(folder, device=CPU, dtype=torch.float32).autoencoder.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_its_weights_are_those_of_the_file_that_was_opened(folder: Path) -> None:
    """Another model lies there when it encodes."""
    model = loaded(folder)
    waveform, scale = sound(model), model.config.latent_scale
    expected = encoded_at_once(folder, waveform, scale, torch.float32)
    weights = folder / "model.safetensors"
    other = {name: tensor + 1 for name, tensor in load_file(weights).items()}
    weights.unlink()
    save_file(other, weights)
    assert torch.equal(model.encode(waveform), expected)
