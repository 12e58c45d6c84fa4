"""The loop: it learns, resumes bit for bit, and stops where a loss is not a number."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from auralith.errors import CheckpointError, InvalidRequest, NonFiniteError
from auralith.training.loop import LoopSettings, Run, train
from auralith.training.state import load_state, save_state


class Regression:
    """Learn to negate: noisy, so that the random stream matters."""

    name = "regression"

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.network = nn.Module()
        self.network.blocks = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
        self.broken_at: int | None = None

    def losses(self, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        x = torch.randn(16, 8, generator=generator)
        out = self.network.blocks(x)  # pyright: ignore[reportCallIssue]
        error = (out.float() + x).square().mean()
        return {"error": error * (float("nan") if step == self.broken_at else 1.0)}


SETTINGS = LoopSettings(
    steps=40, learning_rate=0.02, muon_learning_rate=0.02, warmup_steps=5, save_every=10
)


def weights(run: Run) -> list[Tensor]:
    return [p.detach().clone() for p in (*run.task.network.parameters(), *run.average.parameters())]


def test_it_learns(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=80, learning_rate=0.05, muon_learning_rate=0.05)
    losses = [p.losses["error"] for p in train(Run(Regression(), settings), tmp_path / "state.pt")]
    assert len(losses) == 80
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])


def test_a_stopped_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    whole = Run(Regression(), SETTINGS)
    list(train(whole, tmp_path / "whole.pt"))
    stopped = Run(Regression(), SETTINGS)
    for progress in train(stopped, tmp_path / "stopped.pt"):
        if progress.step == 27:
            break
    resumed = Run(Regression(), SETTINGS)
    steps = [progress.step for progress in train(resumed, tmp_path / "stopped.pt")]
    assert steps[0] == 21 and steps[-1] == 40
    for one, other in zip(weights(whole), weights(resumed), strict=True):
        assert torch.equal(one, other)


def test_a_loss_that_is_not_a_number_names_step_and_loss(tmp_path: Path) -> None:
    task = Regression()
    task.broken_at = 12
    with pytest.raises(NonFiniteError, match="'error' is nan at step 12"):
        list(train(Run(task, SETTINGS), tmp_path / "state.pt"))
    assert load_state(tmp_path / "state.pt")["step"] == 10


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(path, {"step": 3})
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="not a training state"):
        load_state(path)


def test_nothing_to_do_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        LoopSettings(steps=0)
