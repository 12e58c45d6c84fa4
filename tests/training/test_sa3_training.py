"""Training Stable Audio 3: items of their own lengths, its loss and its timesteps; commands from data to sounds."""

import copy
import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from auralith.checkpoints import AdapterConfig, add_adapter
from auralith.cli.main import run
from auralith.data.latents import LatentRecord
from auralith.diffusion import OBJECTIVES, shift_times
from auralith.pipeline import Auralith, load
from auralith.request import GenerationRequest
from auralith.text.encoder import TextStates
from auralith.training.dit import DiTNetwork, DiTSettings, DiTTask
from auralith.training.loop import Run, train
from auralith.training.noising import TimestepSettings, even_uniform
from auralith.training.optimizers import OptimizerSettings
from auralith.training.task import LoopSettings, Share
from tests.sa3 import write_sa3

RECIPES = Path(__file__).parents[2] / "recipes" / "published"
RATE, FRAME = 640, 64
LENGTHS = (10, 27, 15, 40, 5, 33, 21, 12)


class Items:
    """Recordings of so many frames, whose latents are made of sines; behind them −1."""

    def __len__(self) -> int:
        return len(LENGTHS)

    def record(self, index: int) -> LatentRecord:
        frames = LENGTHS[index]
        return LatentRecord(str(index), str(index), frames * FRAME / RATE, frames, ("rain",), {})

    def latents(self, index: int, start: int, stop: int, rng: np.random.Generator | None) -> Tensor:
        values = torch.sin(torch.arange(8)[:, None] * torch.arange(start, stop) + index)
        return values.masked_fill(torch.arange(start, stop) >= LENGTHS[index], -1.0)


