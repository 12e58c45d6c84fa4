"""Error and figures against time: what fewer evaluations of the network change in the sounds of the embedded model.

    solvers  each solver at few steps
    grid     solver, steps, guidance interval and cache threshold: the choices that no other one beats
    levels   the usual settings and `--fast` 1 to 3 on held-out prompts, with the figures of recipes/embedded/evaluation
    cost     seconds of a step of the 1.0 architecture with random weights: guided, without guidance, and reused

Errors are relative, of the final latents against 200 exact steps of the first solver from the same noise. An evaluation
is one of the whole network for one sound with or without its prompt, so a guided step takes two; of one that is reused
the blocks that were computed count. `--objective rectified_flow` measures the same network on a flow's own path, time and
schedule: its predictions of data and noise are those of a flow, too (Lipman et al. 2024, arXiv 2412.06264).
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import following
import measure
import torch
import typer
from generate import begun
from jaxtyping import Float
from rich.table import Table
from torch import Tensor

from auralith.checkpoints import Checkpoint
from auralith.config import DiTConfig, ObjectiveName
from auralith.diffusion import VObjective
from auralith.families.stable_audio_3.sampling import FLOW
from auralith.fast import LEVELS
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.dit import DiT, Prepared
from auralith.models.step_cache import StepCache
from auralith.pipeline import Auralith, load
from auralith.request import GenerationRequest

PARTS = ("solvers", "grid", "levels", "cost")
EXACT_STEPS = 200
SECONDS = 3.0
"""Of `solvers` and `grid`."""
SOLVERS: Mapping[ObjectiveName, tuple[str, ...]] = {
    "v": ("dpmpp-2m", "k-lms", "k-heun", "k-dpm-2", "v-ddim", "dpmpp-3m-sde"),
    "rectified_flow": ("dpmpp", "euler", "dpmpp-bounded", "rk4"),
}
"""The first is that of the exact steps, the first two those of `grid`."""
CALLS = {"k-heun": 2, "k-dpm-2": 2, "rk4": 4}
"""Evaluations of a step, where it is not one: such a solver takes so many times fewer steps."""
STEPS = (10, 12, 14, 16, 20)
INTERVALS = ((0.0, 1.0), (0.2, 1.0), (0.0, 0.97))
THRESHOLDS = (0.0, 0.12, 0.15, 0.2, 0.25)
V = VObjective()
Settings = dict[str, Any]


class AsFlow(DiffusionTransformer[Prepared]):
    """A network for v as one for the velocity of straight paths: z_t = (1 - t) x0 + t n lies on the other path, too, but
    for its scale, at the time with the same ratio of noise to data."""

    def __init__(self, inner: DiT) -> None:
        super().__init__()
        self.inner = inner

    def prepare(self, *given: Any, **named: Any) -> Prepared:
        return self.inner.prepare(*given, **named)

    def step(
        self,
        latents: Float[Tensor, "batch channel frame"],
        t: Float[Tensor, " batch"],
        prepared: Prepared,
        cache: StepCache | None = None,
    ) -> Float[Tensor, "batch channel frame"]:
        z = latents / torch.hypot(1 - t, t)[:, None, None]
        angle = torch.atan2(t, 1 - t) * 2 / torch.pi
        v = self.inner.step(z, angle, prepared, cache)
        return V.noise(z, v, angle) - V.denoised(z, v, angle)

    def enter(self, latents: Any, t: Any, prepared: Any) -> Any:
        return self.inner.enter(latents, t, prepared)

    def block_inputs(self, index: int, modulation: Any, prepared: Any) -> Any:
        return self.inner.block_inputs(index, modulation, prepared)

    def kept_widths(self, *, adapted: bool, half: bool, checkpointed: bool) -> float:
        return self.inner.kept_widths(adapted=adapted, half=half, checkpointed=checkpointed)

    def reset_parameters(self) -> None:
        self.inner.reset_parameters()


@dataclass
class Counted:
    """A model, and the rows that went through its first and its last block."""

    model: Auralith
    rows: dict[int, int] = field(default_factory=dict[int, int])
    depth: int = 1
    found: dict[GenerationRequest, tuple[Tensor, "Spent"]] = field(default_factory=dict)
    """Exact latents by request."""

    def __post_init__(self) -> None:
        network = self.model.dit
        blocks = (network.inner if isinstance(network, AsFlow) else network).blocks
        self.depth = len(blocks)
        for index in (0, self.depth - 1):
            blocks[index].register_forward_hook(self._counter(index))

    def _counter(self, index: int) -> Callable[..., None]:
        def count(_block: object, given: tuple[Tensor, ...], _out: object) -> None:
            self.rows[index] = self.rows.get(index, 0) + given[0].shape[0]

        return count

    def exact(self, request: GenerationRequest) -> tuple[Tensor, "Spent"]:
        if request not in self.found:
            solver = SOLVERS[self.model.config.objective][0]
            exact = replace(request, steps=EXACT_STEPS, sampler=solver)
            self.found[request] = self.denoised(exact)
        return self.found[request]

    def denoised(self, request: GenerationRequest) -> tuple[Tensor, "Spent"]:
        self.rows.clear()
        start = time.process_time()
        latents = self.model.denoise([request])
        seconds = time.process_time() - start
        entered, left = self.rows.get(0, 0), self.rows.get(self.depth - 1, 0)
        return latents, Spent(seconds, left + (entered - left) / self.depth)


@dataclass(frozen=True)
class Spent:
    seconds: float
    evaluations: float


@dataclass(frozen=True)
class Row:
    """What settings cost, and how far they are from the exact steps."""

    name: str
    error: float
    largest: float
    evaluations: float
    time: float
    """Seconds of CPU as a share of the usual settings'."""
    figures: dict[str, float] = field(default_factory=dict[str, float])


