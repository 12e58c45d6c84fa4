"""Adapters of other programs: exact where they are understood, refused by name where they are not.

`golden/adapters` holds files that LoRAW and Stable Audio 3 wrote for the tiny model, and what the transformer of
stable-audio-tools computed with them in place.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from foreign import State, merged, random
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from auralith.checkpoints import (
    Checkpoint,
    Spec,
    convert,
    import_adapter,
    merge_adapters,
    open_adapters,
    open_checkpoint,
    read_adapter,
    with_adapters,
)
from auralith.checkpoints.adapter_changes import COLUMNS, adaptable_shapes, fit, spellings
from auralith.cli.main import run
from auralith.config import ModelConfig
from auralith.errors import CheckpointError
from tests.conftest import GOLDEN, open_tiny, relative_error

TINY = GOLDEN / "sao_tiny"
ADAPTERS = GOLDEN / "adapters"
SA3_KINDS = ("lora", "dora-rows", "dora-cols", "bora")


@pytest.fixture(scope="module")
def base() -> Checkpoint:
    return open_tiny("sao_tiny")


@pytest.fixture(scope="module")
def golden() -> State:
    return load_file(TINY / "golden.safetensors")


@pytest.fixture(scope="module")
def outputs() -> State:
    return load_file(ADAPTERS / "outputs.safetensors")


@torch.inference_mode()
def output(checkpoint: Checkpoint, golden: State) -> Tensor:
    inputs = (golden["dit.x"], golden["dit.t"], golden["cond.context"], golden["cond.global"])
    return checkpoint.dit(*inputs)


def factors(rank: int = 2, out: int = 128, columns: int = 128, seed: int = 0) -> State:
    return {"A": random(rank, columns, seed=seed), "B": random(out, rank, seed=seed + 100)}


# --- as the other programs compute ---


@pytest.mark.parametrize(
    ("name", "alpha", "strength"), [("lora", 3.0, 1.0), ("lora", 3.0, 0.6), ("dora", 4.0, 1.0)]
)
def test_loraw(
    base: Checkpoint,
    golden: State,
    outputs: State,
    tmp_path: Path,
    name: str,
    alpha: float,
    strength: float,
) -> None:
    """The model config that lies beside it holds alpha; DoRA also rescales the biases."""
    path = Path(shutil.copy(ADAPTERS / f"loraw_{name}.ckpt", tmp_path))
    config = {"model_type": "diffusion_cond", "lora": {"rank": 2, "alpha": alpha}}
    (tmp_path / "model_config.json").write_text(json.dumps(config))
    key = f"loraw.{name}" if strength == 1.0 else f"loraw.{name}.{strength}"
    assert relative_error(output(merged(base, path, strength), golden), outputs[key]) <= 1e-5
    adapter = read_adapter(path)
    assert (adapter.program, adapter.kind, adapter.notes) == ("LoRAW", name, ())


def test_loraw_without_its_config_takes_alpha_as_the_rank(tmp_path: Path) -> None:
    adapter = read_adapter(ADAPTERS / "loraw_lora.ckpt")
    assert {change.scale for change in adapter.changes.values()} == {1.0}
    assert adapter.notes == ("alpha is not stated; it was taken as the rank, so the scale is 1",)
    state = torch.load(ADAPTERS / "loraw_lora.ckpt", weights_only=True)
    save_file(state, tmp_path / "a.safetensors")
    assert read_adapter(tmp_path / "a.safetensors").changes.keys() == adapter.changes.keys()


@pytest.mark.parametrize("strength", [1.0, 0.5])
@pytest.mark.parametrize("kind", [*SA3_KINDS, *(f"{kind}-xs" for kind in SA3_KINDS)])
def test_all_kinds_of_stable_audio_3(
    base: Checkpoint, golden: State, outputs: State, kind: str, strength: float
) -> None:
    found = merged(base, ADAPTERS / f"sa3_{kind}.safetensors", strength)
    key = f"sa3.{kind}.{strength}"
    assert relative_error(output(found, golden), outputs[key]) <= 1e-5
    linear = found.numbers.state_dict()["seconds_total.linear.weight"]
    assert relative_error(linear[:8], outputs[f"{key}.number"]) <= 1e-5
    assert relative_error(outputs[key], output(base, golden)) > 0.01


def test_a_pickled_adapter_of_stable_audio_3_is_refused(tmp_path: Path) -> None:
    path = ADAPTERS / "sa3_dora-rows.safetensors"
    torch.save({"state_dict": load_file(path)}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"a\.ckpt is a pickle; .*\.safetensors"):
        read_adapter(tmp_path / "a.ckpt")


def test_adapters_of_stable_audio_3_stack(base: Checkpoint, tmp_path: Path) -> None:
    """The second changes what the first has made of a weight, and also weights that the first leaves alone."""
    one, two = (ADAPTERS / f"sa3_{kind}.safetensors" for kind in ("lora", "dora-rows"))
    part = {n: t for n, t in load_file(one).items() if n.startswith("model.to_global_embed.0.")}
    first = tmp_path / "first.safetensors"
    with safe_open(one, framework="pt") as file:
        save_file(part, first, file.metadata())
    plain = base.dit.state_dict()
    both = with_adapters(base, open_adapters([(first, 1.0), (two, 1.0)])).dit.state_dict()
    alone = merged(base, two).dit.state_dict()
    shared = "global_embed.0.weight"
    lengths = [both[shared].norm(dim=1), alone[shared].norm(dim=1)]
    assert torch.allclose(*lengths, rtol=1e-5)  # the trained ones, whatever came before
    assert relative_error(both[shared], alone[shared]) > 1e-3
    for name in plain:
        if name != shared:
            assert torch.equal(both[name], alone[name]), name


@pytest.mark.parametrize(
    "settings",
    [
        {"lora_alpha": 3, "alpha_pattern": {"attn2.to_q": 5}, "rank_pattern": {"to_v": 3}},
        {"lora_alpha": 3, "use_rslora": True},
        {"lora_alpha": 3, "use_dora": True},
    ],
    ids=["patterns", "rslora", "dora"],
)
def test_peft_on_the_transformer_of_diffusers(
    base: Checkpoint, golden: State, tmp_path: Path, settings: dict[str, Any]
) -> None:
    """Queries, keys and values are apart there; one wrapped and run as it is."""
    from diffusers.models.transformers.stable_audio_transformer import StableAudioDiTModel

    convert(TINY, tmp_path / "model", "diffusers")
    model = StableAudioDiTModel.from_pretrained(tmp_path / "model/transformer")
    targets = ["to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "proj_in", "timestep_proj.0"]
    torch.manual_seed(0)
    config = peft.LoraConfig(r=2, target_modules=targets, init_lora_weights=False, **settings)
    wrapped = peft.get_peft_model(model, config).eval()
    wrapped.save_pretrained(str(tmp_path / "adapter"))
    wrapped.merge_and_unload()
    merged_weights = model.state_dict()
    found = merged(base, tmp_path / "adapter").dit.state_dict()
    for index in range(2):
        theirs = f"transformer_blocks.{index}.attn1.to_{{}}.weight"
        joined = torch.cat([merged_weights[theirs.format(part)] for part in "qkv"])
        assert relative_error(found[f"blocks.{index}.self_attention.qkv.weight"], joined) <= 1e-6
        theirs = f"transformer_blocks.{index}.attn2.to_q.weight"
        ours = f"blocks.{index}.cross_attention.q.weight"
        assert relative_error(found[ours], merged_weights[theirs]) <= 1e-6
    assert relative_error(found["project_in.weight"], merged_weights["proj_in.weight"]) <= 1e-6
    before = base.dit.state_dict()
    assert not torch.equal(found["project_in.weight"], before["project_in.weight"])


# --- the same change under many names ---

QKV = ("model.model.transformer.layers.1.self_attn.to_qkv", 384)
SPELLINGS = {
    "ours": "blocks.1.self_attention.qkv.{lora}",
    "peft": "base_model.model.model.model.transformer.layers.1.self_attn.to_qkv.{lora}",
    "peft with a name": "base_model.model.blocks.1.self_attention.qkv.{named}",
    "the wrapper": "model.model.transformer.layers.1.self_attn.to_qkv.{kohya}",
    "the transformer alone": "transformer.layers.1.self_attn.to_qkv.{kohya}",
    "ComfyUI": "diffusion_model.transformer.layers.1.self_attn.to_qkv.{kohya}",
    "kohya": "lora_unet_transformer_layers_1_self_attn_to_qkv.{kohya}",
    "LoRAW": "model/model/transformer/layers/1/self_attn/to_qkv/{kohya}",
    "LoRAW in training": "diffusion/model/model/transformer/layers/1/self_attn/to_qkv/{kohya}",
    "diffusers fused": "transformer.transformer_blocks.1.attn1.to_qkv.{lora}",
    "diffusers old": "transformer_blocks.1.attn1.to_qkv.lora.{updown}",
    "diffusers older": "transformer_blocks.1.attn1.processor.to_qkv_lora.{updown}",
    "Stable Audio 3": "model.transformer.layers.1.self_attn.to_qkv.parametrizations.weight.0.{sa3}",
}
ENDS = {
    "lora": ("lora_A.weight", "lora_B.weight"),
    "named": ("lora_A.default.weight", "lora_B.default.weight"),
    "kohya": ("lora_down.weight", "lora_up.weight"),
    "updown": ("down.weight", "up.weight"),
    "sa3": ("lora_A", "lora_B"),
}


@pytest.mark.parametrize(
    ("program", "dtype"),
    [*((p, torch.float32) for p in SPELLINGS), ("peft", torch.float16), ("kohya", torch.bfloat16)],
    ids=str,
)
def test_the_same_change_under_every_name(
    base: Checkpoint, tmp_path: Path, program: str, dtype: torch.dtype
) -> None:
    name, change = SPELLINGS[program], factors(out=384)
    ends = next(ends for key, ends in ENDS.items() if f"{{{key}}}" in name)
    stem = name[: name.index("{")]
    pair = (change["A"].to(dtype), change["B"].to(dtype))
    save_file(
        {stem + end: t for end, t in zip(ends, pair, strict=True)}, tmp_path / "a.safetensors"
    )
    found = merged(base, tmp_path / "a.safetensors").dit.state_dict()
    for key, weight in base.dit.state_dict().items():
        touched = key == "blocks.1.self_attention.qkv.weight"
        expected = weight + pair[1].float() @ pair[0].float() if touched else weight
        assert torch.allclose(found[key], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("alpha", [torch.tensor(1.0), torch.tensor(1), torch.tensor([1.0]).half()])
def test_alpha_as_a_tensor(base: Checkpoint, tmp_path: Path, alpha: Tensor) -> None:
    change = factors(rank=4)
    stem = "lora_unet_transformer_layers_0_self_attn_to_out"
    tensors = {f"{stem}.lora_down.weight": change["A"], f"{stem}.lora_up.weight": change["B"]}
    save_file({**tensors, f"{stem}.alpha": alpha}, tmp_path / "a.safetensors")
    found = merged(base, tmp_path / "a.safetensors", -2.0).dit.state_dict()
    name = "blocks.0.self_attention.out.weight"
    expected = base.dit.state_dict()[name] - 2 * 0.25 * change["B"] @ change["A"]
    assert torch.allclose(found[name], expected, rtol=0, atol=1e-6)


def test_kohya_alpha_in_the_header_and_diffusers_settings(tmp_path: Path) -> None:
    stem = "transformer.transformer_blocks.0.attn1.to_q"
    lora = {f"{stem}.lora_A.weight": random(4, 128), f"{stem}.lora_B.weight": random(128, 4)}
    settings = {"transformer.r": 4, "transformer.lora_alpha": 8, "transformer.use_rslora": True}
    header = {"lora_adapter_metadata": json.dumps(settings)}
    save_file(lora, tmp_path / "a.safetensors", header)
    (change,) = read_adapter(tmp_path / "a.safetensors").changes.values()
    assert change.scale == 8 / 2
    down_up = {name.replace("lora_A", "lora_down").replace("lora_B", "lora_up"): t for name, t in lora.items()}  # fmt: skip
    save_file(down_up, tmp_path / "b.safetensors", {"ss_network_alpha": "2.0"})
    (change,) = read_adapter(tmp_path / "b.safetensors").changes.values()
    assert change.scale == 0.5


@pytest.mark.parametrize("axis", [0, 1])
def test_dora_scale_by_its_shape(base: Checkpoint, tmp_path: Path, axis: int) -> None:
    """One length for each row, or one for each column, of a projection where the two could be confused."""
    name, change = "blocks.0.self_attention.out.weight", factors()
    lengths = 1 + random(128).abs().reshape((128, 1) if axis == 0 else (1, 128))
    stem = "lora_unet_transformer_layers_0_self_attn_to_out"
    tensors = {f"{stem}.lora_down.weight": change["A"], f"{stem}.lora_up.weight": change["B"]}
    save_file({**tensors, f"{stem}.dora_scale": lengths}, tmp_path / "a.safetensors")
    found = merged(base, tmp_path / "a.safetensors", 0.5).dit.state_dict()[name]
    weight = base.dit.state_dict()[name]
    directed = weight + change["B"] @ change["A"]
    trained = directed / directed.norm(dim=1 - axis, keepdim=True) * lengths
    assert torch.allclose(found, (weight + trained) / 2, rtol=0, atol=1e-6)


def test_convolutions_of_the_autoencoder(base: Checkpoint, tmp_path: Path) -> None:
    """A convolution with taps, as LoRAW and peft write it; the folder that is written computes the same."""
    weight = base.autoencoder.state_dict()["encoder.conv_in.weight"]
    out, channels, taps = weight.shape
    stem = "pretransform/model/encoder/layers/0"
    down, up = random(2, channels, taps), random(out, 2, 1)
    tensors = {f"{stem}/lora_down.weight": down, f"{stem}/lora_up.weight": up}
    save_file(tensors, tmp_path / "a.safetensors")
    found = merged(base, tmp_path / "a.safetensors").autoencoder
    sound = random(1, 2, 4096)
    conv = nn.functional.conv1d
    plain = conv(sound, weight, padding=taps // 2)
    expected = plain + conv(conv(sound, down, padding=taps // 2), up)
    theirs = conv(sound, found.state_dict()["encoder.conv_in.weight"], padding=taps // 2)
    assert relative_error(theirs, expected) <= 1e-5
    merge_adapters(TINY, [(tmp_path / "a.safetensors", 1.0)], tmp_path / "out")
    again = open_checkpoint(tmp_path / "out", device=torch.device("cpu"), dtype=torch.float32)
    for name, tensor in found.state_dict().items():
        assert relative_error(again.autoencoder.state_dict()[name], tensor) <= 1e-6
    plain_again = with_adapters(
        replace(base, autoencoder=found), [], open_adapters([(tmp_path / "a.safetensors", 1.0)])
    )
    assert torch.equal(plain_again.autoencoder.state_dict()["encoder.conv_in.weight"], weight)


@pytest.mark.parametrize("name", ["loraw_dora.ckpt", "sa3_bora.safetensors"])
def test_a_merged_folder_computes_the_same(
    base: Checkpoint, golden: State, tmp_path: Path, name: str
) -> None:
    """Also where biases and the timing embedders change."""
    merge_adapters(TINY, [(ADAPTERS / name, 0.7)], tmp_path / "out")
    found = open_checkpoint(tmp_path / "out", device=torch.device("cpu"), dtype=torch.float32)
    expected = merged(base, ADAPTERS / name, 0.7)
    assert torch.equal(output(found, golden), output(expected, golden))
    state, reference = found.numbers.state_dict(), expected.numbers.state_dict()
    assert all(torch.equal(state[key], reference[key]) for key in reference)


def test_adapters_of_several_programs_add_up(base: Checkpoint) -> None:
    one, two = ADAPTERS / "loraw_lora.ckpt", ADAPTERS / "sa3_dora-cols.safetensors"
    both = with_adapters(base, open_adapters([(one, 0.4), (two, 0.5)])).dit.state_dict()
    first, second = (merged(base, *c).dit.state_dict() for c in ((one, 0.4), (two, 0.5)))
    for name, weight in base.dit.state_dict().items():
        expected = first[name] + second[name] - weight
        assert torch.allclose(both[name], expected, rtol=0, atol=1e-5), name


@pytest.mark.parametrize("spec", [Spec.of(ModelConfig()), None], ids=["published", "tiny"])
def test_no_name_means_two_weights(base: Checkpoint, spec: Spec | None) -> None:
    spec = spec or Spec.of(base.config)
    shapes = adaptable_shapes(spec)
    meant: dict[str, set[str]] = {}
    for column in COLUMNS:
        for name, place in spellings(shapes, spec, column):
            meant.setdefault(name, set()).add(f"{place.module} {place.first} {place.end}")
    assert {name: places for name, places in meant.items() if len(places) > 1} == {}
    assert len(meant) > 4 * len(shapes)


# --- rewritten, and from the command line ---


def test_an_imported_adapter_changes_the_same(base: Checkpoint, tmp_path: Path) -> None:
    """Split queries and values of different ranks and scales become one projection."""
    tensors: State = {}
    for index, (part, rank) in enumerate((("to_q", 2), ("to_v", 5))):
        stem = f"transformer.transformer_blocks.0.attn1.{part}"
        change = factors(rank, seed=index)
        tensors |= {f"{stem}.lora_down.weight": change["A"], f"{stem}.lora_up.weight": change["B"]}
        tensors[f"{stem}.alpha"] = torch.tensor(float(index + 1))
    save_file(tensors, tmp_path / "a.safetensors")
    import_adapter(read_adapter(tmp_path / "a.safetensors"), TINY, tmp_path / "b.safetensors")
    own = read_adapter(tmp_path / "b.safetensors")
    assert own.metadata is not None and own.metadata.config.rank == 7
    found, expected = (
        merged(base, tmp_path / f"{name}.safetensors", 0.8).dit.state_dict() for name in "ba"
    )
    for name, weight in expected.items():
        assert torch.allclose(found[name], weight, rtol=0, atol=1e-6)
    for kind in ("bora", "lora"):
        adapter = read_adapter(ADAPTERS / f"sa3_{kind}.safetensors")
        with pytest.raises(CheckpointError, match="can't be written as an adapter of Auralith"):
            import_adapter(adapter, TINY, tmp_path / "c.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, model = str(ADAPTERS / "loraw_lora.ckpt"), str(TINY)
    assert run(["adapter", "inspect", path, "--model", model]) == 0
    shown = capsys.readouterr().out
    assert "program      LoRAW" in shown and "modules      24 of 95" in shown
    assert "alpha is not stated" in shown
    assert run(["adapter", "inspect", path, "--model", model, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["touched"]["transformer"] == 24
    assert run(["adapter", "inspect", path]) == 2
    captured = capsys.readouterr()
    assert captured.out.count("misshapen") == 24 and "does not fit the model" in captured.err
    assert run(["adapter", "list", str(ADAPTERS)]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 11 and captured.err == ""
    sound = ["generate", "rain", "--model", model, "--steps", "2", "--seconds", "0.3", "--window", "fit"]  # fmt: skip
    assert run([*sound, "--adapter", f"{path}:0.5", "-o", str(tmp_path / "a.wav")]) == 0
    out = str(tmp_path / "own.safetensors")
    assert run(["adapter", "import", path, "--model", model, "-o", out]) == 2
    assert "it changes dit.conv_in" in capsys.readouterr().err
    dora = str(ADAPTERS / "loraw_dora.ckpt")
    assert run(["adapter", "import", dora, "--model", model, "-o", out]) == 2
    assert "the bias of dit.timestep_embed.0" in capsys.readouterr().err


def test_a_fit_counts_by_part(base: Checkpoint) -> None:
    adapter = read_adapter(ADAPTERS / "sa3_lora.safetensors")
    found = fit(adapter.changes, Spec.of(base.config))
    assert found.problem is None
    assert found.touched == {"transformer": 6, "timing embedders": 1, "autoencoder": 0}
    assert found.adaptable == {"transformer": 24, "timing embedders": 2, "autoencoder": 69}
