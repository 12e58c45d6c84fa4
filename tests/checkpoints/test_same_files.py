"""Files of SAME alone: published tables, reading and writing, what is refused."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from auralith.checkpoints import convert, inspect_checkpoint, open_autoencoder
from auralith.checkpoints.transform import published_weights, to_diffusers
from auralith.config import SameConfig
from auralith.errors import CheckpointError
from auralith.families.family import Spec
from auralith.families.model_config import spec_from_json, spec_to_json
from auralith.families.sections import Section
from auralith.families.stable_audio_3.autoencoder import SAME
from tests.conftest import GOLDEN, relative_error

FOLDER = GOLDEN / "sa3"
CPU = torch.device("cpu")


def config(name: str) -> Spec:
    return spec_from_json(json.loads((FOLDER / f"{name}.model_config.json").read_bytes()))


def table(name: str) -> dict[str, tuple[int, ...]]:
    with (FOLDER / f"{name}.tsv").open() as file:
        rows = list(csv.reader(file, delimiter="\t"))[1:]
    return {row[0]: tuple(json.loads(row[1])) for row in rows}


@pytest.mark.parametrize(("name", "count"), [("SAME-S", 244), ("SAME-L", 472)])
def test_names_and_shapes_are_the_published_ones(name: str, count: int) -> None:
    found = {
        tensor.removeprefix("pretransform.model."): value.shape
        for tensor, value in published_weights(config(name)).items()
    }
    assert len(found) == count
    assert found == table(name)


def test_diffusers_names_and_shapes_are_those_of_its_class() -> None:
    spec = config("SAME-L")
    found = to_diffusers(published_weights(spec), spec)
    shapes = {name.removeprefix("vae."): tensor.shape for name, tensor in found.items()}
    assert shapes == table("diffusers_same_l")


@pytest.mark.parametrize("name", ["SAME-S", "SAME-L"])
def test_a_config_that_is_written_reads_the_same(name: str) -> None:
    spec = config(name)
    assert spec_from_json(spec_to_json(spec)) == spec


@pytest.mark.parametrize("name", ["same_s_tiny", "same_l_tiny"])
def test_a_codec_is_inspected_and_written_bit_for_bit(name: str, tmp_path: Path) -> None:
    found = inspect_checkpoint(FOLDER / name)
    assert found.layout == "autoencoder" and found.spec.model is None
    stored = load_file(FOLDER / name / "model.safetensors")
    assert found.num_tensors == len(stored)
    trained = [n for n in stored if not n.endswith(("inv_freq", "noise_scaling_factor"))]
    assert found.total_parameters == sum(stored[n].numel() for n in trained)
    convert(FOLDER / name, tmp_path / "out")
    written = load_file(tmp_path / "out" / "model.safetensors")
    assert_equal(written, stored)


def test_tensors_that_carry_nothing_may_be_missing(tmp_path: Path) -> None:
    folder = codec_without(tmp_path, "inv_freq", "noise_scaling_factor")
    found = open_autoencoder(folder, device=CPU, dtype=torch.float32).autoencoder.state_dict()
    plain = open_autoencoder(FOLDER / "same_s_tiny", device=CPU, dtype=torch.float32)
    assert_equal(found, plain.autoencoder.state_dict())


def test_any_other_tensor_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="running_std"):
        inspect_checkpoint(codec_without(tmp_path, "running_std"))


def codec_without(folder: Path, *endings: str) -> Path:
    """A copy of a codec that lacks the tensors whose names end so."""
    stored = load_file(FOLDER / "same_s_tiny" / "model.safetensors")
    save_file(
        {n: t for n, t in stored.items() if not n.endswith(endings)}, folder / "model.safetensors"
    )
    written = (FOLDER / "same_s_tiny" / "model_config.json").read_bytes()
    (folder / "model_config.json").write_bytes(written)
    return folder


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize(
    ("side", "change", "message"),
    [
        ("encoder", {"chunk_size": 24}, "chunk_size"),
        ("encoder", {"chunk_size": 48}, "chunk_size"),
        ("decoder", {"strides": [8]}, "strides"),
        ("decoder", {"sliding_window": [1, 2]}, "sliding_window"),
        ("decoder", {"sinusoidal_blocks": [-1]}, "sinusoidal_blocks"),
        ("encoder", {"dim_heads": 48}, "dim_heads"),
        ("encoder", {"transformer_depths": [2, 2]}, "transformer_depths"),
        ("encoder", {"in_channels": 7}, "in_channels"),
        ("decoder", {"chunk_midpoint_shift": False}, "chunk_midpoint_shift"),
    ],
)
def test_what_the_network_has_no_form_for_is_refused(
    side: str, change: dict[str, object], message: str
) -> None:
    data = json.loads((FOLDER / "same_s_tiny" / "model_config.json").read_bytes())
    data["model"][side]["config"] |= change
    with pytest.raises(CheckpointError, match=message) as error:
        spec_from_json(data)
    assert "\n" not in str(error.value)


def test_diffusers_runs_what_is_written(tmp_path: Path) -> None:
    """Its class computes what ours does, and what is read back is the codec bit for bit."""
    from diffusers.models.autoencoders.autoencoder_same import AutoencoderSAME

    convert(FOLDER / "same_l_tiny", tmp_path / "out", "diffusers")
    peer = AutoencoderSAME.from_pretrained(tmp_path / "out")
    codec = open_autoencoder(tmp_path / "out", device=CPU, dtype=torch.float32).autoencoder
    plain = open_autoencoder(FOLDER / "same_l_tiny", device=CPU, dtype=torch.float32).autoencoder
    assert_equal(codec.state_dict(), plain.state_dict())
    generator = torch.Generator().manual_seed(0)
    waveform = torch.randn(1, 2, 9 * 64, generator=generator)
    with torch.inference_mode():
        latents = codec.encode(waveform).mean
        assert relative_error(latents, peer.encode(waveform, return_dict=False)[0]) <= 1e-5
        assert (
            relative_error(codec.decode(latents), peer.decode(latents, return_dict=False)[0])
            <= 1e-5
        )
    convert(tmp_path / "out", tmp_path / "back")
    stored = load_file(FOLDER / "same_l_tiny" / "model.safetensors")
    assert_equal(load_file(tmp_path / "back" / "model.safetensors"), stored)


def test_diffusers_has_no_form_for_chunks(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="attention in chunks has no diffusers form"):
        convert(FOLDER / "same_s_tiny", tmp_path / "out", "diffusers")
    assert not (tmp_path / "out").exists()


def test_a_published_large_codec_is_what_diffusers_is_told() -> None:
    spec = config("SAME-L")
    form = SAME.diffusers
    assert form is not None and isinstance(spec.autoencoder, SameConfig)
    audio, found = form.read(Section(form.to_json(spec.audio, spec.autoencoder), "config.json"))
    silent = [
        replace(network, token_noise=0.0)
        for network in (spec.autoencoder.encoder, spec.autoencoder.decoder)
    ]
    assert audio == spec.audio
    assert found == replace(spec.autoencoder, encoder=silent[0], decoder=silent[1])
