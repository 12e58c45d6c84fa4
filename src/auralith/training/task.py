"""Interface of the training loop: a task, its batches, how long and how exactly a run goes on, and its progress.

A batch is a function of the seed, the step and the item's position in the global batch; nothing carries a state of random
numbers from step to step. A resumed run, a run on more processes and a run that accumulates gradients therefore see the
same crops, noise and timesteps as a run that does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from torch import Tensor, nn

from auralith.errors import Field, InvalidRequest
from auralith.numbers import check_integer, check_number
from auralith.resources import choose_device
from auralith.training.optimizers import OptimizerSettings
from auralith.training.processes import AnyPrecision, Precision, choose_precision

Batch = dict[str, Tensor]


@dataclass(frozen=True)
class Share:
    """A process's part of the global batch: positions index, index + count, index + 2·count, …"""

    index: int
    count: int

    def positions(self, batch_size: int) -> range:
        """Return the positions in the global batch, as many for every share: then the mean over the shares is the mean
        over the batch. What doesn't divide is left out.

        Raises:
            InvalidRequest: there are more shares than items.
        """
        size = batch_size // self.count
        if size == 0:
            raise InvalidRequest(
                f"a batch of {batch_size} can't be shared by {self.count} parts; raise ",
                Field("batch_size"),
                ", or lower ",
                Field("accumulate"),
                " or the number of processes",
            )
        return range(self.index, size * self.count, self.count)


def item_rng(seed: int, step: int, position: int) -> np.random.Generator:
    """Return the random numbers of one item of one step, independent of those of any other item."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(step, position)))


@dataclass(frozen=True)
class LoopSettings:
    """Settings of a run, whatever it trains."""

    steps: int = 1_000
    """Training steps."""
    accumulate: int = 1
    """Parts in which a process takes its share of a batch, one after another; more save memory."""
    precision: AnyPrecision = "auto"
    """Number format of products and activations; auto: bfloat16 where the device computes with it, else float32;
    float16 needs a GPU."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:1 or mps."""
    shard: bool = False
    """Spread weights, gradients and optimizers over the processes (FSDP2) instead of copying them (DDP)."""
    ema: Literal["device", "cpu", "off"] = "device"
    """Place of the weights' average."""
    ema_decay: float = 0.9999
    seed: int = 0
    save_every: int = 200
    save_minutes: float = 10.0
    """Save also when so much time has passed since the last state; 0: never."""
    validate_every: int = 0
    """0: at the end only."""
    log_every: int = 10
    keep_last: int = 2
    trackers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("steps", "accumulate", "save_every", "log_every", "keep_last"):
            check_integer(self, name, 1)
        for name in ("validate_every", "seed"):
            check_integer(self, name, 0)
        check_number(self, "save_minutes", least=0.0)
        check_number(self, "ema_decay", least=0.0, below=1.0)

    @property
    def chosen_precision(self) -> Precision:
        """The number format on the device of these settings. Raise InvalidRequest if the device can't have it."""
        return choose_precision(self.precision, choose_device(self.device))

    @property
    def identity(self) -> dict[str, Any]:
        """Return what can't change when a run is resumed; how long and how often, and on what, can."""
        same = {n: getattr(self, n) for n in ("ema", "ema_decay", "seed")}
        return {"precision": self.chosen_precision} | same


@runtime_checkable
class Task(Protocol):
    """Interface of a training task."""

    name: str

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Return what is trained, each with optimizers of its own; the first is the product."""
        ...

    @property
    def optimization(self) -> Mapping[str, OptimizerSettings]:
        """Return how each network is moved."""
        ...

    def turn(self, step: int) -> str:
        """Name of the network that this step trains."""
        ...

    def batch(self, step: int, share: Share) -> Batch:
        """This share of a step's batch, on the CPU; runs in a thread. `audio_seconds` is read for the display."""
        ...

    def losses(
        self, batch: Batch, step: int, networks: Mapping[str, nn.Module]
    ) -> dict[str, Tensor]:
        """Weighted losses, float32 means over the batch, whose sum is minimized."""
        ...

    def validate(self, networks: Mapping[str, nn.Module]) -> dict[str, float]:
        """Fixed items under fixed noise; the first value decides which state is the best. Empty: none."""
        ...


@dataclass(frozen=True)
class Progress:
    step: int
    steps: int
    losses: dict[str, float]
    learning_rates: dict[str, float]
    """Those of this step, by what they move: the network, or with Muon beside AdamW both."""
    seconds: float
    audio_seconds: float = 0.0
    """Seconds of audio in this step, over all processes."""
    validation: dict[str, float] = field(default_factory=dict)
    event: str = ""
    """Something that a user should see, such as the way back after a loss that was not finite."""