def texts(indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> TextStates:
    start = torch.tensor(indices)[:, None, None]
    states = torch.cos(start + torch.arange(6 * 32.0).view(6, 32))
    return TextStates(states, torch.arange(6) < torch.tensor(indices)[:, None] + 1)


def task(model: Auralith, **changes: Any) -> DiTTask:
    settings = DiTSettings(
        batch_size=4, sample_latents=False, validation_items=0, silence_seconds=0.8
    )
    network = DiTNetwork(model.config, model.dit, model.checkpoint.numbers)
    return DiTTask(
        model.config,
        network,
        Items(),
        texts,
        DiTSettings(**(vars(settings) | changes)),
        OptimizerSettings(),
        5,
    )


class Given(nn.Module):
    """A network whose prediction is given."""

    def __init__(self, v: Tensor) -> None:
        super().__init__()
        self.v = v

    def forward(self, *inputs: Any) -> Tensor:
        return self.v


@pytest.mark.parametrize(
    ("kept_weight", "expected"), [(1.0, 1.6362595558166504), (0.25, 1.1355018615722656)]
)
def test_the_loss_is_that_of_the_reference(
    sa3_small: Auralith, kept_weight: float, expected: float
) -> None:
    """Its numbers, for mask_padding_attention with mask_loss_weight; sums of 240 squares, rounded to float32."""
    k = torch.arange(240, dtype=torch.float32).view(3, 8, 10)
    kept = torch.zeros(3, 1, 10)
    kept[1, :, :3] = 1
    kept[2, :, [0, 2]] = 1
    batch = {
        "latents": torch.zeros(3, 8, 10),
        "noise": torch.cos(0.7 * k),
        "t": torch.full((3,), 0.5),
        "mask": torch.arange(10) < torch.tensor([10, 7, 4])[:, None],
        "kept": kept,
        **dict.fromkeys(("text", "text_mask", "numbers", "keep"), torch.zeros(3)),
    }
    losses = task(sa3_small, kept_weight=kept_weight).losses(batch, 0, {"dit": Given(k.sin())})
    assert float(losses["v"]) == pytest.approx(expected, rel=240 * 2.0**-24)


def test_an_item_ends_at_random_behind_its_sound(sa3_small: Auralith) -> None:
    made = task(sa3_small)
    scale, silences = 0.8 * RATE / FRAME, []
    for step in range(150):
        windows = made._windows(step)
        batch = made.batch(step, Share(0, 1))
        ends = batch["mask"].sum(1)
        assert int(ends.max()) == batch["latents"].shape[-1]
        for window, end, noise, kept in zip(
            windows, ends.tolist(), batch["noise"], batch["kept"], strict=True
        ):
            silences.append(end - LENGTHS[window.index])
            assert noise[:, :end].all() and not noise[:, end:].any()
            assert not kept[:, end:].any()
    # whole frames of an exponential distribution are geometrically distributed
    ratio = math.exp(-1 / scale)
    mean, spread = ratio / (1 - ratio), math.sqrt(ratio) / (1 - ratio)
    assert min(silences) == 0
    assert abs(np.mean(silences) - mean) < 5 * spread / math.sqrt(len(silences))


def test_timesteps_are_shifted_for_the_length_that_the_item_is_told(sa3_small: Auralith) -> None:
    """As the reference shifts them: of the seconds, rounded up, and not of the batch's frames."""
    made = task(sa3_small, timesteps=TimestepSettings("truncated_logit_normal"))
    shift = made.config.distribution_shift
    assert shift is not None and shift.max_length > shift.min_length
    batch = made.batch(2, Share(0, 1))
    windows = made._windows(2)
    for place, (window, t) in enumerate(zip(windows, batch["t"], strict=True)):
        u = even_uniform(2 * len(windows) + place, 5)
        drawn = made.settings.timesteps.at(u, OBJECTIVES[made.config.objective])
        seconds = math.ceil(LENGTHS[window.index] * FRAME / RATE)
        frames = math.ceil(seconds * RATE / FRAME)
        expected = shift_times(torch.tensor(drawn, dtype=torch.float64), shift, frames)
        assert float(t) == pytest.approx(float(expected), rel=2.0**-23)


@pytest.mark.parametrize("size", ["small", "medium"])
@torch.no_grad()
def test_what_lies_behind_an_item_changes_nothing(
    size: str, sa3_models: dict[tuple[str, str], Auralith]
) -> None:
    """The loss of a batch is the mean of its items' losses, each alone at its own length."""
    made = task(sa3_models[size, "rf_denoiser"])
    batch = made.batch(0, Share(0, 1))
    assert not batch["mask"].all()
    together = made.losses(batch, 0, made.networks)["v"]
    alone = []
    for item, end in enumerate(batch["mask"].sum(1).tolist()):
        one = {k: v[item : item + 1] for k, v in batch.items() if v.ndim and k != "valid"}
        for name in ("latents", "noise", "mask", "kept"):
            one[name] = one[name][..., :end]
        alone.append(made.losses(one, 0, made.networks)["v"])
    torch.testing.assert_close(together, torch.stack(alone).mean(), rtol=1e-5, atol=0)


def test_shares_of_a_batch_are_the_batch(sa3_small: Auralith) -> None:
    made = task(sa3_small)
    whole = made.batch(3, Share(0, 1))
    for index in range(2):
        part = made.batch(3, Share(index, 2))
        for name, values in part.items():
            if values.ndim and name != "valid":
                expected = whole[name][index::2]
                if name in ("latents", "noise", "mask", "kept"):
                    expected = expected[..., : values.shape[-1]]
                assert torch.equal(values, expected), name


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("mode", ["full", "dora"])
def test_a_run_goes_on_as_if_it_had_not_stopped(
    sa3_models: dict[tuple[str, str], Auralith],
    tmp_path: Path,
    mode: Literal["full", "lora", "dora"],
) -> None:
    model = sa3_models["medium", "rf_denoiser"]

    def train_to(steps: int, folder: Path) -> Run:
        fresh = task(model)
        network = copy.deepcopy(fresh.networks["dit"])
        assert isinstance(network, DiTNetwork)
        if mode != "full":
            network.requires_grad_(False)
            add_adapter(network.dit, AdapterConfig(mode, rank=2), np.random.default_rng(0))
        fresh.networks["dit"] = network
        settings = LoopSettings(
            steps=steps, accumulate=2, precision="float32", device="cpu", save_every=2, log_every=1
        )
        run = Run(fresh, settings, folder)
        for _ in train(run):
            pass
        return run

    whole = train_to(4, tmp_path / "whole")
    train_to(2, tmp_path / "halved")
    resumed = train_to(4, tmp_path / "halved")
    assert whole.step == resumed.step == 4
    states = [run.averaged_state(trained_only=True) for run in (whole, resumed)]
    assert states[0].keys() == states[1].keys() and states[0]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tones")
    rng = np.random.default_rng(0)
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "prompt"])
        for index in range(6):
            time = np.arange(int(rng.integers(1_500, 4_000))) / 6_400
            tone = 0.5 * np.sin(2 * np.pi * rng.uniform(200, 900) * time)
            soundfile.write(folder / f"{index}.wav", tone[:, None].repeat(2, 1), 6_400)
            writer.writerow([f"{index}.wav", "rain on tin roof"])
    return folder / "table.csv"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    return {size: write_sa3(size, root / size, sample_rate=6_400) for size in ("small", "medium")}


