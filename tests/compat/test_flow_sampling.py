"""Every sampler of rectified flow under shifts of timesteps, from noise and from audio, against the reference's runs.

`scripts/golden_flow_sampling.py` made them, around the same network.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from auralith.checkpoints import config_from_json, config_to_json
from auralith.checkpoints.convert import convert
from auralith.compat.stable_audio_tools import (
    StableAudioModel,
    generate_diffusion_cond,
    get_pretrained_model,
)
from auralith.config import DistributionShift, ModelConfig
from auralith.diffusion import shift_times
from auralith.errors import CheckpointError
from tests.conftest import GOLDEN, relative_error

FOLDER = GOLDEN / "flow_sampling"
CASES = json.loads((FOLDER / "cases.json").read_text())
SAMPLERS = ("euler", "rk4", "dpmpp", "pingpong")


def config_json(options: dict[str, Any] | None) -> dict[str, Any]:
    data = json.loads((GOLDEN / "sao_small_tiny" / "model_config.json").read_text())
    if options is not None:
        data["model"]["diffusion"]["distribution_shift_options"] = options
    return data


def model_with(options: dict[str, Any] | None, folder: Path) -> StableAudioModel:
    shutil.copytree(GOLDEN / "sao_small_tiny", folder)
    (folder / "model_config.json").write_text(json.dumps(config_json(options)))
    return get_pretrained_model(folder)[0]


@pytest.mark.parametrize("shift", CASES["shifts"])
def test_runs_of_the_reference(shift: str, tmp_path: Path) -> None:
    """Only rk4 is shifted; from audio it noises to the level before the shift."""
    model = model_with(CASES["shifts"][shift], tmp_path / "model")
    golden = load_file(FOLDER / "latents.safetensors")
    tone = 0.3 * torch.sin(torch.linspace(0, 700, CASES["tone_samples"])).repeat(2, 1)
    for sampler in SAMPLERS:
        for level in (None, 0.3, 0.85, 1.0):
            init = (
                {} if level is None else {"init_audio": (44_100, tone), "init_noise_level": level}
            )
            latents = generate_diffusion_cond(
                model,
                conditioning=[CASES["item"]],
                sampler_type=sampler,
                device="cpu",
                return_latents=True,
                **CASES["arguments"],
                **init,
            )
            expected = golden[f"{shift}.{sampler}.{level}"]
            assert relative_error(latents, expected) < 2e-5, (sampler, level)


def test_the_shift_of_the_reference() -> None:
    """1 - e^-m / (e^-m + 1 / (1 - t) - 1), m linear in the length between its bounds; a sine where it is wanted."""
    t = torch.linspace(0, 0.99, 34, dtype=torch.float64)
    shift = DistributionShift(0.25, 2.0, 2.0, 6.0)
    for frames, m in ((1, 0.25), (3, 0.6875), (6, 2.0), (100, 2.0)):
        factor = torch.tensor(-m).double().exp()
        expected = 1 - factor / (factor + 1 / (1 - t) - 1)
        torch.testing.assert_close(shift_times(t, shift, frames), expected)
        sine = DistributionShift(0.25, 2.0, 2.0, 6.0, use_sine=True)
        torch.testing.assert_close(shift_times(t, sine, frames), (expected * torch.pi / 2).sin())


@pytest.mark.parametrize("name", CASES["shifts"])
def test_the_config_keeps_its_options(name: str, tmp_path: Path) -> None:
    options = CASES["shifts"][name]
    config = config_from_json(config_json(options))
    assert (config.distribution_shift is None) == (options is None)
    assert config_from_json(config_to_json(config)) == config
    source = tmp_path / "model"
    model_with(options, source)
    convert(source, tmp_path / "converted")
    written = json.loads((tmp_path / "converted" / "model_config.json").read_text())
    assert written["model"]["diffusion"].get("distribution_shift_options") == options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_shift": "much"}, "base_shift must be a number, not 'much'"),
        (
            {"min_length": 64, "max_length": 64},
            "min_length must be at least 0 and below max_length",
        ),
        ({"type": "flux"}, "type is 'flux'; only 'full' is supported"),
        ({"use_sine": 1}, "use_sine must be true or false"),
        ([256, 4096], "must be an object"),
    ],
)
def test_options_that_mean_something_else_are_refused(options: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        config_from_json(config_json(options))


def test_the_diffusers_layout_has_no_place_for_a_shift(tmp_path: Path) -> None:
    source = tmp_path / "model"
    shutil.copytree(GOLDEN / "sao_tiny", source)
    data = json.loads((source / "model_config.json").read_text())
    data["model"]["diffusion"]["distribution_shift_options"] = {}
    (source / "model_config.json").write_text(json.dumps(data))
    with pytest.raises(CheckpointError, match="shift of timesteps has no diffusers form"):
        convert(source, tmp_path / "out", "diffusers")
    assert ModelConfig().distribution_shift is None
