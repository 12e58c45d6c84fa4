"""Hostile and damaged files: one CheckpointError line each, and nothing in them ever runs."""

import json
import os
import pickle
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auralith.checkpoints import open_checkpoint
from auralith.checkpoints.transform import published_weights
from auralith.errors import CheckpointError
from auralith.families.model_config import spec_from_json
from auralith.foreign import read_json
from auralith.models.lazy_tensor import ALIGNMENT, LazyTensor
from auralith.tensor_files import read_safetensors, read_tensor_file, write_safetensors
from tests.conftest import GOLDEN

ORIGINAL = (GOLDEN / "sao_tiny" / "model.safetensors").read_bytes()
CPU = torch.device("cpu")


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path, device=CPU, dtype=torch.float32)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint without its weights."""
    shutil.copytree(
        GOLDEN / "sao_tiny", tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors")
    )
    shutil.copy(GOLDEN / "sao_tiny/t5/model.safetensors", tmp_path / "model/t5")
    return tmp_path / "model"


@pytest.mark.parametrize("kept", [0, 5, 8, 1000, 60_000, len(ORIGINAL) - 1])
def test_truncated_file(folder: Path, kept: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(ORIGINAL[:kept])
    expected = "not a safetensors file" if kept <= 8 else "truncated"
    assert expected in refusal(path)


def test_file_with_bytes_too_many(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(ORIGINAL + b"\0")
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_text_file(folder: Path, suffix: str) -> None:
    path = folder / f"model{suffix}"
    path.write_text("<html>404 not found</html>\n" * 40)
    assert "is not a" in refusal(path)


def test_git_lfs_pointer(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4853\n")
    assert "git lfs pull" in refusal(path)


def test_file_of_another_kind(folder: Path) -> None:
    path = folder / "model.wav"
    path.write_bytes(b"RIFF")
    assert ".safetensors" in refusal(path)


class Bomb:
    """Runs a command when it is unpickled without restrictions."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("form", ["torch", "old torch", "plain"])
def test_pickle_with_code_is_refused_and_not_run(folder: Path, form: str) -> None:
    target, path = folder / "created", folder / "model.ckpt"
    payload = {"state_dict": {"model.model.x": torch.zeros(1), "y": Bomb(target)}}
    if form == "plain":
        path.write_bytes(pickle.dumps(payload, protocol=2))
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=form == "torch")
    assert "could run code" in refusal(path)
    assert not target.exists()
    torch.load(path, weights_only=False) if form != "plain" else pickle.loads(path.read_bytes())
    assert target.exists(), "the test's own bomb is a dud"


def test_truncated_pickle(folder: Path) -> None:
    path = folder / "model.ckpt"
    torch.save({"state_dict": {"model.model.x": torch.zeros(1000)}}, path)
    path.write_bytes(path.read_bytes()[:-500])
    assert "not a readable torch file" in refusal(path)


@pytest.mark.parametrize("payload", [[torch.zeros(1)], {"state_dict": 3}])
def test_pickle_without_a_state_dict(folder: Path, payload: object) -> None:
    torch.save(payload, folder / "model.ckpt")
    assert "no state_dict" in refusal(folder / "model.ckpt")


@pytest.mark.parametrize("zipped", [True, False])
def test_pickle_of_tensors_is_read(tmp_path: Path, zipped: bool) -> None:
    values = torch.arange(6.0).reshape(2, 3)
    torch.save(
        {"state_dict": {"a": values}}, tmp_path / "x.ckpt", _use_new_zipfile_serialization=zipped
    )
    assert torch.equal(read_tensor_file(tmp_path / "x.ckpt").weights["a"].read(), values)


def test_json_must_be_an_object(tmp_path: Path) -> None:
    for content in ("[1]", "{", "[" * 100_000, "\xff"):
        (tmp_path / "x.json").write_text(content, encoding="latin-1")
        with pytest.raises(CheckpointError):
            read_json(tmp_path / "x.json")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_written_tensors_come_back(tmp_path: Path, dtype: torch.dtype) -> None:
    """Both ways of reading, and the library's own reader, give the same bits."""
    from safetensors.torch import load_file

    tensors = {"a": torch.randn(3, 5).to(dtype), "b": torch.randn(7), "empty": torch.zeros(0, 4)}
    tensors["scalar"] = torch.tensor(2.5, dtype=dtype)
    path = tmp_path / "x.safetensors"
    write_safetensors(path, {name: LazyTensor.of(tensor) for name, tensor in tensors.items()})
    found, reference = read_safetensors(path), load_file(path)
    assert found.keys() == reference.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(found[name].read(), tensor)
        assert torch.equal(found[name].load(CPU, tensor.dtype), tensor)
        assert torch.equal(reference[name], tensor) and reference[name].dtype == tensor.dtype