def finetune(dataset: Path, model: Path, out: Path, *options: str) -> list[dict[str, float]]:
    command = (
        f"finetune {dataset} --model {model} -o {out} --batch-size 2 --no-checks --precision float32 "
        "--set dit.silence_seconds=0.1 --set loop.log_every=1 --set loop.validate_every=0"
    )
    assert run([*command.split(), *options]) == 0
    log = out.with_name(f"{out.name}_run") / "log.jsonl"
    return [json.loads(line) for line in log.read_text().splitlines()]


def velocities(model: Auralith) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    shapes = ((2, 8, 30), (2, 9, 30), (2, 7, 32), (2, 32))
    x, local, context, vector = (torch.randn(*s, generator=generator) for s in shapes)
    with torch.inference_mode():
        return model.dit(x, torch.tensor([0.3, 0.8]), context, vector, local)


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(("size", "kind"), [("small", "--dora"), ("medium", "--lora")])
def test_an_adapter_gives_what_training_had(
    dataset: Path, folders: dict[str, Path], tmp_path: Path, size: str, kind: str
) -> None:
    out = tmp_path / "out"
    log = finetune(dataset, folders[size], out, kind, "--steps", "8", "--learning-rate", "1e-2")
    losses = [line["loss/v"] for line in log]
    assert np.mean(losses[-3:]) < np.mean(losses[:3])
    base, merged = (load(path, device="cpu", dtype="float32") for path in (folders[size], out))
    adapted = base.with_adapters([(out / "adapter.safetensors", 1.0)])
    expected, found = velocities(merged), velocities(adapted)
    assert float((velocities(base) - expected).abs().max()) > 1e-2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    request = GenerationRequest("rain", seconds_total=0.3, steps=2, seed=1)
    sounds = [model.generate(request).waveform for model in (merged, adapted)]
    torch.testing.assert_close(*sounds, rtol=1e-3, atol=1e-4)


@pytest.mark.usefixtures("undrawn")
def test_all_weights_are_trained_and_the_config_stays(
    dataset: Path, folders: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ("--full", "--steps", "8", "--learning-rate", "3e-3", "--ema", "off")
    losses = [line["loss/v"] for line in finetune(dataset, folders["medium"], out, *options)]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])
    notes = (tmp_path / "out_run" / "model_training.txt").read_text().splitlines()
    assert "published training.timestep_sampler = truncated_logit_normal" in notes
    trained, base = (load(path, device="cpu", dtype="float32") for path in (out, folders["medium"]))
    assert trained.config == base.config and trained.config.masks_padding
    written = json.loads((out / "model_config.json").read_text())["model"]["diffusion"]
    assert written["mask_padding_attention"] and written["use_effective_length_for_schedule"]
    # the vector for padding and the embedder of seconds are learned, too
    for name, value in base.checkpoint.numbers.state_dict().items():
        assert not torch.equal(value, trained.checkpoint.numbers.state_dict()[name]), name


@pytest.mark.usefixtures("undrawn")
def test_from_random_weights(
    dataset: Path,
    folders: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = folders["medium"]
    settings = {
        "dataset.path": dataset,
        "config": model / "model_config.json",
        "autoencoder": model,
        "text_encoder": model / "t5gemma",
        "training.loop.steps": 2,
        "training.dit.batch_size": 2,
        "training.dit.silence_seconds": 0.1,
        "training.checks": "none",
        "training.loop.precision": "float32",
    }
    changes = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    out = tmp_path / "out"
    assert (
        run(["train", str(RECIPES / "stable_audio_3_medium.toml"), "-o", str(out), *changes]) == 0
    )
    assert capsys.readouterr().out.splitlines()[-1] == str(out / "model")
    request = GenerationRequest("rain", seconds_total=0.3, steps=2, seed=1)
    made = load(out / "model", device="cpu", dtype="float32").generate(request)
    assert made.waveform.shape == (2, 1_920)
