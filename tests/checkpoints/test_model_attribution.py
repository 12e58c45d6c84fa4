"""The names of everybody whose sounds a model learned from, wherever its weights go."""

import shutil
from pathlib import Path

import pytest
import torch

from auralith.checkpoints import convert, merge_adapters, open_checkpoint
from auralith.checkpoints.attribution import ATTRIBUTION, carry_attribution
from auralith.checkpoints.convert import Target
from auralith.training.export import Card, Layout, export_model
from tests.checkpoints.test_adapters import written
from tests.conftest import GOLDEN

NAMES = "Ann Äker, CC-BY-4.0\n"
LAYOUTS: dict[Layout, tuple[str, ...]] = {"both": (".", "diffusers"), "diffusers": (".",)}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = Path(shutil.copytree(GOLDEN / "sao_tiny", tmp_path / "model"))
    (folder / ATTRIBUTION).write_text(NAMES, encoding="utf-8")
    return folder


def test_it_is_copied_if_it_is_there(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    carry_attribution(source, target)
    assert list(target.iterdir()) == []
    (source / ATTRIBUTION).write_text(NAMES, encoding="utf-8")
    carry_attribution(source, target)
    assert (target / ATTRIBUTION).read_text(encoding="utf-8") == NAMES


@pytest.mark.parametrize("layout", ["single-file", "diffusers"])
def test_conversion_takes_it_along(model: Path, tmp_path: Path, layout: Target) -> None:
    convert(model, tmp_path / "out", layout)
    assert (tmp_path / "out" / ATTRIBUTION).read_text(encoding="utf-8") == NAMES


def test_merging_and_training_take_it_along(model: Path, tmp_path: Path) -> None:
    base = open_checkpoint(model, device=torch.device("cpu"), dtype=torch.float32)
    adapter = written(tmp_path / "one.safetensors", base, seed=1)
    merge_adapters(model, [(adapter, 0.5)], tmp_path / "merged")
    assert (tmp_path / "merged" / ATTRIBUTION).read_text(encoding="utf-8") == NAMES
    for layout, places in LAYOUTS.items():
        trained = tmp_path / layout
        trained.mkdir()
        card = Card("a model", "a base", "a table", 1, 0.1)
        export_model(trained, base, card, layout, torch.float32, "trained")
        for place in places:
            assert (trained / place / ATTRIBUTION).read_text(encoding="utf-8") == NAMES
