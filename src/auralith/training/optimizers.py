"""Optimizers, learning-rate schedules, and the average of the trained weights.

Learning rates are a function of the step, so nothing of them needs to be saved. The exponential moving average is what a
run exports; its decay rises with the number of updates k as min(limit, 1 − (1+k)^(−3/4)), as in the published training.
It lies beside the weights or, to save memory on a GPU, on the CPU.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.swa_utils import get_ema_multi_avg_fn

from auralith.errors import Field, InvalidRequest
from auralith.extras import require
from auralith.numbers import check_integer, check_number
from auralith.training.muon import Muon


@dataclass(frozen=True)
class OptimizerSettings:
    """Settings of one network's optimizer. The defaults are those of the published transformer (model card, training config).

    `muon_learning_rate` above 0 moves the hidden matrices by Muon (Jordan 2024), the rest by `kind`.
    """

    kind: Literal["adamw", "adamw8bit"] = "adamw"
    """Kind of optimizer; adamw8bit saves memory."""
    learning_rate: float = 5e-5
    """Highest learning rate."""
    muon_learning_rate: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-3
    decay_vectors: bool = True
    """Decay biases, norms and other vectors like the matrices, as the published training does."""
    clip_norm: float = 0.0
    """Largest norm of a step's gradient; 0 leaves it as it is, as the published training does."""
    schedule: Literal["inverse", "cosine", "constant"] = "inverse"
    warmup: float = 0.99
    """w of the inverse schedule: the rate is multiplied by 1 − w^(k+1)."""
    gamma: float = 1_000_000.0
    """γ of the inverse schedule: the rate falls with (1 + k/γ)^(−power)."""
    power: float = 0.5
    warmup_steps: int = 50
    """Linear warm-up of the cosine and the constant schedule."""
    final_rate: float = 0.02
    """Share of the learning rate at the end of the cosine schedule."""

    def __post_init__(self) -> None:
        check_number(self, "learning_rate", above=0.0, below=1.0)
        check_number(self, "muon_learning_rate", least=0.0, below=1.0)
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InvalidRequest(
                Field("betas"), f" are {self.betas}; they must be from 0 to below 1"
            )
        for name in ("weight_decay", "clip_norm", "power"):
            check_number(self, name, least=0.0)
        check_number(self, "warmup", least=0.0, below=1.0)
        check_number(self, "gamma", above=0.0)
        check_integer(self, "warmup_steps", 0)
        check_number(self, "final_rate", least=0.0, most=1.0)

    def rate(self, step: int, steps: int) -> float:
        """The factor of the learning rate at a step of a run of `steps`."""
        if self.schedule == "inverse":
            return (1 - self.warmup ** (step + 1)) * (1 + step / self.gamma) ** -self.power
        warm = min(1.0, (step + 1) / max(1, self.warmup_steps))
        if self.schedule == "constant":
            return warm
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
        return warm * (self.final_rate + (1 - self.final_rate) * cosine)


def build_optimizers(network: nn.Module, settings: OptimizerSettings) -> list[Optimizer]:
    """Optimizers of the parameters that require gradients."""
    trained = {name: p for name, p in network.named_parameters() if p.requires_grad}
    if not trained:
        raise InvalidRequest("nothing is left to train; every parameter is frozen")
    hidden = {n for n, p in trained.items() if _is_hidden(n, p) and settings.muon_learning_rate}
    rest = {name: p for name, p in trained.items() if name not in hidden}
    decayed = {name for name, p in rest.items() if p.ndim > 1 or settings.decay_vectors}
    groups = [
        {
            "params": [p for name, p in rest.items() if name in decayed],
            "weight_decay": settings.weight_decay,
        },
        {"params": [p for name, p in rest.items() if name not in decayed], "weight_decay": 0.0},
    ]
    optimizers = [_adamw([group for group in groups if group["params"]], settings)]
    if hidden:
        optimizers.append(
            Muon(
                [trained[name] for name in trained if name in hidden],
                settings.muon_learning_rate,
                settings.weight_decay,
            )
        )
    return optimizers


def set_rates(optimizers: list[Optimizer], settings: OptimizerSettings, factor: float) -> None:
    """Set the learning rates for the coming step."""
    for optimizer in optimizers:
        muon = isinstance(getattr(optimizer, "optimizer", optimizer), Muon)
        base = settings.muon_learning_rate if muon else settings.learning_rate
        for group in optimizer.param_groups:
            group["lr"] = base * factor


def trained_names(network: nn.Module) -> list[str]:
    return [name for name, parameter in network.named_parameters() if parameter.requires_grad]


def _is_hidden(name: str, parameter: nn.Parameter) -> bool:
    return "blocks" in name and parameter.ndim == 2


def _adamw(groups: list[Mapping[str, object]], settings: OptimizerSettings) -> Optimizer:
    common = {"lr": settings.learning_rate, "betas": settings.betas}
    if settings.kind == "adamw":
        # fused: the other forms make a second copy of the gradients on a GPU
        return AdamW(groups, fused=True, **common)  # pyright: ignore[reportArgumentType]
    return require("torchao.optim", "lowmem").AdamW8bit(groups, **common)


class Average:
    def __init__(self, network: nn.Module, limit: float, *, on_cpu: bool) -> None:
        self.limit, self.on_cpu = limit, on_cpu
        self.trained = {n: p for n, p in network.named_parameters() if p.requires_grad}
        self.values = {name: self._copy(p) for name, p in self.trained.items()}

    @torch.no_grad()
    def update(self, num_updates: int) -> None:
        """Move towards the present weights, after the step with this number (from 0)."""
        decay = min(self.limit, 1 - (1 + num_updates) ** -0.75)
        update = get_ema_multi_avg_fn(decay)
        averages = list(self.values.values())
        current: list[Tensor] = [
            p.detach().cpu() if self.on_cpu else p.detach() for p in self.trained.values()
        ]
        update(averages, current, torch.tensor(num_updates))

    @torch.no_grad()
    def reset(self) -> None:
        """Start over from the present weights."""
        for name, parameter in self.trained.items():
            self.values[name].copy_(parameter)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within the block the network has the averaged weights."""
        present = {name: p.detach().clone() for name, p in self.trained.items()}
        try:
            self._assign(self.values)
            yield
        finally:
            self._assign(present)

    @torch.no_grad()
    def _assign(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.trained.items():
            parameter.copy_(values[name])

    def _copy(self, parameter: nn.Parameter) -> Tensor:
        copy = parameter.detach().clone()
        return copy.cpu() if self.on_cpu else copy
