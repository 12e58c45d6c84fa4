"""The tokenizer in a written folder is the same, byte for byte, whatever was encoded before it was written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from auralith.checkpoints import convert, open_checkpoint
from auralith.checkpoints.convert import Target
from auralith.compat.diffusers import StableAudioPipeline
from auralith.training.export import Card, Layout, export_model
from tests.conftest import GOLDEN

CPU = torch.device("cpu")
TINY = GOLDEN / "sao_tiny"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Path]]:
    """By layout: a model, and one whose tokenizer.json holds the padding and truncation that other programs left in it."""
    place = tmp_path_factory.mktemp("sources")
    shutil.copytree(TINY, place / "single-file")
    convert(TINY, place / "diffusers", "diffusers")
    shutil.copytree(place, place / "used")
    for path in (place / "used").rglob("tokenizer.json"):
        tokenizer = Tokenizer.from_file(str(path))
        tokenizer.enable_truncation(7, stride=2)
        tokenizer.enable_padding(direction="left", length=9, pad_to_multiple_of=3)
        tokenizer.save(str(path))
        assert json.loads(path.read_text())["padding"]["strategy"] == {"Fixed": 9}
    return {name: (place / name, place / "used" / name) for name in ("single-file", "diffusers")}


def tokenizer_files(folder: Path) -> dict[str, bytes]:
    """The files of every tokenizer below a folder, by their path in it."""
    found = {p for path in folder.rglob("tokenizer.json") for p in path.parent.glob("*.json")}
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(found)}


def encode(tokenizer: Any) -> None:
    """Leave a padding and a truncation in a tokenizer of the transformers library."""
    tokenizer(["a"], padding="max_length", max_length=5, truncation=True)
    assert tokenizer.backend_tokenizer.padding and tokenizer.backend_tokenizer.truncation


def leave_settings(tokenizer: Any) -> None:
    """Leave a padding and a truncation in a tokenizer of ours, which sets none itself."""
    tokenizer.backend.enable_padding(length=5)
    tokenizer.backend.enable_truncation(5)


def export(layout: Layout) -> Callable[[Path, Path, bool], None]:
    def write(source: Path, folder: Path, is_used: bool) -> None:
        checkpoint = open_checkpoint(source, device=CPU, dtype=torch.float32)
        if is_used:
            leave_settings(checkpoint.text.tokenizer)
        folder.mkdir()
        export_model(folder, checkpoint, Card("t", "b", "d", 1, 1.0), layout, torch.float32, "m")

    return write


def converted(layout: Target) -> Callable[[Path, Path, bool], None]:
    def write(source: Path, folder: Path, is_used: bool) -> None:
        convert(source, folder, layout)

    return write


def saved_by_compat(source: Path, folder: Path, is_used: bool) -> None:
    pipeline = StableAudioPipeline.from_pretrained(str(source))
    if is_used:
        encode(pipeline.tokenizer)
    pipeline.save_pretrained(folder)


WRITERS = {
    "export single-file": export("single-file"),
    "export diffusers": export("diffusers"),
    "export both": export("both"),
    "convert to single-file": converted("single-file"),
    "convert to diffusers": converted("diffusers"),
    "save_pretrained": saved_by_compat,
}


@pytest.mark.parametrize(
    ("name", "layout"),
    [(name, "single-file") for name in WRITERS if name != "save_pretrained"]
    + [(name, "diffusers") for name in WRITERS],
)
def test_a_written_tokenizer_does_not_depend_on_its_use(
    name: str, layout: str, sources: dict[str, tuple[Path, Path]], tmp_path: Path
) -> None:
    write, (fresh, used_before) = WRITERS[name], sources[layout]
    write(fresh, tmp_path / "clean", False)
    write(used_before, tmp_path / "used", True)
    clean, used = tokenizer_files(tmp_path / "clean"), tokenizer_files(tmp_path / "used")
    assert clean and used == clean
    for path, data in used.items():
        if path.endswith("tokenizer.json"):
            assert json.loads(data)["padding"] is None and json.loads(data)["truncation"] is None
