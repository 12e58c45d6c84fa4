"""The loop: it learns, resumes bit for bit, goes back where a loss is not a number, and keeps the disk in bounds."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from auralith.errors import CheckpointError, InvalidRequest, NonFiniteError
from auralith.training.loop import DETOUR, Run, train
from auralith.training.optimizers import OptimizerSettings
from auralith.training.state import load_state, save_state
from auralith.training.task import Batch, LoopSettings, Share, item_rng

pytestmark = pytest.mark.usefixtures("undrawn")

BATCH = 16


class Negator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.blocks = nn.ModuleList((nn.Linear(8, 8), nn.Linear(8, 8)))
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return x


class Regression:
    """Learn to negate: noisy, so that the random streams matter."""

    name = "regression"

    def __init__(self, broken_at: tuple[int, ...] = ()) -> None:
        self.networks: dict[str, nn.Module] = {"negator": Negator()}
        self.optimization: Mapping[str, OptimizerSettings] = {
            "negator": OptimizerSettings(
                learning_rate=0.02, muon_learning_rate=0.02, schedule="cosine", warmup_steps=5
            )
        }
        self.broken_at = broken_at

    def turn(self, step: int) -> str:
        return "negator"

    def batch(self, step: int, share: Share) -> Batch:
        positions = range(share.index, BATCH, share.count)
        rows = [item_rng(1, step, position).standard_normal(8) for position in positions]
        x = torch.stack([torch.from_numpy(row) for row in rows]).float()
        if step in self.broken_at:
            x = x * float("nan")
        return {"x": x, "audio_seconds": torch.tensor(0.5)}

    def losses(
        self, batch: Batch, step: int, networks: Mapping[str, nn.Module]
    ) -> dict[str, Tensor]:
        x = batch["x"]
        return {"error": (networks["negator"](x).float() + x).square().mean()}

    def validate(self, networks: Mapping[str, nn.Module]) -> dict[str, float]:
        x = torch.eye(8)
        return {"error": float((networks["negator"](x).float() + x).square().mean())}


SETTINGS = LoopSettings(steps=40, save_every=10, precision="bfloat16", device="cpu", ema_decay=0.9)


def run_of(folder: Path, task: Regression | None = None, **changes: object) -> Run:
    return Run(task or Regression(), replace(SETTINGS, **changes), folder)  # pyright: ignore[reportArgumentType]


def weights(run: Run) -> list[Tensor]:
    assert run.average is not None
    current = [p.detach().clone() for p in run.networks["negator"].parameters()]
    return current + [value.clone() for value in run.average.values.values()]


def test_it_learns(tmp_path: Path) -> None:
    task = Regression()
    task.optimization = {
        "negator": OptimizerSettings(
            learning_rate=0.05, muon_learning_rate=0.05, schedule="cosine", warmup_steps=5
        )
    }
    losses = [p.losses["error"] for p in train(run_of(tmp_path, task, steps=80))]
    assert len(losses) == 80
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])


def test_a_stopped_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole = run_of(tmp_path / "whole")
    list(train(whole))
    for progress in train(run_of(tmp_path / "stopped")):
        if progress.step == 27:
            break
    resumed = run_of(tmp_path / "stopped")
    steps = [progress.step for progress in train(resumed)]
    assert steps[0] == 21 and steps[-1] == 40
    for one, other in zip(weights(whole), weights(resumed), strict=True):
        assert torch.equal(one, other)
    whole_log, resumed_log = (
        (tmp_path / n / "log.jsonl").read_text() for n in ("whole", "stopped")
    )
    entries = [[json.loads(line) for line in log.splitlines()] for log in (whole_log, resumed_log)]
    assert [e["loss/error"] for e in entries[0]] == [e["loss/error"] for e in entries[1]]
    one, other = ((tmp_path / n / "state-00000040.pt").read_bytes() for n in ("whole", "stopped"))
    assert one == other


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    first, second = run_of(tmp_path), run_of(tmp_path)
    going = train(first)
    next(going)
    with pytest.raises(InvalidRequest, match="another process works on"):
        next(train(second))
    assert len(list(going)) == 39


def test_parts_of_a_batch_add_up_to_the_batch(tmp_path: Path) -> None:
    whole = run_of(tmp_path / "whole", precision="bfloat16")
    parts = run_of(tmp_path / "parts", accumulate=4)
    for one, other in zip(train(whole), train(parts), strict=True):
        assert one.losses["error"] == pytest.approx(other.losses["error"], rel=2e-2)
        assert other.audio_seconds == pytest.approx(4 * one.audio_seconds)


def test_a_loss_that_is_not_a_number_takes_the_run_back(tmp_path: Path) -> None:
    run = run_of(tmp_path, Regression(broken_at=(12,)))
    made = list(train(run))
    events = [progress for progress in made if progress.event]
    assert [e.event for e in events] == [
        "regression: error is nan at step 12; back to step 10, on with other batches"
    ]
    assert made[-1].step == 40 and run.detours == 1
    assert all(torch.isfinite(w).all() for w in weights(run))


def test_a_loss_that_stays_broken_is_an_error_that_names_step_and_loss(tmp_path: Path) -> None:
    broken = tuple(12 + n * DETOUR for n in range(4))
    with pytest.raises(
        NonFiniteError, match=r"error is nan at step 12, the 4\. time.*step 10 is good"
    ):
        list(train(run_of(tmp_path, Regression(broken_at=broken))))
    assert load_state(tmp_path / "state-00000010.pt")["step"] == 10


def test_the_last_states_and_the_best_are_kept(tmp_path: Path) -> None:
    run = run_of(tmp_path, save_every=5, validate_every=5)
    list(train(run))
    kept = run.states.steps()
    assert run.states.best is not None
    assert set(kept) == {35, 40, run.states.best[0]}
    losses = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    validation = {e["step"]: e["validation/error"] for e in losses if "validation/error" in e}
    assert run.states.best[1] == min(validation.values())


def test_a_folder_of_another_run_is_refused_by_the_differing_keys(tmp_path: Path) -> None:
    run_of(tmp_path).close()
    with pytest.raises(InvalidRequest, match=r"other settings: loop\.seed \(0 → 5\);"):
        run_of(tmp_path, seed=5)
    other = Regression()
    other.optimization = {"negator": OptimizerSettings(learning_rate=0.5)}
    with pytest.raises(InvalidRequest, match=r"optimization\.negator\.learning_rate"):
        run_of(tmp_path, other)


def test_a_run_that_would_fill_the_disk_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(100, 99, 1))
    from auralith.errors import ResourceError

    with pytest.raises(
        ResourceError, match=r"has 0\.0 KiB free, the states of this run need \d+\.\d KiB"
    ):
        run_of(tmp_path)


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(path, {"step": 3, "weights": torch.ones(1_000)})
    whole = path.read_bytes()
    middle = whole.index(torch.ones(10).numpy().tobytes())
    path.write_bytes(whole[:middle] + b"\1" + whole[middle + 1 :])  # a tensor, not its frame
    with pytest.raises(CheckpointError, match=r"damaged one .*go on from an older one"):
        load_state(path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="not a training state"):
        load_state(path)


def test_the_published_schedule() -> None:
    settings = OptimizerSettings()
    assert settings.rate(0, 100) == pytest.approx(0.01)
    assert settings.rate(10**6, 100) == pytest.approx(2**-0.5)