def model_of(objective: ObjectiveName) -> Auralith:
    """Return the embedded model, as it is or as a flow."""
    model = load(device="cpu", dtype="float32")
    if objective == "v":
        return model
    assert isinstance(model.dit, DiT)
    own = model.config.sampling
    sampling = replace(
        FLOW, cfg_scale=own.cfg_scale, room_frames=own.room_frames, headroom=0.0, default_seconds=0
    )
    config = replace(model.config, objective=objective, sampling=sampling)
    checkpoint: Checkpoint = replace(model.checkpoint, config=config, dit=AsFlow(model.dit))
    return Auralith(checkpoint, model.name, model.device, model.number_format)


def compared(
    counted: Counted, requests: Sequence[GenerationRequest], variants: Mapping[str, Settings]
) -> tuple[list[Row], dict[str, list[Tensor]]]:
    """Return a row for each variant of the requests, "usual" among them, and all their latents."""
    found: dict[str, list[tuple[float, Spent]]] = {}
    latents: dict[str, list[Tensor]] = {}
    names = {"usual": Settings(), **variants}
    for place, request in enumerate(requests):
        exact, spent = counted.exact(request)
        latents.setdefault("exact", []).append(exact)
        found.setdefault("exact", []).append((0.0, spent))
        for name in list(names)[:: -1 if place % 2 else 1]:
            made, spent = counted.denoised(replace(request, **names[name]))
            latents.setdefault(name, []).append(made)
            error = measure.relative_difference(made, exact)
            found.setdefault(name, []).append((error, spent))
    usual = sum(spent.seconds for _, spent in found["usual"])
    rows = [
        Row(
            name,
            statistics.median(error for error, _ in of),
            max(error for error, _ in of),
            statistics.mean(spent.evaluations for _, spent in of),
            sum(spent.seconds for _, spent in of) / usual,
        )
        for name, of in ((name, found[name]) for name in ("exact", *names))
    ]
    return rows, latents


def solvers(counted: Counted) -> list[Row]:
    names = SOLVERS[counted.model.config.objective]
    variants = {
        f"{solver}, {steps // CALLS.get(solver, 1)} steps": {
            "sampler": solver,
            "steps": steps // CALLS.get(solver, 1),
        }
        for solver, steps in product(names, (12, 16, 20, 32))
    }
    return compared(counted, following.drawn(SECONDS), variants)[0]


def grid(counted: Counted) -> list[Row]:
    """Return the choices that no other one beats in evaluations and in both errors."""
    names = SOLVERS[counted.model.config.objective][:2]
    variants = {
        f"{solver}, {steps} steps, guided {low:g}-{high:g}, cache {threshold:g}": {
            "sampler": solver,
            "steps": steps,
            "cfg_interval": (low, high),
            "cache_threshold": threshold,
        }
        for solver, steps, (low, high), threshold in product(names, STEPS, INTERVALS, THRESHOLDS)
    }
    rows, _ = compared(counted, following.drawn(SECONDS), variants)
    return sorted(_unbeaten(rows), key=lambda row: row.evaluations)


