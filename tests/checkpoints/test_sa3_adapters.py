"""Adapters of Stable Audio 3 on its own model: all kinds as that program computes them, alone and stacked."""

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from auralith.checkpoints import inspect_checkpoint, merge_adapters, read_adapter
from auralith.checkpoints.adapters import fit_adapter
from auralith.errors import CheckpointError
from auralith.families.family import Spec
from tests.conftest import GOLDEN, relative_error
from tests.sa3 import write_sa3

ADAPTERS = GOLDEN / "sa3" / "adapters"
KINDS = ("lora", "dora-rows", "dora-cols", "bora")
EVERY = (*KINDS, *(f"{kind}-xs" for kind in KINDS))
ROWS = 16
"""Rows of each weight that the reference's results hold."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sa3("medium", tmp_path_factory.mktemp("sa3") / "medium")


@pytest.fixture(scope="module")
def spec(folder: Path) -> Spec:
    return inspect_checkpoint(folder).spec


@pytest.fixture(scope="module")
def outputs() -> dict[str, Tensor]:
    return load_file(ADAPTERS / "outputs.safetensors")


def weight(merged: dict[str, Tensor], module: str) -> Tensor:
    """The published weight that a module of an adapter means."""
    outer = "conditioner" if module.startswith("conditioners.") else "model"
    return merged[f"{outer}.{module}.weight"].flatten(1)


def check(merged: Path, outputs: dict[str, Tensor], case: str) -> None:
    found = load_file(merged / "model.safetensors")
    modules = [n.removeprefix(f"{case}.") for n in outputs if n.startswith(f"{case}.")]
    assert len(modules) >= 4
    for module in modules:
        expected = outputs[f"{case}.{module}"]
        assert relative_error(weight(found, module)[:ROWS], expected) <= 1e-5, module


@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_is_merged_as_in_the_reference(
    folder: Path, spec: Spec, outputs: dict[str, Tensor], tmp_path: Path, kind: str, strength: float
) -> None:
    path = ADAPTERS / f"{kind}.safetensors"
    adapter = read_adapter(path)
    assert (adapter.program, adapter.notes) == ("Stable Audio 3", ())
    assert fit_adapter(adapter, spec).problem is None
    merge_adapters(folder, [(path, strength)], tmp_path / "out")
    check(tmp_path / "out", outputs, f"{kind}.{strength}")


def test_a_stack_is_that_of_the_reference(
    folder: Path, outputs: dict[str, Tensor], tmp_path: Path
) -> None:
    choices = [(ADAPTERS / f"{kind}.safetensors", 1.0) for kind in ("dora-rows", "lora")]
    merge_adapters(folder, choices, tmp_path / "out")
    check(tmp_path / "out", outputs, "stack")


def test_the_second_applies_where_the_first_does_not(folder: Path, tmp_path: Path) -> None:
    """There it is lost on such weights without a word."""
    source = ADAPTERS / "lora.safetensors"
    first = tmp_path / "first.safetensors"
    with safe_open(source, framework="pt") as file:
        header = file.metadata()
    part = {n: t for n, t in load_file(source).items() if n.startswith("model.preprocess_conv.")}
    save_file(part, first, header)
    second = ADAPTERS / "dora-cols.safetensors"
    merge_adapters(folder, [(first, 1.0), (second, 1.0)], tmp_path / "both")
    merge_adapters(folder, [(second, 1.0)], tmp_path / "alone")
    both, alone = (load_file(tmp_path / n / "model.safetensors") for n in ("both", "alone"))
    for name, tensor in both.items():
        assert torch.equal(tensor, alone[name]) == (name != "model.model.preprocess_conv.weight")


def test_an_adapter_of_another_family_is_refused(folder: Path, tmp_path: Path) -> None:
    path = GOLDEN / "adapters" / "sa3_lora.safetensors"  # made for a model of the shape of 1.0
    with pytest.raises(CheckpointError, match="does not fit the model") as error:
        merge_adapters(folder, [(path, 1.0)], tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()
