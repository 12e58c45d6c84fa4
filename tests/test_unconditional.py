"""Unconditional models: against runs of the reference (scripts/golden_unconditional.py), and what they can't do."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from auralith.checkpoints import config_from_json, config_to_json, inspect_checkpoint
from auralith.cli.main import run
from auralith.compat.stable_audio_tools import (
    create_model_from_config,
    generate_diffusion_cond,
    generate_diffusion_uncond,
    get_pretrained_model,
    load_ckpt_state_dict,
)
from auralith.compat.stable_audio_tools.loading import StableAudioModel
from auralith.errors import CheckpointError, InvalidRequest
from auralith.training.scratch import TransformerRecipe, new_model
from tests.conftest import GOLDEN, relative_error

FOLDER = GOLDEN / "uncond"
MODEL = str(FOLDER)
CASES: dict[str, dict[str, Any]] = json.loads((FOLDER / "cases.json").read_bytes())


@pytest.fixture(scope="module")
def model() -> StableAudioModel:
    return get_pretrained_model(MODEL)[0]


@pytest.mark.parametrize("name", CASES)
def test_the_references_runs_are_reproduced(model: StableAudioModel, name: str) -> None:
    golden = load_file(FOLDER / "golden.safetensors")
    case = dict(CASES[name])
    steps, batch, level = case.pop("steps"), case.pop("batch"), case.pop("init", None)
    if level is not None:
        case |= {"init_audio": (44_100, golden["audio"]), "init_noise_level": level}
    for key, latents in (("gen", True), ("audio", False)):
        found = generate_diffusion_uncond(
            model, steps, batch, 2_112, device="cpu", return_latents=latents, **case
        )
        assert relative_error(found, golden[f"{key}.{name}"]) <= 1e-4


def test_a_model_from_its_config_takes_the_weights(model: StableAudioModel) -> None:
    config = json.loads((FOLDER / "model_config.json").read_bytes())
    made = create_model_from_config(config)
    made.load_state_dict(load_ckpt_state_dict(FOLDER / "model.safetensors"))
    x, t = torch.randn(1, 6, 33, generator=torch.Generator().manual_seed(0)), torch.tensor([0.5])
    assert relative_error(made(x, t), model(x, t)) <= 1e-5
    assert made.state_dict().keys() == load_file(FOLDER / "model.safetensors").keys()
    assert made.half().dtype == torch.float16


def test_it_is_inspected_and_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = inspect_checkpoint(MODEL).spec
    assert spec.model is not None and not spec.model.is_conditional
    assert config_from_json(config_to_json(spec.model)) == spec.model
    assert run(["inspect", MODEL]) == 0
    assert run(["convert", MODEL, str(tmp_path / "copy")]) == 0
    assert inspect_checkpoint(tmp_path / "copy").spec == spec
    assert run(["convert", MODEL, str(tmp_path / "other"), "--to", "diffusers"]) == 2
    assert "an unconditional model has no diffusers form" in capsys.readouterr().err


def test_what_needs_a_prompt_is_refused_in_one_line(
    model: StableAudioModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "table.csv").write_text("path,prompt\na.wav,rain\n")
    for command in (
        ["generate", "rain"],
        ["loop", "rain", "--seconds", "1"],
        ["finetune", str(tmp_path / "table.csv")],
    ):
        assert run([*command, "--model", MODEL]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert "is an unconditional model" in error and "generate_diffusion_uncond" in error
    with pytest.raises(InvalidRequest, match="unconditional, so it takes no conditioning"):
        generate_diffusion_cond(model, 2, conditioning=[{"prompt": "rain"}], sample_size=2_112, device="cpu")  # fmt: skip
    with pytest.raises(InvalidRequest, match="give one with a prompt"):
        new_model(TransformerRecipe(config=str(FOLDER / "model_config.json"), autoencoder=MODEL))


@pytest.mark.parametrize(
    ("key", "value"),
    [("cond_token_dim", 32), ("global_cond_dim", 32), ("input_concat_dim", 7), ("in_channels", 5)],
)
def test_configs_that_are_not_unconditional(key: str, value: int) -> None:
    data = json.loads((FOLDER / "model_config.json").read_bytes())
    data["model"]["config"][key] = value
    with pytest.raises(CheckpointError, match=key):
        config_from_json(data)


@pytest.mark.parametrize("kind", ["DAU1d", "adp_uncond_1d"])
def test_other_networks_are_refused_by_name(kind: str) -> None:
    data = json.loads((FOLDER / "model_config.json").read_bytes())
    data["model"]["type"] = kind
    with pytest.raises(CheckpointError, match=kind):
        config_from_json(data)
