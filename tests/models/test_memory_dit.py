"""The transformer of Stable Audio 3 against the reference's numbers, and its shortcuts against the long way."""

import csv
import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from auralith.config import MemoryDiTConfig
from auralith.families.family import NameRow, nest, rename
from auralith.families.sections import Section
from auralith.families.stable_audio_3.transformer import TRANSFORMER
from auralith.models.attention import KeyValue
from auralith.models.embedders import GeometricFeatures, geometric_frequencies
from auralith.models.memory_dit import MemoryDiT, attend_pairs
from tests.conftest import GOLDEN, relative_error

pytestmark = pytest.mark.usefixtures("reference_frequencies")
SA3 = GOLDEN / "sa3"
CASES = {case["name"]: case for case in json.loads((SA3 / "cases.json").read_text())}
UNGUIDED = ("plain", "local", "padding_mask_vzero", "true_mask_item1", "cfg_interval_outside")


def read_config(path: str) -> MemoryDiTConfig:
    data = json.loads((SA3 / path).read_text())
    return TRANSFORMER.read(Section(data["model"]["diffusion"]["config"], path), True)


def prefixes(config: MemoryDiTConfig) -> dict[str, str]:
    rows = nest(NameRow("", "model.model", None), TRANSFORMER.rows(config))
    return {row.single_file: row.ours for row in rows if row.single_file and row.ours}


@pytest.fixture(scope="module")
def tensors() -> dict[str, Tensor]:
    return load_file(SA3 / "cases.safetensors")


@pytest.fixture(scope="module", params=["small", "medium"])
def dit(request: pytest.FixtureRequest) -> MemoryDiT:
    config = read_config(f"{request.param}_tiny/model_config.json")
    published = load_file(SA3 / f"{request.param}_tiny" / "transformer.safetensors")
    table = prefixes(config)
    network = MemoryDiT(config)
    network.load_state_dict(
        {
            (rename(name, table) or name).removeprefix("."): tensor
            for name, tensor in published.items()
            if name.startswith("model.model.") and not TRANSFORMER.is_untrained(config, name)
        }
    )
    return network.eval()


def case_of(dit: MemoryDiT, name: str, tensors: dict[str, Tensor]) -> tuple[Any, Tensor]:
    size = "medium" if dit.config.differential else "small"
    case = CASES[f"dit/{size}/{name}"]
    inputs = {key: tensors[value] for key, value in case["inputs"].items()}
    return inputs, tensors[case["outputs"]["v"]]


@pytest.mark.parametrize("name", UNGUIDED)
@torch.inference_mode()
def test_equals_the_reference(dit: MemoryDiT, name: str, tensors: dict[str, Tensor]) -> None:
    given, expected = case_of(dit, name, tensors)
    prepared = dit.prepare(
        given["cross_attn_cond"],
        given["global_cond"],
        given["x"].shape[-1],
        given["local_add_cond"],
        given.get("padding_mask"),
        keeps_keys=True,
    )
    assert relative_error(dit.step(given["x"], given["t"], prepared), expected) < 1e-5


@torch.inference_mode()
def test_nothing_given_is_the_projection_of_zeros(
    dit: MemoryDiT, tensors: dict[str, Tensor]
) -> None:
    given, expected = case_of(dit, "plain", tensors)
    assert not given["local_add_cond"].any()
    context, vector, frames = given["cross_attn_cond"], given["global_cond"], given["x"].shape[-1]
    prepared = dit.prepare(context, vector, frames)
    assert relative_error(dit.step(given["x"], given["t"], prepared), expected) < 1e-5
    without = replace(prepared, local=tuple(torch.zeros_like(part) for part in prepared.local))
    _, diffusers = case_of(dit, "no_local", tensors)
    assert relative_error(dit.step(given["x"], given["t"], without), diffusers) < 1e-5


@torch.inference_mode()
def test_rows_without_a_context_are_those_of_an_all_zero_one(
    dit: MemoryDiT, tensors: dict[str, Tensor]
) -> None:
    given, _ = case_of(dit, "local", tensors)
    x, t, context = given["x"], given["t"], given["cross_attn_cond"]
    frames, vector, local = x.shape[-1], given["global_cond"], given["local_add_cond"]
    short = dit.prepare(context[:1], vector, frames, local)
    zeros = torch.cat((context[:1], torch.zeros_like(context[:1])))
    long = dit.prepare(zeros, vector, frames, local)
    expected = dit.step(x, t, long)
    assert relative_error(dit.step(x, t, short), expected) < 1e-5
    assert relative_error(dit.step(x[:1], t[:1], long.rows(slice(1))), expected[:1]) < 1e-5