def test_tensors_that_are_views_elsewhere_are_loaded_at_aligned_addresses() -> None:
    whole = torch.arange(40, dtype=torch.float32)
    for start in (0, 2, 16):
        values = LazyTensor.of(whole[start : start + 9]).load(CPU, torch.float32)
        assert values.data_ptr() % ALIGNMENT == 0
        assert values.tolist() == list(range(start, start + 9))


def test_written_tensors_are_mapped_when_they_are_loaded(tmp_path: Path) -> None:
    """Those whose size is no multiple of 64 bytes stand at the end, where they displace nothing."""
    sizes = {"a": 5, "b": 16, "c": 1, "d": 64}
    weights = {name: LazyTensor.of(torch.ones(size)) for name, size in sizes.items()}
    weights["e"] = LazyTensor.of(torch.ones(32, dtype=torch.float16))
    path = tmp_path / "x.safetensors"
    write_safetensors(path, weights)
    with path.open("r+b") as file:  # what is mapped sees the file change
        found = read_safetensors(path)
        loaded = {name: found[name].load(CPU, found[name].dtype) for name in weights}
        file.seek(0)
        file.write(b"\0" * path.stat().st_size)
    changed = {name for name, values in loaded.items() if not values.all()}
    assert changed >= {"b", "d", "e"}


TENSORS = {"a": torch.ones(2, 3), "b": torch.ones(4, dtype=torch.float16), "c": torch.ones(())}
SMALL = safetensors.torch.save(TENSORS, {"format": "pt"})
HEADER_LENGTH = int.from_bytes(SMALL[:8], "little")
HEADER = json.loads(SMALL[8 : 8 + HEADER_LENGTH])
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


FUZZ = settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])


def one_line(error: CheckpointError) -> bool:
    return "\n" not in str(error)


def try_to_read(path: Path, content: bytes) -> None:
    """Whatever the bytes are, either the announced tensors can be read or CheckpointError says why not."""
    path.write_bytes(content)
    try:
        for tensor in read_tensor_file(path).weights.values():
            assert tensor.read().shape == tensor.shape
    except CheckpointError as error:
        assert one_line(error)


@FUZZ
@given(
    st.lists(st.tuples(st.integers(0, len(SMALL) - 1), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_mutated_header_bytes(tmp_path: Path, mutations: list[tuple[int, int]]) -> None:
    content = bytearray(SMALL)
    for position, value in mutations:
        content[position] = value
    try_to_read(tmp_path / "model.safetensors", bytes(content))


@FUZZ
@given(
    st.sampled_from(sorted(HEADER)),
    st.sampled_from(["dtype", "shape", "data_offsets", None]),
    JSON_VALUES,
)
def test_mutated_header_entries(tmp_path: Path, name: str, key: str | None, value: object) -> None:
    header = {**HEADER, name: value if key is None else {**HEADER[name], key: value}}
    encoded = json.dumps(header).encode()
    content = len(encoded).to_bytes(8, "little") + encoded + SMALL[8 + HEADER_LENGTH :]
    try_to_read(tmp_path / "model.safetensors", content)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@FUZZ
@given(st.binary(max_size=200))
def test_arbitrary_bytes(tmp_path: Path, content: bytes) -> None:
    try_to_read(tmp_path / "model.safetensors", content)
    try_to_read(tmp_path / "model.safetensors", len(content).to_bytes(8, "little") + content)
    try_to_read(tmp_path / "model.ckpt", b"\x80\x02" + content)
    try_to_read(tmp_path / "model.ckpt", b"PK\x03\x04" + content)


@FUZZ
@given(st.data())
def test_mutated_config(data: st.DataObject) -> None:
    """Either the config is refused, or the networks it describes can be built."""
    config = json.loads((GOLDEN / "sao_tiny/model_config.json").read_bytes())
    original = spec_from_json(config)
    section = config
    while True:
        keys = sorted(section) if isinstance(section, dict) else range(len(section))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(section[key], (dict, list)) or not section[key]:
            break
        section = section[key]
    section[key] = data.draw(JSON_VALUES)
    try:
        spec = spec_from_json(config)
    except CheckpointError as error:
        assert one_line(error)
    else:
        assert spec == original or published_weights(spec)