def _unbeaten(rows: list[Row]) -> Iterator[Row]:
    for row in rows:
        mine = (row.evaluations, row.error, row.largest)
        others = ((one.evaluations, one.error, one.largest) for one in rows if one is not row)
        if not any(
            all(a <= b for a, b in zip(other, mine, strict=True)) and other != mine
            for other in others
        ):
            yield row


def levels(counted: Counted, sounds: int) -> list[Row]:
    """Return the rows of the levels on held-out prompts with the shares of right sounds, in per cent."""
    model = counted.model
    cases, requests = zip(*following.held_out(sounds), strict=True)
    variants: dict[str, Settings] = {
        f"--fast {number}": {"fast": number}
        for number, _ in enumerate(LEVELS[model.config.objective], 1)
    }
    rows, latents = compared(counted, requests, variants)
    found = []
    for row in rows:
        waveforms = (
            model.decode(made)[0, :, : case.waveform.shape[1]].numpy()
            for case, made in zip(cases, latents[row.name], strict=True)
        )
        found.append(replace(row, figures=following.figures(cases, waveforms)))
    return found


def cost(frames: int, scale: str) -> dict[str, float]:
    """Return seconds of steps of the 1.0 architecture with random weights, the median of three."""
    config = DiTConfig() if scale == "full" else DiTConfig(depth=2)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    with torch.inference_mode():
        dit = DiT(config).eval()
        prepared = dit.prepare(
            normal(1, 130, config.context_dim), normal(2, config.global_dim), frames
        )
        x, t = normal(2, config.latent_channels, frames), torch.full((2,), 0.5)
        always, one = StepCache(1.0, 1), prepared.rows(slice(1))
        tasks = {
            "guided": lambda: dit.step(x, t, prepared),
            "without guidance": lambda: dit.step(x[:1], t[:1], one),
            "guided, reused": lambda: dit.step(x, t, prepared, always),
        }
        times, _ = measure.alternate(tasks, 2, 300.0, time.process_time)
    return {name: measure.median(spent) for name, spent in times.items()}


def table_of(rows: Sequence[Row]) -> Table:
    figures = list(dict.fromkeys(name for row in rows for name in row.figures))
    table = Table("settings", "error", "largest", "evaluations", "time / usual", *figures)
    for row in rows:
        numbers = (f"{row.error:.4f}", f"{row.largest:.3f}", f"{row.evaluations:.1f}")
        shares = (f"{row.figures[name]:.0f}" for name in figures)
        table.add_row(row.name, *numbers, f"{row.time:.2f}", *shares)
    return table


def main(
    only: Annotated[str, typer.Option(help="Parts to run, separated by commas.")] = ",".join(PARTS),
    objective: Annotated[str, typer.Option(help="v or rectified_flow.")] = "v",
    sounds: Annotated[int, typer.Option(min=20, help="Prompts of `levels`.")] = 60,
    frames: Annotated[int, typer.Option(min=1, help="Latents of `cost`.")] = 216,
    scale: Annotated[str, typer.Option(help="full or small, of `cost`.")] = "full",
    threads: Annotated[int, typer.Option(help="0: what torch chooses.")] = 1,
    output: Annotated[Path | None, typer.Option(help="Write the rows as JSON.")] = None,
) -> None:
    """Print error, evaluations and time of settings that are faster than the usual ones."""
    parts = tuple(only.split(","))
    unknown = [
        *(set(parts) - set(PARTS)),
        *({objective} - set(SOLVERS)),
        *({scale} - {"full", "small"}),
    ]
    if unknown:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}")
    console, about = begun(scale, 1, threads)
    name: ObjectiveName = "v" if objective == "v" else "rectified_flow"
    counted = Counted(model_of(name))
    report: dict[str, Any] = {"machine": about}
    sources: dict[str, Callable[[], list[Row]]] = {
        "solvers": lambda: solvers(counted),
        "grid": lambda: grid(counted),
        "levels": lambda: levels(counted, sounds),
    }
    for part in (one for one in sources if one in parts):
        rows = sources[part]()
        console.print(table_of(rows))
        report[part] = [asdict(row) for row in rows]
    if "cost" in parts:
        report["cost"] = cost(frames, scale)
        for kind, seconds in report["cost"].items():
            console.print(f"{kind}: {seconds:.3g} s")
    if output is not None:
        output.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
