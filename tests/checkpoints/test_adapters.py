"""Adapters: placed into the transformer, written, read strictly, merged with strengths, used from the command line."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import numpy as np
import peft
import pytest
import soundfile
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from auralith.adapter_effect import AdapterEffect
from auralith.checkpoints import (
    AdapterConfig,
    AdapterMetadata,
    Checkpoint,
    adapter_state,
    add_adapter,
    merge_adapters,
    open_adapters,
    open_checkpoint,
    read_adapter,
    save_adapter,
    with_adapters,
    write_adapter,
)
from auralith.checkpoints.adapter_file import KEY, PROJECTIONS, adapter_shapes
from auralith.checkpoints.adapters import Choice, adapter_warnings, targeted_projections
from auralith.cli.adapter import parse_adapter
from auralith.cli.main import run
from auralith.config import DiTConfig
from auralith.errors import CheckpointError, InvalidRequest, MissingExtra, ResourceError
from auralith.models.dit import DiT
from auralith.pipeline import EMBEDDED, load
from auralith.provenance import read_provenance
from auralith.request import GenerationRequest
from tests.conftest import GOLDEN, open_tiny, relative_error
from tests.networks import dit_config

TINY = GOLDEN / "sao_tiny"
LORA = AdapterConfig(rank=4, alpha=6.0)
KINDS = (LORA, replace(LORA, kind="dora"))


def adapted_dit(base: Checkpoint, config: AdapterConfig, seed: int = 0) -> DiT:
    """A copy of the transformer with an adapter that has been trained, or looks like it."""
    dit = DiT(dit_config(base.config))
    dit.load_state_dict(base.dit.state_dict())
    rng = np.random.default_rng(seed)
    for parameter in add_adapter(dit, config, rng):
        noise = torch.from_numpy(rng.standard_normal(parameter.shape)).float()
        parameter.data.mul_(1 + 0.1 * noise).add_(0.05 * noise)
    return dit.eval()


def written(path: Path, base: Checkpoint, config: AdapterConfig = LORA, seed: int = 0) -> Path:
    dit = adapted_dit(base, config, seed)
    save_adapter(path, dit, AdapterMetadata(config, "sao_tiny", base.model_hash, "prompt", 7))
    return path


def merged(base: Checkpoint, *choices: Choice) -> Checkpoint:
    return with_adapters(base, open_adapters(choices))


def refusal(path: Path, base: Checkpoint | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_adapter(path) if base is None else merged(base, (path, 1.0))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def base() -> Checkpoint:
    return open_tiny("sao_tiny")


@pytest.fixture(scope="module")
def inputs() -> dict[str, Tensor]:
    golden = load_file(TINY / "golden.safetensors")
    names = {
        "latents": "dit.x",
        "t": "dit.t",
        "context": "cond.context",
        "global_embed": "cond.global",
    }
    return {name: golden[key] for name, key in names.items()}


# --- in the transformer ---


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_a_new_adapter_changes_nothing_and_is_all_that_is_trained(
    base: Checkpoint, inputs: dict[str, Tensor], config: AdapterConfig
) -> None:
    dit = DiT(dit_config(base.config))
    dit.load_state_dict(base.dit.state_dict())
    before = torch.get_rng_state()
    trained = add_adapter(dit, config, np.random.default_rng(3))
    assert torch.equal(torch.get_rng_state(), before)
    with torch.no_grad():
        assert relative_error(dit(**inputs), base.dit(**inputs)) <= 1e-6
    assert {id(p) for p in dit.parameters() if p.requires_grad} == {id(p) for p in trained}
    assert all(p.dtype == torch.float32 for p in trained)
    again = DiT(dit_config(base.config))
    again.load_state_dict(base.dit.state_dict())
    twins = add_adapter(again, config, np.random.default_rng(3))
    assert all(torch.equal(a, b) for a, b in zip(trained, twins, strict=True))


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_training_forward_equals_merged_weights_on_the_fast_path(
    base: Checkpoint, inputs: dict[str, Tensor], config: AdapterConfig, tmp_path: Path
) -> None:
    dit = adapted_dit(base, config)
    save_adapter(tmp_path / "a.safetensors", dit, AdapterMetadata(config))
    fast = merged(base, (tmp_path / "a.safetensors", 1.0)).dit
    frames = inputs["latents"].shape[-1]
    context = inputs["context"][:1]  # the other rows are unconditional
    with torch.inference_mode():
        slow_prepared = dit.prepare(context, inputs["global_embed"], frames)
        fast_prepared = fast.prepare(context, inputs["global_embed"], frames)
        plain = base.dit.prepare(context, inputs["global_embed"], frames)
        slow_out = dit.step(inputs["latents"], inputs["t"], slow_prepared)
        fast_out = fast.step(inputs["latents"], inputs["t"], fast_prepared)
        plain_out = base.dit.step(inputs["latents"], inputs["t"], plain)
    for slow_memory, fast_memory, old in zip(
        slow_prepared.memories, fast_prepared.memories, plain.memories, strict=True
    ):
        assert relative_error(slow_memory.key, fast_memory.key) <= 1e-5
        assert relative_error(old.key, fast_memory.key) > 0.01
    assert relative_error(slow_out, fast_out) <= 1e-5
    assert relative_error(plain_out, fast_out) > 0.01
    assert fast.state_dict().keys() == base.dit.state_dict().keys()


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
@pytest.mark.parametrize("how", ["bfloat16", "autocast"])
def test_half_precision_is_near_and_trains_every_factor(
    base: Checkpoint, inputs: dict[str, Tensor], config: AdapterConfig, how: str
) -> None:
    dit = adapted_dit(base, config)
    with torch.no_grad():
        expected = dit(**inputs)
    values = dict(inputs)
    if how == "bfloat16":
        for name, parameter in dit.named_parameters():
            if "lora_" not in name and not name.endswith("frequencies"):
                parameter.data = parameter.data.bfloat16()
        values = {n: v if n == "t" else v.bfloat16() for n, v in inputs.items()}
    with torch.autocast("cpu", torch.bfloat16, enabled=how == "autocast"):
        out = dit(**values)
    assert relative_error(out.float(), expected) <= 0.05
    out.float().square().mean().backward()
    for name, parameter in dit.named_parameters():
        assert (parameter.grad is not None) == ("lora_" in name), name
        assert parameter.grad is None or parameter.grad.abs().max() > 0, name


def test_what_cannot_be_trained_is_named(base: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InvalidRequest, match=r"'self_attention\.norm' names no"):
        add_adapter(
            DiT(dit_config(base.config)), replace(LORA, targets=("self_attention.norm",)), rng
        )
    fresh = DiT(dit_config(base.config))
    fresh.reset_parameters()
    with pytest.raises(InvalidRequest, match="rows of zeros"):
        add_adapter(fresh, KINDS[1], rng)
    for change in ({"rank": 0}, {"alpha": 0.0}, {"dropout": 1.0}, {"targets": ()}):
        with pytest.raises(InvalidRequest, match=next(iter(change))):
            replace(LORA, **change)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"auralith\[train\]"):
        add_adapter(fresh, LORA, rng)


def test_size_at_the_published_model() -> None:
    with torch.device("meta"):
        dit = DiT(DiTConfig())
    config = AdapterConfig()
    shapes = adapter_shapes(config, targeted_projections(dit, config))
    assert len(shapes) == 2 * 24 * len(PROJECTIONS)
    assert sum(np.prod(shape) for shape in shapes.values()) == 15_040_512


# --- files ---


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_files_come_back_as_they_were(
    base: Checkpoint, config: AdapterConfig, tmp_path: Path
) -> None:
    config = replace(config, targets=("self_attention.qkv", "blocks.1.feed_forward.down"))
    dit = adapted_dit(base, config)
    metadata = AdapterMetadata(config, "sao_tiny", "ab" * 32, "caption", 300)
    save_adapter(tmp_path / "a.safetensors", dit, metadata)
    adapter = read_adapter(tmp_path / "a.safetensors")
    assert adapter.metadata == metadata and adapter.name == "a.safetensors"
    depth = base.config.dit.depth
    layers = [f"blocks.{i}.self_attention.qkv" for i in range(depth)] + [
        "blocks.1.feed_forward.down"
    ]
    assert sorted(adapter.changes) == sorted(layers)
    stored, expected = load_file(tmp_path / "a.safetensors"), adapter_state(dit.state_dict())
    assert stored.keys() == expected.keys() == adapter.shapes.keys()
    assert all(torch.equal(stored[name], expected[name]) for name in expected)
    ends = {
        name.split(".", 2)[2].removeprefix("self_attention.qkv.")
        for name in stored
        if "qkv" in name
    }
    names = {"lora_A.weight", "lora_B.weight", "lora_magnitude_vector"}
    assert ends == (names if config.kind == "dora" else names - {"lora_magnitude_vector"})


NAME = "blocks.1.cross_attention.kv.lora_B.weight"
UNFIT: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "missing": (lambda s: s.pop(NAME), f"'{NAME}' is missing"),
    "unexpected": (lambda s: s.update({"blocks.0.extra": torch.zeros(2)}), "'blocks.0.extra' is unexpected"),
    "rank": (lambda s: s.update({NAME: torch.zeros(len(s[NAME]), 3)}), f"'{NAME}' is {{out}}×3, not {{out}}×4"),
    "flat": (lambda s: s.update({NAME: torch.zeros(5)}), f"'{NAME}' is 5, not"),
    "magnitude": (lambda s: s.update({NAME.replace("lora_B.weight", "lora_magnitude_vector"): torch.zeros(4)}), "is unexpected"),
    "integers": (lambda s: s.update({NAME: s[NAME].int()}), "not floating point"),
    "empty": (lambda s: s.clear(), "no tensors"),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNFIT)
def test_tensors_that_do_not_belong_are_named(base: Checkpoint, tmp_path: Path, kind: str) -> None:
    path = written(tmp_path / "a.safetensors", base)
    tensors = load_file(path)
    change, expected = UNFIT[kind]
    out = len(tensors[NAME])
    change(tensors)
    header = {KEY: json.dumps({"config": {"rank": 4, "alpha": 6.0}, "format_version": 1})}
    save_file(tensors, path, header)
    assert expected.replace("{out}", str(out)) in refusal(path)
    if kind in ("missing", "rank", "empty"):
        with pytest.raises(CheckpointError):
            write_adapter(tmp_path / "b.safetensors", tensors, AdapterMetadata(LORA))
        assert not (tmp_path / "b.safetensors").exists()


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("{", "not JSON"),
        ("[]", "another adapter format"),
        ('{"config": {}, "format_version": 2}', "another adapter format"),
        ('{"config": {"rank": "many"}, "format_version": 1}', "config.rank must be a whole number"),
        ('{"config": {"rank": -1}, "format_version": 1}', "rank is -1"),
        ('{"config": {"knid": "lora"}, "format_version": 1}', "did you mean 'kind'"),
        ('{"format_version": 1}', "config is missing"),
    ],
)
def test_metadata_that_cannot_be_right(
    base: Checkpoint, tmp_path: Path, header: str, expected: str
) -> None:
    path = written(tmp_path / "a.safetensors", base)
    save_file(load_file(path), path, {KEY: header})
    assert expected in refusal(path)


def test_damaged_and_missing_files(base: Checkpoint, tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", base)
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    assert "truncated" in refusal(path)
    path.write_bytes(b"PK\x03\x04 not at all")
    assert "not a safetensors file" in refusal(path)
    assert "there is no adapter" in refusal(tmp_path / "b.safetensors")
    assert "holds no adapter" in refusal(tmp_path)
    with pytest.raises(ResourceError, match="can't be written"):
        written(tmp_path / "no" / "folder" / "a.safetensors", base)
    assert [child.name for child in tmp_path.iterdir()] == ["a.safetensors"]


def test_adapters_of_peft_are_read(base: Checkpoint, tmp_path: Path) -> None:
    dit = DiT(dit_config(base.config))
    dit.load_state_dict(base.dit.state_dict())
    config = peft.LoraConfig(
        r=4, lora_alpha=3, target_modules=["blocks.1.self_attention.qkv", "blocks.1.feed_forward.up"],
        use_rslora=True, init_lora_weights=False,
    )  # fmt: skip
    wrapped = peft.get_peft_model(dit, config)
    wrapped.save_pretrained(str(tmp_path / "theirs"))
    adapter = read_adapter(tmp_path / "theirs")
    assert [c.scale for c in adapter.changes.values()] == pytest.approx([1.5, 1.5])
    found = merged(base, (tmp_path / "theirs", 1.0)).dit.state_dict()
    expected = wrapped.merge_and_unload().state_dict()
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in found)
    name = "blocks.1.feed_forward.up.weight"
    assert not torch.equal(found[name], base.dit.state_dict()[name])
    data = json.loads((tmp_path / "theirs/adapter_config.json").read_text())
    for change, message in (
        ({"rank_pattern": {"up": 2}}, "has rank 4, but the config says 2"),
        ({"rank_pattern": {"u.*": 2}}, "regular expressions in rank_pattern"),
        ({"modules_to_save": ["project_in"]}, "adapters with modules_to_save"),
        ({"bias": "all"}, "adapters with bias"),
        ({"lora_bias": True}, "adapters with lora_bias"),
        ({"use_dora": True}, "is lora, but the config says dora"),
        ({"init_lora_weights": "pissa"}, "adapters with init_lora_weights"),
        ({"peft_type": "IA3"}, "the type 'IA3' can't be used"),
        ({"r": "x"}, "unusable LoRA config"),
    ):
        (tmp_path / "theirs/adapter_config.json").write_text(json.dumps(data | change))
        assert message in refusal(tmp_path / "theirs")


# --- merged into the weights ---


def test_strengths_add_up_as_by_hand(base: Checkpoint, tmp_path: Path) -> None:
    one = written(tmp_path / "a.safetensors", base, LORA, 1)
    two = written(
        tmp_path / "b.safetensors",
        base,
        AdapterConfig(rank=2, alpha=1.0, targets=("feed_forward.up", "qkv")),
        2,
    )
    found = merged(base, (one, 0.8), (two, -1.5)).dit.state_dict()
    first, second = load_file(one), load_file(two)
    for name, weight in base.dit.state_dict().items():
        expected = weight.double()
        for tensors, scale in ((first, 0.8 * 6 / 4), (second, -1.5 * 1 / 2)):
            module = name.removesuffix(".weight")
            if f"{module}.lora_A.weight" in tensors:
                b, a = tensors[f"{module}.lora_B.weight"], tensors[f"{module}.lora_A.weight"]
                expected = expected + scale * b.double() @ a.double()
        assert torch.allclose(found[name].double(), expected, rtol=0, atol=1e-6), name
    changed = [
        name
        for name, weight in base.dit.state_dict().items()
        if not torch.equal(found[name], weight)
    ]
    assert len(changed) == len(PROJECTIONS) * base.config.dit.depth


@pytest.mark.parametrize("config", KINDS, ids=lambda config: config.kind)
def test_strength_is_linear_and_zero_is_the_base_bit_for_bit(
    base: Checkpoint, config: AdapterConfig, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.safetensors", base, config)
    states = [merged(base, (path, s)).dit.state_dict() for s in (0.0, 0.5, 1.0)]
    for name, weight in base.dit.state_dict().items():
        none, half, whole = (state[name] for state in states)
        assert torch.equal(none, weight)
        assert torch.allclose(half - weight, (whole - weight) / 2, atol=1e-6)


def test_the_sum_is_rounded_once(base: Checkpoint, tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", base)
    half = open_checkpoint(TINY, device=torch.device("cpu"), dtype=torch.bfloat16)
    found, exact = (
        merged(half, (path, 1.0)).dit.state_dict(),
        merged(base, (path, 1.0)).dit.state_dict(),
    )
    for name, weight in exact.items():
        assert torch.equal(found[name], weight if "frequencies" in name else weight.bfloat16())


def test_adapters_can_be_changed_on_a_loaded_model(base: Checkpoint, tmp_path: Path) -> None:
    one = written(tmp_path / "a.safetensors", base, seed=1)
    two = written(tmp_path / "b.safetensors", base, replace(LORA, targets=("feed_forward.up",)), 2)
    model = load(TINY, device="cpu", dtype="float32", adapters=[(one, 0.5)])
    changed = model.with_adapters([(two, 1.0)])
    expected = load(TINY, device="cpu", dtype="float32", adapters=[(two, 1.0)])
    plain = changed.with_adapters([])
    for name, weight in base.dit.state_dict().items():
        assert torch.equal(changed.dit.state_dict()[name], expected.dit.state_dict()[name])
        assert torch.equal(plain.dit.state_dict()[name], weight)
    assert [(a.adapter.name, a.strength) for a in model.adapters] == [("a.safetensors", 0.5)]
    assert (
        plain.adapters == () and model.with_adapters([(one, 1.0)]).autoencoder is model.autoencoder
    )
    request = GenerationRequest("rain", steps=2, seed=5, seconds_total=0.4, window="fit")
    sounds = [one.generate(request).waveform for one in (model, changed, plain)]
    assert torch.equal(
        sounds[2], load(TINY, device="cpu", dtype="float32").generate(request).waveform
    )
    assert not torch.equal(sounds[0], sounds[1]) and not torch.equal(sounds[1], sounds[2])


def test_the_model_in_training_can_be_merged_with_what_it_has_learned(
    base: Checkpoint, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.safetensors", base)
    training = replace(base, dit=adapted_dit(base, LORA))
    found = with_adapters(training, open_adapters([(path, 1.0)])).dit.state_dict()
    expected = merged(base, (path, 1.0)).dit.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_an_adapter_of_a_relative_is_used_with_a_warning(
    base: Checkpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path / "a.safetensors", base)
    own = open_adapters([(path, 1.0)])
    assert adapter_warnings(own, base.model_hash) == []
    (line,) = adapter_warnings(own, "ef" * 32)
    assert "a.safetensors" in line and base.model_hash[:12] in line and "efefefefefef" in line
    save_adapter(path, adapted_dit(base, LORA), AdapterMetadata(LORA, "relative", "ef" * 32))
    load(TINY, device="cpu", dtype="float32", adapters=[(path, 1.0)])
    assert "trained on another model (relative" in caplog.text
    other = open_tiny("sao_small_tiny")
    message = refusal(path, other)
    assert "does not fit the model" in message and str(path) in message


def test_values_that_are_no_numbers_and_strengths_out_of_range(
    base: Checkpoint, tmp_path: Path
) -> None:
    path = written(tmp_path / "a.safetensors", base)
    for strength in (float("nan"), float("inf"), 10.5):
        with pytest.raises(InvalidRequest, match="strength"):
            open_adapters([(path, strength)])
    tensors = load_file(path)
    tensors[NAME][0, 0] = float("nan")
    write_adapter(path, tensors, AdapterMetadata(LORA))
    assert "blocks.1.cross_attention.kv NaN" in refusal(path, base)


def test_a_merged_folder_is_the_model_with_its_adapters(base: Checkpoint, tmp_path: Path) -> None:
    one, two = (written(tmp_path / f"{n}.safetensors", base, seed=n) for n in (1, 2))
    out = tmp_path / "out"
    assert merge_adapters(TINY, [(one, 0.8), (two, 0.3)], out) == []
    found = open_checkpoint(out, device=torch.device("cpu"), dtype=torch.float32)
    expected = merged(base, (one, 0.8), (two, 0.3))
    for part in ("dit", "autoencoder", "numbers", "text.model"):
        state, reference = (attrgetter(part)(c).state_dict() for c in (found, expected))
        assert state.keys() == reference.keys()
        assert all(torch.equal(state[name], reference[name]) for name in reference)
    with pytest.raises(CheckpointError, match="exists already"):
        merge_adapters(TINY, [(one, 1.0)], out)
    with pytest.raises(CheckpointError, match="does not fit"):
        merge_adapters(GOLDEN / "sao_small_tiny", [(one, 1.0)], tmp_path / "other")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1.safetensors", "2.safetensors", "out"]


# --- the command line ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.safetensors:0.8", ("a.safetensors", 0.8)),
        ("a.safetensors", ("a.safetensors", 1.0)),
        (r"C:\a.safetensors", (r"C:\a.safetensors", 1.0)),
        (r"C:\a.safetensors:-2", (r"C:\a.safetensors", -2.0)),
        ("folder:much", ("folder:much", 1.0)),
        (":3", (":3", 1.0)),
    ],
)
def test_file_and_strength(text: str, expected: tuple[str, float]) -> None:
    path, strength = expected
    assert parse_adapter(text) == (path, AdapterEffect(strength))


def test_from_training_to_sound_with_the_embedded_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    base = open_checkpoint(EMBEDDED, device=torch.device("cpu"), dtype=torch.float32)
    config = AdapterConfig(
        "dora", rank=2, alpha=2.0, targets=("self_attention.qkv", "cross_attention.kv")
    )
    metadata = AdapterMetadata(config, "embedded", base.model_hash, "prompt", 40)
    save_adapter("a.safetensors", adapted_dit(base, config), metadata)

    def samples(output: str, *options: str) -> np.ndarray:
        command = "generate rain --steps 2 --seconds 0.3 --window fit --seed 3 --dtype float32 --subtype float"
        assert run([*command.split(), *options, "-o", output]) == 0
        return soundfile.read(output, dtype="float32")[0]

    plain = samples("plain.wav")
    assert np.array_equal(samples("none.wav", "--adapter", "a.safetensors:0"), plain)
    half = samples("half.wav", "--adapter", "a.safetensors:0.5")
    assert not np.array_equal(half, plain)
    twice = samples("twice.wav", "--adapter", "a.safetensors:0.2", "--adapter", "a.safetensors:0.3")
    assert np.abs(twice - half).max() < 1e-3
    capsys.readouterr()
    assert run(["adapter", "merge", "embedded", "a.safetensors:0.5", "-o", "out"]) == 0
    assert capsys.readouterr().out == "out\n"
    assert np.array_equal(samples("merged.wav", "--model", "out"), half)
    capsys.readouterr()
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    assert run(["adapter", "list", "."]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("\n") == 2 and "broken.safetensors" in captured.err
    assert captured.out.splitlines()[1].split()[:5] == ["a.safetensors", "dora", "2", "2.0", "16"]
    assert run(["adapter", "list", "a.safetensors", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["steps"], shown["config"]["kind"], shown["base_model"]) == (
        40,
        "dora",
        "embedded",
    )
    assert run(["adapter", "list", "out/model.safetensors"]) == 2
    assert "is no adapter" in capsys.readouterr().err
    assert run(["generate", "rain", "--adapter", "b.safetensors:0.8"]) == 2
    assert "there is no adapter b.safetensors" in capsys.readouterr().err


def test_a_sound_is_made_again_with_its_adapters(
    base: Checkpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("adapters", "sounds", "elsewhere"):
        Path(folder).mkdir()
    one = written(tmp_path / "adapters/a.safetensors", base, seed=1)
    command = ["generate", "rain", "--model", str(TINY), "--adapter", f"{one}:0.7", "--steps", "2"]
    command += "--seconds 0.3 --window fit --seed 3 --subtype float -o sounds/a.wav".split()
    assert run(command) == 0
    (used,) = read_provenance("sounds/a.wav").adapters
    assert (used.name, used.strength) == ("a.safetensors", 0.7)
    assert used.file_hash == read_adapter(one).file_hash
    assert str(tmp_path).encode() not in Path("sounds/a.wav").read_bytes()

    again = ["generate", "--from", "sounds/a.wav", "--yes", "--model", str(TINY)]
    again += ["--subtype", "float"]
    capsys.readouterr()
    assert run([*again, "-o", "b.wav"]) == 2
    error = capsys.readouterr().err
    assert "the adapter a.safetensors (" in error and "--adapter a.safetensors:0.7" in error
    written(tmp_path / "a.safetensors", base, seed=2)  # another one of that name
    assert run([*again, "-o", "b.wav"]) == 2
    one.rename(tmp_path / "sounds/a.safetensors")
    assert run([*again, "-o", "b.wav"]) == 0
    assert "adapters" not in capsys.readouterr().err
    assert np.array_equal(soundfile.read("b.wav")[0], soundfile.read("sounds/a.wav")[0])
    assert read_provenance("b.wav") == read_provenance("sounds/a.wav")
    assert run([*again, "--adapter", "a.safetensors:0.7", "-o", "c.wav"]) == 0
    assert "made with other adapters than the original" in capsys.readouterr().err
