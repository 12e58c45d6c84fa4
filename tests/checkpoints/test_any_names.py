"""Checkpoints under other names than the published ones: found, or listed in one line for a choice."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from auralith.checkpoints import Checkpoint, Files, convert, inspect_checkpoint, open_checkpoint
from auralith.cli.main import run
from auralith.errors import CheckpointError
from auralith.families.stable_audio_1.transformer import INV_FREQ, inverse_frequencies
from tests.conftest import GOLDEN

TINY = GOLDEN / "sao_tiny"
NAME = "my_finetune_e12.safetensors"
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    return load_file(TINY / "model.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ignored = shutil.ignore_patterns("golden.safetensors", "cases.json")
    target = Path(shutil.copytree(TINY, tmp_path / "model", ignore=ignored))
    (target / "model.safetensors").rename(target / NAME)
    return target


def opened(source: Path, files: Files | None = None) -> Checkpoint:
    cpu = torch.device("cpu")
    return open_checkpoint(source, device=cpu, dtype=torch.float32, files=files or Files())


def refusal(source: Path, files: Files | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        opened(source, files)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def same(found: Checkpoint, state: State) -> bool:
    name = "model.model.transformer.layers.1.self_attn.to_qkv.weight"
    return torch.equal(found.dit.state_dict()["blocks.1.self_attention.qkv.weight"], state[name])


# --- files ---


def test_neighbors_that_are_no_model_do_not_matter(folder: Path, state: State) -> None:
    (folder / "directory.safetensors").mkdir()
    (folder / "broken.ckpt").symlink_to(folder / "nowhere")
    (folder / "optimizer.pt").write_bytes(b"")
    (folder / "training_args.bin").write_bytes(b"x")
    (folder / ".hidden.safetensors").write_bytes(b"")
    (folder / "wandb.json").write_text("{ not JSON")
    (folder / "dataset.json").write_text('{"model_type": 3}')
    torch.save({"state_dict": state}, (folder / NAME).with_suffix(".ckpt"))
    assert same(opened(folder), state)


def test_symbolic_links_are_followed(folder: Path, state: State) -> None:
    (folder / NAME).rename(folder.parent / "blob")
    (folder / NAME).symlink_to(folder.parent / "blob")
    assert same(opened(folder), state)


def test_several_weights_are_listed_and_one_is_chosen(
    folder: Path, state: State, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": state}, folder / "epoch=3-step=9000.ckpt")
    (folder / "empty.safetensors").write_bytes(b"")
    names = f"empty.safetensors, epoch=3-step=9000.ckpt, {NAME}"
    assert f"name one with --weights (weights= in Python): {names}" in refusal(folder)
    assert same(opened(folder, Files("epoch=3-step=9000.ckpt")), state)
    assert f"has no weights 'nothing'; there are {names}" in refusal(folder, Files("nothing"))
    assert "has no weights" in refusal(folder, Files("../model/" + NAME))
    assert "has no weights" in refusal(folder, Files(str(folder / NAME)))
    assert "not a safetensors file" in refusal(folder, Files("empty.safetensors"))
    assert run(["inspect", str(folder)]) == 2
    assert names in capsys.readouterr().err
    assert run(["inspect", str(folder), "--weights", NAME]) == 0
    out = folder.parent / "out"
    assert run(["convert", str(folder), str(out), "--weights", NAME]) == 0
    assert same(opened(out), state)


def test_a_truncated_file(folder: Path) -> None:
    path = folder / NAME
    path.write_bytes(path.read_bytes()[:-1000])
    assert "truncated" in refusal(folder)


def test_adapters_are_merged_into_the_chosen_weights(folder: Path, state: State) -> None:
    from auralith.pipeline import load

    (folder / "other.safetensors").write_bytes(b"")
    adapter = GOLDEN / "adapters/sa3_lora.safetensors"
    plain = load(folder, weights=NAME, device="cpu", dtype="float32")
    assert same(plain.checkpoint, state)
    found = plain.with_adapters([(adapter, 1.0)]).checkpoint.dit.state_dict()
    assert not torch.equal(found["conv_in.weight"], plain.dit.state_dict()["conv_in.weight"])


# --- configs ---


def test_the_only_config_beside_it_is_used(folder: Path, state: State) -> None:
    (folder / "model_config.json").rename(folder / "stable_audio_tuned.json")
    (folder / "notes.json").write_text("[]")
    assert same(opened(folder), state)
    assert same(opened(folder / NAME), state)


def test_two_configs_are_listed_and_one_is_chosen(folder: Path, state: State) -> None:
    (folder / "model_config.json").rename(folder / "a.json")
    shutil.copy(GOLDEN / "sao_small_tiny/model_config.json", folder / "b.json")
    assert "name one with --config (config= in Python): a.json, b.json" in refusal(folder)
    assert same(opened(folder, Files(config="a.json")), state)
    assert same(opened(folder / NAME, Files(config=folder / "a.json")), state)
    assert "does not fit its config" in refusal(folder, Files(config="b.json"))
    assert "there is no config c.json" in refusal(folder, Files(config="c.json"))


def test_a_file_without_config(folder: Path) -> None:
    (folder / "model_config.json").unlink()
    assert "put its model_config.json beside it" in refusal(folder)


# --- shards ---


def test_sharded_weights(folder: Path, state: State) -> None:
    names = sorted(state)
    parts = {"tuned-00001-of-00002.safetensors": names[::2], "tuned-00002-of-00002.safetensors": names[1::2]}  # fmt: skip
    for part, inside in parts.items():
        save_file({name: state[name] for name in inside}, folder / part)
    (folder / NAME).unlink()
    assert "shards without their .safetensors.index.json" in refusal(folder)
    weight_map = {name: part for part, inside in parts.items() for name in inside}
    index = folder / "tuned.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert same(opened(folder), state) and same(opened(index), state)
    for name in ("../x.safetensors", "", ".", "..", "a\0b", "\ud800", "/x"):
        index.write_text(json.dumps({"weight_map": {"x": name}}))
        assert "no index of shards" in refusal(folder), name


# --- wrapped, partial, rounded ---

WRAPPED: dict[str, Callable[[str], str]] = {
    "in training": lambda name: f"diffusion.{name}",
    "compiled": lambda name: name.replace("model.model.", "model._orig_mod.model."),
    "distributed": lambda name: f"module.{name}",
    "distributed in training": lambda name: f"module.diffusion.{name}",
    "a model's model": lambda name: f"model.{name}",
    "an average": lambda name: f"ema_model.{name}",
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_wrapped_checkpoints(folder: Path, state: State, kind: str) -> None:
    (folder / NAME).unlink()
    wrapped = {WRAPPED[kind](name): tensor for name, tensor in state.items()}
    optimizer = [{"state": {0: {"step": torch.tensor(5.0)}}, "param_groups": [{"lr": 0.1}]}]
    data = {"state_dict": wrapped, "optimizer_states": optimizer, "epoch": 3, "global_step": 9000}
    torch.save(data, folder / "epoch=3-step=9000.ckpt")
    assert same(opened(folder), state)


def test_the_average_of_a_training_checkpoint_wins(folder: Path, state: State) -> None:
    wrapped = {f"diffusion.{name}": torch.zeros_like(tensor) if "to_qkv" in name else tensor for name, tensor in state.items()}  # fmt: skip
    averaged = {f"diffusion_ema.ema_{name}": tensor.clone() for name, tensor in state.items() if name.startswith("model.")}  # fmt: skip
    save_file(wrapped | averaged, folder / NAME)
    assert same(opened(folder), state)
    assert inspect_checkpoint(folder).layout == "training"


@pytest.mark.parametrize("prefix", ["model.model.", "model.", "", "diffusion_model."])
def test_the_transformer_alone(folder: Path, state: State, prefix: str) -> None:
    start = "model.model."
    part = {prefix + n.removeprefix(start): t for n, t in state.items() if n.startswith(start)}
    save_file(part, folder / NAME)
    message = refusal(folder)
    assert "holds only the transformer" in message and "the whole model" in message


def test_the_autoencoder_alone(folder: Path, state: State) -> None:
    save_file({n: t for n, t in state.items() if n.startswith("pretransform.")}, folder / NAME)
    assert "only an autoencoder; a whole model is needed" in refusal(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_files_have_the_exact_rotary_table(
    folder: Path, state: State, dtype: torch.dtype
) -> None:
    save_file({name: tensor.to(dtype) for name, tensor in state.items()}, folder / NAME)
    half = opened(folder)
    assert torch.equal(
        half.dit.prepare(None, torch.zeros(1, 128), 24).rotary[0],
        opened(TINY).dit.prepare(None, torch.zeros(1, 128), 24).rotary[0],
    )
    convert(folder, folder.parent / "out")
    stored = load_file(folder.parent / "out/model.safetensors")[INV_FREQ]
    assert torch.equal(stored, state[INV_FREQ]) and torch.equal(
        stored, inverse_frequencies(len(stored) * 2)
    )
