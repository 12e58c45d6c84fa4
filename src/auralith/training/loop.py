"""The one training loop: a generator that yields progress, so that display, stopping and export are the caller's.

All randomness of a run (batches, timesteps, dropout of the condition) comes from one generator whose state is saved
with the weights, the optimizers, the schedule and the average. A run that is stopped and resumed therefore continues
as if it had not been stopped. Half precision is autocast; losses are computed in float32 by the task.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from auralith.errors import InvalidRequest, NonFiniteError
from auralith.training.state import load_state, save_state


@dataclass(frozen=True)
class LoopSettings:
    """How a network is trained. `muon` moves the hidden matrices by Muon (Jordan 2024), the rest by AdamW."""

    steps: int = 1_000
    learning_rate: float = 1e-3
    muon_learning_rate: float = 0.0
    warmup_steps: int = 50
    final_rate: float = 0.02
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    clip_norm: float = 1.0
    ema_decay: float = 0.998
    bfloat16: bool = True
    seed: int = 0
    save_every: int = 200

    def __post_init__(self) -> None:
        if self.steps < 1 or self.save_every < 1:
            raise InvalidRequest("steps and save_every must be at least 1")


@runtime_checkable
class Task(Protocol):
    """What is trained: a network, and the losses of the next batch (the sum of which is minimized)."""

    name: str

    @property
    def network(self) -> nn.Module: ...

    def losses(self, step: int, generator: torch.Generator) -> dict[str, Tensor]: ...


@dataclass(frozen=True)
class Progress:
    step: int
    steps: int
    losses: dict[str, float]
    learning_rate: float
    seconds: float


class Run:
    """Network, average, optimizers and schedules of one training run, and their state on disk."""

    def __init__(self, task: Task, settings: LoopSettings) -> None:
        self.task, self.settings = task, settings
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.average = AveragedModel(
            task.network, multi_avg_fn=get_ema_multi_avg_fn(settings.ema_decay), use_buffers=False
        )
        self.optimizers = _optimizers(task.network, settings)
        self.schedules = [
            LambdaLR(optimizer, lambda step: _rate(step, settings)) for optimizer in self.optimizers
        ]
        self.step = 0

    def save(self, path: Path) -> None:
        save_state(
            path,
            {
                "step": self.step,
                "network": self.task.network.state_dict(),
                "average": self.average.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
                "schedules": [schedule.state_dict() for schedule in self.schedules],
                "generator": self.generator.get_state(),
            },
        )

    def resume(self, path: Path) -> None:
        state = load_state(path)
        self.step = state["step"]
        self.task.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for schedule, saved in zip(self.schedules, state["schedules"], strict=True):
            schedule.load_state_dict(saved)
        self.generator.set_state(state["generator"])

    def advance(self) -> Progress:
        """One step: losses, backward, clipped update, average."""
        started = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.bfloat16):
            losses = self.task.losses(self.step, self.generator)
        values = {name: float(loss.detach()) for name, loss in losses.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise NonFiniteError(
                    f"{self.task.name}: loss '{name}' is {value} at step {self.step}; "
                    "lower the learning rate and resume from the last saved state"
                )
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(self.task.network.parameters(), self.settings.clip_norm)
        for optimizer, schedule in zip(self.optimizers, self.schedules, strict=True):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            schedule.step()
        self.average.update_parameters(self.task.network)
        self.step += 1
        rate = float(self.schedules[0].get_last_lr()[0])
        return Progress(self.step, self.settings.steps, values, rate, time.perf_counter() - started)


def train(run: Run, state_path: Path) -> Iterator[Progress]:
    """Advance to the last step, resuming from `state_path` where it exists and saving there as it goes."""
    if state_path.exists():
        run.resume(state_path)
    while run.step < run.settings.steps:
        progress = run.advance()
        if run.step % run.settings.save_every == 0 or run.step == run.settings.steps:
            run.save(state_path)
        yield progress


def _rate(step: int, settings: LoopSettings) -> float:
    """Linear warm-up, then a cosine down to `final_rate` of the learning rate."""
    warm = min(1.0, (step + 1) / max(1, settings.warmup_steps))
    done = min(1.0, step / settings.steps)
    cosine = 0.5 * (1 + math.cos(math.pi * done))
    return warm * (settings.final_rate + (1 - settings.final_rate) * cosine)


def _optimizers(network: nn.Module, settings: LoopSettings) -> list[Optimizer]:
    trained = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    hidden = [
        p for name, p in trained if settings.muon_learning_rate and "blocks" in name and p.ndim == 2
    ]
    chosen = {id(p) for p in hidden}
    matrices = [p for _, p in trained if id(p) not in chosen and p.ndim > 1]
    vectors = [p for _, p in trained if id(p) not in chosen and p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizers: list[Optimizer] = [AdamW(groups, lr=settings.learning_rate, betas=settings.betas)]
    if hidden:
        optimizers.append(
            Muon(
                hidden,
                lr=settings.muon_learning_rate,
                weight_decay=settings.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return optimizers
