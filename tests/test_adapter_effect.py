"""Effects of adapters: what their text says, where they act, and generation against a plain computation of it."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from auralith.adapter_effect import AdapterEffect, active_set, active_sets, parse_effect
from auralith.checkpoints import merge_adapters
from auralith.cli.main import run
from auralith.errors import InvalidRequest
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.pipeline import Auralith, load
from auralith.provenance import read_provenance
from auralith.request import GenerationRequest
from auralith.sound.reading import read
from tests.conftest import GOLDEN
from tests.sa3 import write_sa3

LORA, DORA = (GOLDEN / "sa3" / "adapters" / f"{kind}.safetensors" for kind in ("lora", "dora-rows"))
LEVELS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(lambda two: (min(two), max(two)))
SKIP = st.lists(st.sampled_from(["layers.[0-3]", "to_global_embed", ".ff."]), max_size=3).map(
    ",".join
)
EFFECTS = st.builds(AdapterEffect, st.floats(-10, 10), LEVELS, SKIP)


@given(EFFECTS)
def test_the_text_of_an_effect_says_it(effect: AdapterEffect) -> None:
    assert parse_effect(str(effect)) == effect
    assert AdapterEffect(**effect.stated) == effect


@given(st.lists(EFFECTS, max_size=4), st.floats(0, 1))
def test_every_level_has_its_set(effects: list[AdapterEffect], level: float) -> None:
    acting = tuple(i for i, one in enumerate(effects) if one.levels[0] <= level <= one.levels[1])
    assert active_set(effects, level) == acting
    assert acting in active_sets(effects)
    assert len(active_sets(effects)) <= 4 * len(effects) + 1


def test_layers_are_left_alone_by_parts_of_their_names() -> None:
    name = "transformer.layers.{}.self_attn.to_qkv"
    for skip, left_alone in {
        "layers.1": {1},
        "layers.[9-11]": {9, 10, 11},
        "layers.[3-2].self_attn.to_qkv, layers.12": {2, 3, 12},
        ".transformer.": set(range(24)),
        "LAYERS.4": {4},
        "to_global_embed": set(),
        "": set(),
    }.items():
        effect = AdapterEffect(skip=skip)
        assert {i for i in range(24) if effect.skips(name.format(i))} == left_alone, skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,levels=0.5", "must be two numbers"),
        ("1,levels=0.7-0.2", "two ascending numbers from 0 to 1"),
        ("1,levels=0-2", "two ascending numbers from 0 to 1"),
        ("1,layers=3", "says nothing of an adapter"),
        ("1,skip=", "says nothing of an adapter"),
        ("11", "strength is 11"),
        ("nan", "strength is nan"),
        ("1,skip=[0-9999][0-9999]", "more than 10,000 names"),
    ],
)
def test_bad_effects_are_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse_effect(text)


def test_what_begins_with_no_strength_is_no_effect() -> None:
    assert parse_effect("\\sounds\\lora.safetensors") is None
    assert parse_effect(",levels=0-0.5") == AdapterEffect(levels=(0.0, 0.5))


@pytest.fixture(scope="module")
def base(sa3_models: dict[tuple[str, str], Auralith]) -> Auralith:
    return sa3_models["medium", "rf_denoiser"]


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@torch.no_grad()
def test_each_step_has_the_weights_of_its_noise_level(base: Auralith, guidance: float) -> None:
    """Against models that have the adapters of a level alone, step by step."""
    choices = [
        (LORA, AdapterEffect(1.0, (0.6, 1.0))),
        (DORA, AdapterEffect(0.5, (0.0, 0.95), "layers.0")),
    ]
    model = base.with_adapters(choices)
    request = GenerationRequest(
        "rain", seconds_total=0.5, steps=6, seed=2, sampler="euler", cfg_scale=guidance, apg_eta=1.0
    )
    resolved = model.resolve(request)
    told = model.conditioner.both(["rain"], None, model.numbers([resolved]), guided=guidance != 1)
    dits: dict[tuple[Path, ...], DiffusionTransformer[Any]] = {}
    for before, step in pairwise(model.denoising_steps([request])):
        t = step.noise_level
        acting = [
            (path, AdapterEffect(effect.strength, skip=effect.skip))
            for path, effect in choices
            if effect.levels[0] <= t <= effect.levels[1]
        ]
        paths = tuple(path for path, _ in acting)
        if paths not in dits:
            dits[paths] = base.with_adapters(acting).dit
        dit, times = dits[paths], torch.tensor([t])
        v = dit(before.x, times, told.context, told.global_embed[:1])
        if guidance != 1:
            v_null = dit(before.x, times, torch.zeros_like(told.context), told.global_embed[1:])
            v = v_null + guidance * (v - v_null)
        torch.testing.assert_close(step.denoised, before.x - t * v, rtol=1e-4, atol=1e-4)
    assert dits.keys() == {(LORA,), (LORA, DORA), (DORA,)}


def test_skipped_layers_keep_the_weights_of_the_base(base: Auralith) -> None:
    """Conditions are no layers of the transformer: an adapter changes them all the same."""
    model = base.with_adapters([(DORA, AdapterEffect(skip="layers.1, project_in"))])
    for part in ("dit", "checkpoint.numbers"):
        states = [_state(m, part) for m in (base, model)]
        changed = {
            name for name, value in states[0].items() if not torch.equal(value, states[1][name])
        }
        whole = _state(base.with_adapters([(DORA, 1.0)]), part)
        expected = {
            name for name, value in states[0].items() if not torch.equal(value, whole[name])
        }
        left_alone = {n for n in expected if n.startswith(("blocks.1.", "project_in."))}
        assert changed == expected - left_alone
        assert bool(left_alone) == (part == "dit") and changed


def _state(model: Auralith, part: str) -> dict[str, Tensor]:
    return (model.dit if part == "dit" else model.checkpoint.numbers).state_dict()


def test_without_levels_there_is_one_transformer(base: Auralith) -> None:
    assert (
        base.with_adapters([(LORA, 0.5), (DORA, AdapterEffect(1.0, skip="layers.0"))]).parts == {}
    )
    parts = base.with_adapters([(LORA, AdapterEffect(levels=(0.5, 1.0)))]).parts
    assert set(parts) == {(), (0,)}
    # where no adapter acts, there are the weights of the base
    for name, value in base.dit.state_dict().items():
        assert torch.equal(value, parts[()].state_dict()[name])


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = str(write_sa3("medium", tmp_path / "model", sample_rate=6_400))
    chosen = f"{LORA}:0.8,levels=0.3-1.0,skip=layers.[0-0],skip=project_out"
    made, again, whole = (str(tmp_path / name) for name in ("made.wav", "again.wav", "whole.wav"))
    options = ["--model", model, "--subtype", "float"]
    settings = ["--seconds", "0.3", "--steps", "3", "--seed", "4"]
    assert run(["generate", "rain", *options, *settings, "--adapter", chosen, "-o", made]) == 0
    assert (
        run(["generate", "rain", *options, *settings, "--adapter", f"{LORA}:0.8", "-o", whole]) == 0
    )
    (used,) = read_provenance(made).adapters
    assert used.effect == AdapterEffect(0.8, (0.3, 1.0), "layers.[0-0],project_out")
    (tmp_path / LORA.name).write_bytes(LORA.read_bytes())
    assert run(["generate", "--from", made, "--yes", *options, "-o", again]) == 0
    sounds = [read(path)[0] for path in (made, again, whole)]
    assert torch.equal(sounds[0], sounds[1])
    assert not torch.equal(sounds[0], sounds[2])
    out = ["-o", str(tmp_path / "merged")]
    assert run(["adapter", "merge", model, f"{LORA}:1,levels=0-0.5", *out]) == 2
    assert "some noise levels only" in capsys.readouterr().err
    assert run(["generate", "rain", *options, "--adapter", f"{LORA}:1,levels=3", *out]) == 2
    assert "must be two numbers from 0 to 1" in capsys.readouterr().err


def test_merging_leaves_out_layers(base: Auralith, tmp_path: Path) -> None:
    folder = write_sa3("medium", tmp_path / "model")
    effect = AdapterEffect(skip="layers.[0-9]")
    merge_adapters(folder, [(LORA, effect)], tmp_path / "merged")
    merged = load(tmp_path / "merged", device="cpu", dtype="float32").dit.state_dict()
    expected = base.with_adapters([(LORA, effect)]).dit.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in merged.items())
