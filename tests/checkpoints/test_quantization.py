"""Models in int8: loaded so or stored so, the same either way, near the floats, and refused where floats are needed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from auralith.checkpoints import (
    AdapterConfig,
    AdapterMetadata,
    convert,
    inspect_checkpoint,
    merge_adapters,
    open_checkpoint,
    save_adapter,
)
from auralith.checkpoints.opening import weight_bytes
from auralith.cli.main import run
from auralith.data.recording import StoredRecordings
from auralith.errors import AuralithError, CheckpointError, InvalidRequest
from auralith.jobs.model_cache import weights_size
from auralith.models.dit import DiT
from auralith.models.quantized import FLOAT, QuantizedLinear, quantized_layers
from auralith.pipeline import Auralith, load
from auralith.request import GenerationRequest
from auralith.resources import INT8, choose_dtype, choose_format
from auralith.training.finetune import FinetuneSettings, finetune
from tests.checkpoints.test_adapters import adapted_dit
from tests.conftest import GOLDEN, TINY_MODELS, open_tiny
from tests.sa3 import SIZES

CPU = torch.device("cpu")
TINY = GOLDEN / "sao_tiny"
REQUEST = GenerationRequest("rain", seconds_total=0.4, steps=3, seed=1)
DRIFT = 0.04
"""Relative error of the velocity of one step, at most, in the root mean square.

Codes are off by up to half a step of peak / 127 or, where the pairs of a matrix limit it, of a little more. For Gaussian
values with a peak of three deviations that is 0.7 % of a value on average, and 1 % of a product of two. The two blocks of the
tiny models have twelve such products, each of them a part of the velocity at most: √12 · 1 % = 3.5 %.
"""
FLIPPED = DRIFT / 20
"""The same between two ways to multiply: rounding of floats decides between two codes of some activations, one in tens of
thousands, and such a code is off by a whole step."""


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("quantized") / "tiny"
    convert(TINY, out, quantize="int8")
    return out


@pytest.fixture
def copy(stored: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stored, tmp_path / "copy"))


@pytest.fixture(params=[*TINY_MODELS, *SIZES])
def folder(request: pytest.FixtureRequest, sa3_folders: dict[str, Path]) -> Path:
    """The folder of a tiny model of each family and size."""
    name = request.param
    return sa3_folders[name] if name in sa3_folders else GOLDEN / name


def velocity(model: Auralith) -> Tensor:
    """The network's output for given inputs."""
    config, generator = model.config.dit, torch.Generator().manual_seed(0)
    latents = torch.randn(2, config.latent_channels, 12, generator=generator)
    context = torch.randn(2, 9, config.context_dim, generator=generator)
    conditions = torch.randn(2, config.global_dim, generator=generator)
    with torch.no_grad():
        return model.dit(latents, torch.tensor([0.3, 0.8]), context, conditions)


