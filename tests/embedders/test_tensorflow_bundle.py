"""Checkpoints of TensorFlow: one that it wrote, ones that are written here, and damaged ones."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from musicnn_cases import TINY, tiny_tensors, write_bundle

from auralith.embedders.tensorflow_bundle import DATA_NAME, INDEX_NAME, read_bundle
from auralith.errors import CheckpointError

WRITTEN = Path(__file__).parents[1] / "golden" / "musicnn" / TINY


def test_reads_what_tensorflow_wrote() -> None:
    found, expected = read_bundle(WRITTEN), tiny_tensors()
    assert found.keys() == expected.keys()  # not the counter, which is of int64
    for name, values in expected.items():
        assert found[name].dtype == torch.float32
        np.testing.assert_array_equal(found[name].numpy(), values)


def test_reads_what_is_written_here(tmp_path: Path) -> None:
    tensors = {k: v for k, v in tiny_tensors().items() if k in ("scalar", "matrix", "kernel")}
    write_bundle(tmp_path / "b", tensors)
    found = read_bundle(tmp_path / "b")
    assert found.keys() == tensors.keys()
    assert all(np.array_equal(found[name].numpy(), values) for name, values in tensors.items())


@pytest.mark.parametrize("name", [INDEX_NAME, DATA_NAME])
def test_missing_and_empty_files(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "b"
    shutil.copytree(WRITTEN, folder)
    (folder / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match="holds no checkpoint of TensorFlow"):
        read_bundle(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} can't be read"):
        read_bundle(folder)


def test_truncated_files(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    shutil.copytree(WRITTEN, folder)
    for name in (INDEX_NAME, DATA_NAME):
        whole = (WRITTEN / name).read_bytes()
        for size in range(0, len(whole), 97):
            (folder / name).write_bytes(whole[:size])
            with pytest.raises(CheckpointError):
                read_bundle(folder)
        (folder / name).write_bytes(whole)


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged") / "b"
    shutil.copytree(WRITTEN, folder)
    return folder


@given(st.lists(st.tuples(st.integers(0, 5_897), st.integers(0, 255)), min_size=1, max_size=8))
def test_damaged_index_ends_in_one_line(damaged: Path, changes: list[tuple[int, int]]) -> None:
    content = bytearray((WRITTEN / INDEX_NAME).read_bytes())
    for place, value in changes:
        content[place] = value
    (damaged / INDEX_NAME).write_bytes(content)
    try:
        tensors = read_bundle(damaged)
    except CheckpointError as error:
        assert "\n" not in str(error) and len(str(error)) < 400
    else:
        assert sum(t.numel() for t in tensors.values()) <= 400 * len(tensors)
