"""The memory of fine-tuning the transformer, computed before it starts.

Weights are counted on the meta device. What a forward pass keeps follows from the network: per block and position so
many vectors of its width (`DiffusionTransformer.kept_widths`), which the tests compare with what autograd really holds. As the backward pass frees
activations it makes gradients, so the peak holds the larger of the two; with accumulation the gradients of earlier
parts lie beside the activations of the next one. `remedies` tries switches, the cheapest first, until a run fits.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import nn

from auralith.config import ModelConfig
from auralith.errors import ResourceError
from auralith.families.family import Spec
from auralith.families.registry import Networks, text_encoder_kind, without_memory
from auralith.numbers import check_integer
from auralith.resources import DTYPES, GIB, available_memory
from auralith.training.processes import Precision, choose_precision

WORKING = 13
"""Widths per position in the backward pass of a block: gradients around SwiGLU."""
RESERVE = 0.05
"""Share that allocators lose between blocks."""


@dataclass(frozen=True)
class MemorySettings:
    """The settings of a fine-tuning that its memory depends on, for one process.

    `batch_size` items of `frames` latents make a step, in `accumulation` parts.
    """

    mode: Literal["lora", "full"] = "lora"
    rank: int = 16
    """Rank of the adapter."""
    optimizer: Literal["adamw", "adamw8bit", "muon"] = "adamw"
    """Optimizer whose state is kept."""
    ema: Literal["device", "cpu", "off"] = "device"
    """Place of the weights' average."""
    precision: Precision = "bfloat16"
    batch_size: int = 4
    """Items of a step."""
    accumulation: int = 1
    """Parts in which a step is computed."""
    frames: int = 0
    """Latents of an item; 0: the model's window."""
    checkpoint_activations: bool = False
    """Compute activations twice."""
    encoders: bool = True
    """Keep text encoder and autoencoder on the device, though latents and text are computed before."""

    def __post_init__(self) -> None:
        for name, least in (("rank", 1), ("batch_size", 1), ("accumulation", 1), ("frames", 0)):
            check_integer(self, name, least)

    @property
    def items(self) -> int:
        """Items in the network at once."""
        return -(-self.batch_size // self.accumulation)


@dataclass(frozen=True)
class Budget:
    """Bytes on the device, in the order in which they are taken."""

    weights: int
    encoders: int
    optimizer: int
    average: int
    gradients: int
    activations: int
    working: int
    """Memory that the backward pass of one block needs besides."""
    accumulated: bool
    """Gradients of earlier parts lie beside the activations."""
    host_average: int
    """Bytes of the average in the memory of the CPU; not in the peak."""

    @property
    def peak(self) -> int:
        pair = (self.gradients, self.activations)
        held = sum(pair) if self.accumulated else max(pair)
        lasting = self.weights + self.encoders + self.optimizer + self.average
        return round((lasting + held + self.working) * (1 + RESERVE))

    @property
    def entries(self) -> dict[str, int]:
        names = (
            "weights",
            "encoders",
            "optimizer",
            "average",
            "gradients",
            "activations",
            "working",
        )
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class ParameterCounts:
    """Numbers of parameters: the transformer with its embedders of numbers, and the encoders."""

    all: int
    hidden: int
    """In matrices of the blocks, which Muon moves."""
    adapted: int
    """Sum of inputs and outputs of the blocks' projections: the parameters of an adapter of rank 1."""
    widest: int
    """In the largest matrix."""
    encoders: int


@lru_cache
def _networks(config: ModelConfig) -> Networks:
    return without_memory(Spec.of(config))


@lru_cache
def count_parameters(config: ModelConfig) -> ParameterCounts:
    """Counted on the meta device: nothing is allocated."""
    networks = _networks(config)
    blocks = networks.dit.blocks
    projections = [m for m in blocks.modules() if isinstance(m, nn.Linear)]
    matrices = [p.numel() for p in blocks.parameters() if p.ndim == 2]
    return ParameterCounts(
        all=_size(networks.dit) + _size(networks.numbers),
        hidden=sum(matrices),
        adapted=sum(p.in_features + p.out_features for p in projections),
        widest=max(matrices),
        encoders=_size(networks.autoencoder)
        + text_encoder_kind(config).size * config.text_width**2,
    )


def budget(config: ModelConfig, settings: MemorySettings, device: torch.device) -> Budget:
    """Estimate the memory of a run on `device`. Weights, gradients and AdamW's two moments are float32 (autocast)."""
    count, full = count_parameters(config), settings.mode == "full"
    trained = count.all if full else settings.rank * count.adapted
    frozen = 0 if full else count.all
    average = 0 if settings.ema == "off" else 4 * trained
    on_device = settings.ema == "device" or device.type == "cpu"
    return Budget(
        weights=4 * (frozen + trained),
        encoders=4 * count.encoders if settings.encoders else 0,
        optimizer=_optimizer_bytes(settings, trained, count.hidden if full else trained),
        average=average if on_device else 0,
        gradients=4 * trained,
        activations=activation_bytes(config, settings),
        working=_working_bytes(config, settings, count),
        accumulated=settings.accumulation > 1,
        host_average=0 if on_device else average,
    )


def activation_bytes(config: ModelConfig, settings: MemorySettings) -> int:
    """Return the bytes that the forward pass of a part keeps; with activation checkpointing the blocks' inputs only."""
    dit, positions = config.dit, _positions(config, settings)
    context = config.text.max_tokens + len(config.context_ids) - 1
    # keys and values of the context, which lie outside the blocks, and the layers before and after the blocks
    around = dit.depth * 2 * dit.embed_dim * context + 2 * dit.embed_dim * positions
    blocks = dit.depth * _kept_by_block(config, settings, settings.checkpoint_activations)
    return round(settings.items * (around + blocks) * _item_size(settings))


def _kept_by_block(config: ModelConfig, settings: MemorySettings, checkpointed: bool) -> float:
    """Values that a block keeps for an item."""
    widths = _networks(config).dit.kept_widths(
        adapted=settings.mode == "lora",
        half=_item_size(settings) == 2,
        checkpointed=checkpointed,
    )
    return widths * config.dit.embed_dim * _positions(config, settings)


def _working_bytes(config: ModelConfig, settings: MemorySettings, count: ParameterCounts) -> int:
    values = WORKING * config.dit.embed_dim * _positions(config, settings)
    if settings.checkpoint_activations:
        values += _kept_by_block(config, settings, checkpointed=False)
    half = _item_size(settings) == 2
    matrices = count.widest * ((4 if settings.mode == "full" else 0) + (4 if half else 0))
    # under autocast the layers around the blocks keep a copy of their weights
    casts = 2 * (count.all - count.hidden) if half else 0
    return round(settings.items * values * _item_size(settings)) + matrices + casts


def _optimizer_bytes(settings: MemorySettings, trained: int, hidden: int) -> int:
    """AdamW keeps two moments; in 8 bits a float32 scale per 256 values comes with them; Muon keeps one."""
    if settings.optimizer == "adamw8bit":
        return 2 * trained + 2 * 4 * trained // 256
    if settings.optimizer == "muon":
        return 4 * hidden + 8 * (trained - hidden)
    return 8 * trained


def fits(budget: Budget, available: int) -> bool:
    """Return whether a run stays within `available` bytes."""
    return budget.peak <= available


def remedies(
    config: ModelConfig, settings: MemorySettings, available: int, device: torch.device
) -> tuple[str, ...] | None:
    """The switches that make a run fit, as on the command line; none if it fits; None if all together don't."""
    changed = _fitting(config, settings, available, device)
    return None if changed is None else switches(settings, changed)


def switches(before: MemorySettings, after: MemorySettings) -> tuple[str, ...]:
    """Return the command line's spelling of the difference."""
    spelled = {
        "mode": f"--{after.mode}",
        "checkpoint_activations": "--checkpoint-activations",
    }
    changes = [f.name for f in fields(after) if getattr(before, f.name) != getattr(after, f.name)]
    return tuple(
        spelled.get(name, f"--{name.replace('_', '-')} {getattr(after, name)}") for name in changes
    )


def check_fits(config: ModelConfig, settings: MemorySettings, device: torch.device) -> None:
    """Refuse a run that can't fit, for a model that is loaded on `device` already.

    Raises:
        ResourceError: names what is needed, what is there, and the switches that would make it fit.
    """
    free = available_memory(device)
    if free is None:
        return
    planned = budget(config, settings, device)
    # on a CPU the weights are still mapped from their file
    loaded = 0 if device.type == "cpu" else 4 * count_parameters(config).all + planned.encoders
    if fits(planned, free + loaded):
        return
    help_ = remedies(config, settings, free + loaded, device)
    raise ResourceError(
        f"training needs {planned.peak / GIB:.1f} GiB of memory on {device}, "
        f"{(free + loaded) / GIB:.1f} GiB can be had; "
        + (f"add {' '.join(help_)}" if help_ else "no switch makes it fit: use shorter windows")
    )


def _fitting(
    config: ModelConfig, settings: MemorySettings, available: int, device: torch.device
) -> MemorySettings | None:
    def enough(candidate: MemorySettings) -> bool:
        return fits(budget(config, candidate, device), available)

    changed, made = settings, []
    for change in _changes(settings, device):
        if enough(changed):
            break
        changed = replace(changed, **change)
        made.append(change)
    if not enough(changed):
        return None
    for change in reversed(made):  # take back what later changes made needless
        without = replace(changed, **{name: getattr(settings, name) for name in change})
        changed = without if enough(without) else changed
    return changed


def _changes(settings: MemorySettings, device: torch.device) -> Iterator[dict[str, Any]]:
    """Yield what could be changed, the cheapest first: time, then rounding, then what is trained."""
    if settings.ema == "device" and device.type != "cpu":
        yield {"ema": "cpu"}
    if settings.precision == "float32" and choose_precision("auto", device) == "bfloat16":
        yield {"precision": "bfloat16"}
    if not settings.checkpoint_activations:
        yield {"checkpoint_activations": True}
    parts = 2 * settings.accumulation
    while parts < 2 * settings.batch_size:
        yield {"accumulation": min(parts, settings.batch_size)}
        parts *= 2
    if settings.optimizer == "adamw":
        yield {"optimizer": "adamw8bit"}
    if settings.ema != "off":
        yield {"ema": "off"}
    if settings.batch_size > 1:
        yield {"batch_size": 1, "accumulation": 1}
    if settings.mode == "full":
        yield {"mode": "lora"}


def _positions(config: ModelConfig, settings: MemorySettings) -> int:
    frames = settings.frames or config.window_frames
    return frames + config.dit.extra_positions


def _item_size(settings: MemorySettings) -> int:
    return DTYPES[settings.precision].itemsize


def _size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())