def refusal(task: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(AuralithError) as caught:
        task(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_stored_model_is_the_one_that_is_quantized_when_loaded(
    folder: Path, tmp_path: Path
) -> None:
    convert(folder, tmp_path / "stored", quantize="int8")
    first, second = load(tmp_path / "stored"), load(folder, dtype="int8")
    assert first.number_format == second.number_format == INT8
    assert torch.equal(velocity(first), velocity(second))
    assert first.provenance(first.resolve(REQUEST)).dtype == "int8"


def test_the_same_request_gives_the_same_bytes(stored: Path) -> None:
    first, second = (load(stored).generate(REQUEST).waveform for _ in range(2))
    assert torch.equal(first, second)


def drift(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def test_a_step_is_near_that_in_floats(folder: Path) -> None:
    exact = velocity(load(folder, dtype="float32"))
    assert 0 < drift(velocity(load(folder, dtype="int8")), exact) < DRIFT


def test_a_step_is_the_same_whatever_multiplies_the_codes(folder: Path) -> None:
    model = load(folder, dtype="int8")
    found = velocity(model)
    for layer in quantized_layers(model.dit).values():
        layer.kernel, layer.packed = FLOAT, codes_of(layer)
    assert drift(velocity(model), found) < FLIPPED


def codes_of(layer: QuantizedLinear) -> Tensor:
    """The codes of a layer, as it multiplies unit vectors."""
    unit = 127 * torch.eye(layer.in_features)
    bias = 0 if layer.bias is None else layer.bias
    return ((layer(unit) - bias).T / layer.scale[:, None] / 127).round().to(torch.int8)


def test_a_guided_step_of_the_embedded_model_is_nearer_than_another_seed() -> None:
    requests = [GenerationRequest("rain", seconds_total=1.0, steps=1, seed=seed) for seed in (1, 2)]
    exact, other = (load(dtype="float32").denoise([request]) for request in requests)
    found = load(dtype="int8").denoise(requests[:1])
    assert 0 < drift(found, exact) < 0.1 * drift(other, exact)


def test_a_file_holds_codes_with_a_scale_per_row(stored: Path) -> None:
    found, source = load_file(stored / "model.safetensors"), load_file(TINY / "model.safetensors")
    codes = {name for name, tensor in found.items() if tensor.dtype is torch.int8}
    assert len(codes) == len(quantized_layers(load(stored).dit))
    for name, tensor in source.items():
        if name not in codes:
            assert torch.equal(found.pop(name), tensor)
            continue
        scale = found.pop(f"{name}_scale")
        error = (found.pop(name) * scale[:, None] - tensor).abs()
        assert (error <= 0.501 * scale[:, None]).all()
    assert not found
    assert "int8" in inspect_checkpoint(stored).stored_dtypes


def test_it_can_be_read_as_floats_and_copied(stored: Path, tmp_path: Path) -> None:
    as_floats = load(stored, dtype="float32")
    assert not quantized_layers(as_floats.dit)
    exact = velocity(load(TINY, dtype="float32"))
    assert 0 < drift(velocity(as_floats), exact) < DRIFT
    convert(stored, tmp_path / "again")
    for name in ("model.safetensors", "model_config.json"):
        assert (tmp_path / "again" / name).read_bytes() == (stored / name).read_bytes()


def test_memory_is_as_announced(stored: Path) -> None:
    model = load(stored)
    text = sum(t.numel() * t.element_size() for t in model.checkpoint.text.model.parameters())
    announced = weight_bytes(stored, "auto", CPU)
    assert announced == weight_bytes(TINY, "int8", CPU) < weight_bytes(TINY, "float32", CPU)
    samples = model.config.audio.samples_per_frame
    # the encoder's weights are read when something is encoded
    model.encode(torch.zeros(model.config.audio.channels, 2 * samples))
    assert weights_size([model]) - text == pytest.approx(announced, rel=0.01)


def test_the_command_writes_it(tmp_path: Path) -> None:
    assert run(["convert", str(TINY), str(tmp_path / "out"), "--quantize", "int8"]) == 0
    assert inspect_checkpoint(tmp_path / "out").source == str(tmp_path / "out")
    assert load(tmp_path / "out").number_format == INT8


def edited_config(folder: Path, **changes: str) -> None:
    path = folder / "model_config.json"
    data = json.loads(path.read_text())
    data["auralith"]["quantization"] |= changes
    path.write_text(json.dumps(data))


def edited_weights(folder: Path, change: Any) -> None:
    path = folder / "model.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata)


def test_files_of_two_models_are_not_mixed(copy: Path) -> None:
    edited_config(copy, base="0" * 64)
    assert "not of one quantized model" in refusal(load, copy)
    shutil.copyfile(TINY / "model_config.json", copy / "model_config.json")
    assert "not of one quantized model" in refusal(load, copy)


def test_another_version_is_refused_with_the_remedy(copy: Path) -> None:
    edited_config(copy, version="int8-9")
    base = json.loads((copy / "model_config.json").read_text())["auralith"]["quantization"]["base"]
    tensors = load_file(copy / "model.safetensors")
    save_file(tensors, copy / "model.safetensors", {"auralith_quantization": f"int8-9 {base}"})
    assert "--quantize int8" in refusal(load, copy)


FIRST = "model.model.transformer.layers.0.self_attn.to_qkv.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop(f"{FIRST}_scale"), "not floating point"),
        (lambda t: t.pop(FIRST), "unexpected"),
        (lambda t: t.update({FIRST: t[FIRST].float()}), "no matrix in int8"),
        (lambda t: t.update({f"{FIRST}_scale": t[f"{FIRST}_scale"][1:]}), "no matrix in int8"),
        (lambda t: t[f"{FIRST}_scale"].fill_(torch.nan), "NaN"),
        (lambda t: t[f"{FIRST}_scale"].zero_(), "damaged"),
        (lambda t: t[FIRST].fill_(-128), "damaged"),
    ],
    ids=["no scale", "no codes", "floats", "short scale", "nan", "zero", "code"],
)
def test_a_damaged_file_is_refused(copy: Path, change: Any, message: str) -> None:
    edited_weights(copy, change)
    assert message in refusal(load, copy)


def test_an_adapter_is_merged_before_quantizing(stored: Path, tmp_path: Path) -> None:
    base, config = open_tiny("sao_tiny"), AdapterConfig(rank=2)
    file = tmp_path / "adapter.safetensors"
    save_adapter(file, adapted_dit(base, config), AdapterMetadata(config, "", "", "", 1))
    adapted = load(TINY, dtype="int8", adapters=[(file, 1.0)])
    merge_adapters(TINY, [(file, 1.0)], tmp_path / "merged")
    expected = load(tmp_path / "merged", dtype="int8")
    assert torch.equal(velocity(adapted), velocity(expected))
    plain = adapted.with_adapters([])
    assert torch.equal(velocity(plain), velocity(load(stored)))
    assert not torch.equal(velocity(plain), velocity(adapted))
    message = refusal(load, stored, adapters=[(file, 1.0)])
    assert message == refusal(merge_adapters, stored, [(file, 1.0)], tmp_path / "other")
    assert "use the model that it was made from" in message


def test_what_needs_floats_refuses_it(stored: Path, tmp_path: Path) -> None:
    for options in ({"quantize": "int8"}, {"to": "diffusers"}):
        assert "needs float weights" in refusal(convert, stored, tmp_path / "out", **options)
    for model in (load(stored, dtype="float32"), load(TINY, dtype="int8")):
        training = finetune(
            model, StoredRecordings([]), tmp_path / "tuned", FinetuneSettings(), "data"
        )
        assert "training needs float weights" in refusal(next, training)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InvalidRequest, match="generating alone"):
        choose_dtype("int8", CPU)
    with pytest.raises(InvalidRequest, match="for CPUs"):
        choose_format("int8", torch.device("cuda"))
    assert choose_format("auto", torch.device("cuda"), True).dtype is torch.bfloat16


def test_an_autoencoder_alone_has_nothing_to_quantize(tmp_path: Path) -> None:
    from auralith.checkpoints import open_autoencoder, save_autoencoder
    from auralith.checkpoints.opening import locate

    spec = locate(TINY).autoencoder_only().spec
    networks = open_autoencoder(TINY, device=CPU, dtype=torch.float32)
    save_autoencoder(tmp_path, spec, networks.autoencoder.state_dict())
    with pytest.raises(CheckpointError, match="only an autoencoder"):
        convert(tmp_path, tmp_path / "out", quantize="int8")


def test_other_names_open_it_as_floats(stored: Path) -> None:
    opened = open_checkpoint(stored, device=CPU, dtype=torch.float32)
    assert isinstance(opened.dit, DiT) and opened.is_int8
