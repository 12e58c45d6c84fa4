"""Names and shapes of every layout against the published tables, at full size and without memory."""

import csv
import json

import pytest
import torch

from auralith.checkpoints.transform import published_weights, to_diffusers, to_ours, to_single_file
from auralith.config import ModelConfig
from auralith.families.family import Spec, rename
from auralith.families.model_config import spec_from_json
from auralith.families.registry import prefixes, without_memory
from auralith.models.lazy_tensor import LazyTensor, Weights, weights_of
from tests.conftest import GOLDEN


def shapes(weights: Weights) -> dict[str, str]:
    return {name: "x".join(map(str, tensor.shape)) for name, tensor in weights.items()}


def table(name: str) -> list[list[str]]:
    with (GOLDEN / name).open() as file:
        return list(csv.reader(file, delimiter="\t"))[1:]


def test_single_file_names_are_the_published_ones() -> None:
    found = shapes(published_weights(Spec.of(ModelConfig())))
    assert len(found) == 745
    assert found == dict(table("sao1_state_dict.tsv"))


def test_diffusers_names_are_the_published_ones() -> None:
    spec = Spec.of(ModelConfig())
    found = shapes(to_diffusers(published_weights(spec), spec))
    expected = {
        f"{component}.{name}": shape
        for component, name, shape in table("sao1_diffusers_state_dict.tsv")
    }
    assert found == expected
    counts = [
        sum(name.startswith(c) for name in found)
        for c in ("transformer.", "vae.", "projection_model.")
    ]
    assert counts == [445, 365, 6]


@pytest.mark.parametrize("folder", ["sao_tiny", "sao_small_tiny"])
def test_our_names_come_back(folder: str) -> None:
    spec = spec_from_json(json.loads((GOLDEN / folder / "model_config.json").read_bytes()))
    ours = weights_of(without_memory(spec).state_dict())
    back = to_ours(to_single_file(ours, spec), spec)
    assert shapes(back) == shapes(ours)


def test_a_name_in_no_table_has_no_counterpart() -> None:
    table = prefixes(Spec.of(ModelConfig()), "single_file", "ours")
    assert rename("model.model.transformer.layers.24.ff_norm.gamma", table) is None
    assert rename("model.model.transformer.layers.23.ff_norm.gamma", table) == (
        "dit.blocks.23.feed_forward_norm.scale"
    )


def test_unfolded_weights_fold_back_bit_for_bit() -> None:
    """Also a filter of zeros, for which weight norm has no direction."""
    spec = Spec.of(ModelConfig())
    weight = torch.randn(5, 4, 7, generator=torch.Generator().manual_seed(0))
    weight[2] = 0
    name = "autoencoder.encoder.conv_in.weight"
    published = to_single_file({name: LazyTensor.of(weight)}, Spec(spec.audio, spec.autoencoder))
    g = published["pretransform.model.encoder.layers.0.weight_g"].read()
    torch.testing.assert_close(g, weight.flatten(1).norm(dim=1)[:, None, None])
    back = to_ours(published, Spec(spec.audio, spec.autoencoder))[name].read()
    assert torch.equal(back, weight)


@pytest.mark.parametrize("transposed", [False, True])
def test_folding_is_torch_weight_norm(transposed: bool) -> None:
    layer = torch.nn.ConvTranspose1d(4, 6, 4) if transposed else torch.nn.Conv1d(4, 6, 3)
    normed = torch.nn.utils.parametrizations.weight_norm(layer)
    with torch.no_grad():
        normed.state_dict()["parametrizations.weight.original0"].mul_(1.7)
    path = "decoder.layers.1.layers.1" if transposed else "encoder.layers.0"
    weights = {
        f"pretransform.model.{path}.weight_g": normed.state_dict()[
            "parametrizations.weight.original0"
        ],
        f"pretransform.model.{path}.weight_v": normed.state_dict()[
            "parametrizations.weight.original1"
        ],
    }
    spec = Spec.of(ModelConfig())
    folded = to_ours({name: LazyTensor.of(t) for name, t in weights.items()}, spec)
    (tensor,) = folded.values()
    expected = dict(normed.named_modules())["parametrizations.weight"]().detach()
    torch.testing.assert_close(tensor.read(), expected, rtol=1e-6, atol=1e-7)