@torch.inference_mode()
def test_a_true_mask_is_the_sound_alone(dit: MemoryDiT, tensors: dict[str, Tensor]) -> None:
    """An item at its own length needs no mask; padded, with the keys of padding left in, it is another sound."""
    padded, published = case_of(dit, "padding_mask_vzero", tensors)
    valid = padded["padding_mask"]
    item = int(valid.sum(1).argmin())
    length = int(valid[item].sum())
    row = slice(item, item + 1)
    alone = dit.forward(
        padded["x"][row, :, :length],
        padded["t"][row],
        padded["cross_attn_cond"][row],
        padded["global_cond"][row],
        padded["local_add_cond"][row, :, :length],
    )
    _, expected = case_of(dit, "true_mask_item1", tensors)
    assert relative_error(alone, expected) < 1e-5
    masked = dit.forward(
        *(padded[name] for name in ("x", "t", "cross_attn_cond", "global_cond", "local_add_cond")),
        valid=valid,
    )
    assert relative_error(masked[row, :, :length], expected) < 1e-5
    assert relative_error(published[row, :, :length], expected) > 1e-3


def test_fourier_features_equal_the_reference(tensors: dict[str, Tensor]) -> None:
    case = CASES["fourier/expo_256"]
    times = tensors[case["inputs"]["t"]].flatten()
    expected = tensors[case["outputs"]["features"]].view(len(times), -1)
    assert relative_error(GeometricFeatures(256)(times), expected) < 1e-5


def test_frequencies_equal_the_reference_but_for_their_rounding(
    reference_frequencies: Tensor,
) -> None:
    """ln f is rounded three times on its way, each time by half a unit in the last place of up to 9.2, and f once."""
    found = geometric_frequencies(128, torch.device("cpu"))
    assert float((found / reference_frequencies - 1).abs().max()) < 2 * (3 * 2.0**-21 + 2.0**-24)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
def test_the_difference_of_two_attentions_is_taken_in_float32(dtype: torch.dtype) -> None:
    """Two attentions that nearly cancel, as trained ones do: their difference keeps what the format could hold of it."""
    generator = torch.Generator().manual_seed(3)
    query, key, value = torch.randn(3, 1, 2, 7, 8, generator=generator).to(dtype)
    other = KeyValue((key + 0.02).to(dtype), value)
    found = attend_pairs((query, query), (KeyValue(key, value), other))
    each = [attend_pairs((query,), (memory,)) for memory in (KeyValue(key, value), other)]
    assert torch.equal(found, (each[0].float() - each[1].float()).to(dtype))


@pytest.mark.parametrize(
    ("config", "table"),
    [
        ("small-music", "small"),
        ("small-music-base", "small"),
        ("medium", "medium"),
        ("medium-base", "medium"),
    ],
)
def test_names_and_shapes_are_the_published_ones(config: str, table: str) -> None:
    dims = read_config(f"{config}.model_config.json")
    with torch.device("meta"):
        found = {name: tuple(t.shape) for name, t in MemoryDiT(dims).state_dict().items()}
    names = prefixes(dims)
    with (SA3 / f"{table}.tsv").open() as lines:
        expected = {
            (rename(row["name"], names) or row["name"]).removeprefix("."): tuple(
                json.loads(row["shape"])
            )
            for row in csv.DictReader(lines, delimiter="\t")
            if row["name"].startswith("model.model.")
            and not TRANSFORMER.is_untrained(dims, row["name"])
        }
    assert found == expected


def test_a_config_is_written_as_it_was_read() -> None:
    for name in ("small", "medium"):
        config = read_config(f"{name}_tiny/model_config.json")
        assert TRANSFORMER.read(Section(TRANSFORMER.to_json(config), "again"), True) == config


def test_training_starts_from_the_identity() -> None:
    config = MemoryDiTConfig(
        latent_channels=3,
        embed_dim=64,
        depth=1,
        num_heads=1,
        context_dim=5,
        global_dim=4,
        extra_channels=2,
        num_memory_tokens=2,
    )
    dit = MemoryDiT(config)
    dit.reset_parameters()
    arguments = (torch.randn(1, 3, 6), torch.tensor([0.4]), torch.randn(1, 2, 5), torch.randn(1, 4))
    plain = dit.project_out(dit.project_in(arguments[0].mT)).mT
    torch.testing.assert_close(dit(*arguments), plain)
    dit.checkpoint_activations = True
    dit(*arguments).sum().backward()
    assert dit.memory.grad is not None
