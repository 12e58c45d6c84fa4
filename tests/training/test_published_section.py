"""The training section of a model's config: used, replaced by a user's own settings, or named as not used."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auralith.diffusion import OBJECTIVES
from auralith.errors import CheckpointError
from auralith.settings import load_settings
from auralith.training.finetune import FinetuneSettings, default_settings
from auralith.training.noising import TimestepSettings, even_uniform
from auralith.training.published import Followed, follow_training
from tests.conftest import GOLDEN

PUBLISHED: dict[str, Any] = json.loads((GOLDEN / "sao_tiny" / "model_config.json").read_text())[
    "training"
]
SMALL: dict[str, Any] = {
    "use_ema": False,
    "cfg_dropout_prob": 0.2,
    "timestep_sampler": "trunc_logit_normal",
    "p_one_shot": 0.25,
    "mask_padding": True,
    "mask_padding_dropout": 0.1,
    "pre_encoded": True,
    "learning_rate": 2e-5,
    "clip_grad_norm": 1.0,
    "something_new": 3,
}


def follow(training: object, mode: Any = "full") -> Followed:
    return follow_training(default_settings(mode), training)


def test_the_published_section() -> None:
    followed = follow(PUBLISHED)
    optimizer = followed.settings.optimizer
    assert (optimizer.learning_rate, optimizer.betas) == (5e-5, (0.9, 0.999))
    assert (optimizer.weight_decay, optimizer.schedule) == (1e-3, "inverse")
    assert (optimizer.gamma, optimizer.power, optimizer.warmup) == (1e6, 0.5, 0.99)
    assert followed.settings.loop == default_settings("full").loop
    assert [line.split(":")[0] for line in followed.ignored] == ["demo", "log_loss_info"]


def test_an_adapter_leaves_the_optimizer_and_says_so() -> None:
    followed = follow(PUBLISHED, "lora")
    assert followed.settings.optimizer == default_settings("lora").optimizer
    assert any(line.startswith("optimizer_configs: an adapter takes") for line in followed.ignored)


def test_every_key_of_a_section_is_used_or_named() -> None:
    followed = follow(SMALL)
    dit, optimizer = followed.settings.dit, followed.settings.optimizer
    assert (dit.condition_dropout, dit.one_shot_probability) == (0.2, 0.25)
    assert (dit.mask_padding, dit.mask_padding_dropout) == (True, 0.1)
    assert dit.timesteps == TimestepSettings("truncated_logit_normal")
    assert followed.settings.loop.ema == "off"
    assert (optimizer.learning_rate, optimizer.weight_decay) == (2e-5, 0.0)
    assert (optimizer.schedule, optimizer.warmup_steps) == ("constant", 0)
    told = {line.split(" = ")[0] for line in followed.used}
    told |= {line.split(":")[0] for line in followed.ignored}
    assert told == set(SMALL)
    assert all(line.count("\n") == 0 for line in followed.lines)


def test_what_a_stranger_writes_stays_one_short_line() -> None:
    section = {"a\nb\x1b[31m" * 50: 1, "p_one_shot": None, "timestep_sampler_options": {}}
    lines = follow(section).lines
    assert len(lines) == 2
    assert all(len(line) < 200 and line.isprintable() for line in lines)
    odd = {"optimizer_configs": {"diffusion": {"optimizer": {"type": "x\n" * 99}}}}
    assert all(len(line) < 200 and line.isprintable() for line in follow(odd).lines)


def test_log_snr_is_the_references() -> None:
    """ln((1 - t) / t) is normal with mean -1.2 and deviation 2 unless options say otherwise; t stays 1e-4 inside."""
    flow = OBJECTIVES["rectified_flow"]
    timesteps = follow({"timestep_sampler": "log_snr"}).settings.dit.timesteps
    median = timesteps.at(0.5, flow)
    assert np.log((1 - median) / median) == pytest.approx(-1.2)
    upper = timesteps.at(0.8413447460685429, flow)
    assert np.log((1 - upper) / upper) == pytest.approx(-3.2)
    assert timesteps.at(1 - 1e-9, flow) == 1 - 1e-4
    options = {"mean_logsnr": 0.5, "std_logsnr": 1.0}
    other = follow({"timestep_sampler": "log_snr", "timestep_sampler_options": options})
    assert other.settings.dit.timesteps.mean == -0.5 and other.settings.dit.timesteps.std == 1.0


def test_own_settings_replace_the_sections(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text("[dit]\ncondition_dropout = 0.5\n")
    overrides = ["optimizer.learning_rate=0.001"]
    chosen = load_settings(FinetuneSettings, path, overrides, follow(SMALL).settings)
    assert (chosen.dit.condition_dropout, chosen.dit.one_shot_probability) == (0.5, 0.25)
    assert (chosen.optimizer.learning_rate, chosen.optimizer.schedule) == (0.001, "constant")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("use_ema",), "yes", "use_ema must be true or false"),
        (("cfg_dropout_prob",), "0.1", "cfg_dropout_prob must be a finite number"),
        (("timestep_sampler",), "cosine", "timestep_sampler is 'cosine'; supported: uniform"),
        (("optimizer_configs",), [], "optimizer_configs must be an object"),
        (("optimizer_configs", "diffusion"), None, "diffusion is missing"),
        (
            ("optimizer_configs", "diffusion", "optimizer", "config", "betas"),
            [0.9],
            "betas must be two",
        ),
    ],
)
def test_a_damaged_section_is_one_line(place: tuple[str, ...], value: Any, message: str) -> None:
    damaged = copy.deepcopy(PUBLISHED)
    *parents, last = place
    section = damaged
    for parent in parents:
        section = section[parent]
    section[last] = value
    with pytest.raises(CheckpointError, match=message):
        follow(damaged)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"optimizer": {"type": "Lion", "config": {}}}, "Lion is not AdamW"),
        ({"optimizer": {"type": "Adam", "config": {"weight_decay": 0.1}}}, "Adam is not AdamW"),
        ({"scheduler": {"type": "StepLR", "config": {}}}, "StepLR is not InverseLR"),
        (
            {"scheduler": {"type": "InverseLR", "config": {"final_lr": 1e-6}}},
            "scheduler final_lr: not",
        ),
        ({"optimizer": {"type": "AdamW", "config": {"eps": 1e-6}}}, "optimizer eps: not a setting"),
    ],
)
def test_other_optimizers_and_schedules_are_named(change: dict[str, Any], told: str) -> None:
    section = copy.deepcopy(PUBLISHED)
    section["optimizer_configs"]["diffusion"] |= change
    assert any(told in line for line in follow(section).ignored)


def test_truncated_logit_normal_has_the_references_distribution() -> None:
    """sigmoid of a normal number above 0.075, moved to 0 to 1 and turned around: by rejection, without its formulas."""
    kind = TimestepSettings("truncated_logit_normal")
    times = np.sort([kind.at(even_uniform(i, 5), OBJECTIVES["v"]) for i in range(20_000)])
    normal = np.random.default_rng(0).standard_normal(60_000)
    numbers = 1 / (1 + np.exp(-normal))
    expected = np.sort(1 - (numbers[numbers > 0.075] - 0.075) / 0.925)
    quantiles = np.linspace(0.01, 0.99, 25)
    found, wanted = (np.quantile(values, quantiles) for values in (times, expected))
    assert np.abs(found - wanted).max() < 0.01
    assert times[0] > 0 and times[-1] < 1
