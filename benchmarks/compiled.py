"""A guided step as it is written and compiled by torch, in turn; and what compiling takes in a fresh process.

python benchmarks/compiled.py --threads 1

embedded   the embedded model: 4 s of sound
published  two blocks of the published width with random weights: 216 latents (10 s)
first      seconds of loading the embedded model compiled with an empty cache, and once more from it
"""

import copy
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import measure
import torch
import typer
from torch import Tensor, nn

from auralith import load
from auralith.config import DiTConfig
from auralith.models.compiled import VARIABLE, compile_blocks
from auralith.models.dit import DiT

CPU = torch.device("cpu")
CONTEXT_ROWS = 130
PROGRAM = "import auralith; auralith.load(device='cpu', dtype='float32', compile='on')"


@dataclass(frozen=True)
class Row:
    """Seconds of a step, or of loading, by kind; and the relative difference of the two results."""

    what: str
    values: dict[str, float]
    difference: float | None = None

    @property
    def ratio(self) -> float:
        first, second = self.values.values()
        return second / first


def compared(what: str, dit: nn.Module, frames: int, rounds: int, budget: float) -> Row:
    """Time guided steps of both kinds in turn, once the compiler is done."""
    assert isinstance(dit, DiT)
    fast = copy.deepcopy(dit)
    compile_blocks(fast, CPU)
    generator = torch.Generator().manual_seed(0)
    config = dit.config

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    context, vector = normal(1, CONTEXT_ROWS, config.context_dim), normal(2, config.global_dim)
    x, t = normal(1, config.latent_channels, frames).repeat(2, 1, 1), torch.tensor([0.5, 0.5])

    def task(one: DiT) -> Callable[[], Tensor]:
        prepared = one.prepare(context, vector, frames)
        return lambda: one.step(x, t, prepared)

    with torch.inference_mode():
        tasks = {"eager": task(dit), "compiled": task(fast)}
        tasks["compiled"]()
        times, results = measure.alternate(tasks, rounds, budget, time.process_time)
    difference = measure.relative_difference(results["compiled"], results["eager"])
    return Row(what, {n: measure.median(spent) for n, spent in times.items()}, difference)


def embedded(rounds: int, budget: float) -> Iterator[Row]:
    model = load(device="cpu", dtype="float32")
    audio = model.config.audio
    frames = audio.num_frames(audio.num_samples(4.0))
    yield compared(f"embedded, {frames} latents", model.dit, frames, rounds, budget)


def published(rounds: int, budget: float) -> Iterator[Row]:
    torch.default_generator.manual_seed(0)
    dit = DiT(DiTConfig(depth=2)).eval()
    yield compared("two blocks of the published width, 216 latents", dit, 216, rounds, budget)


def first() -> Iterator[Row]:
    values: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("empty cache", "from the cache"):
            start = time.perf_counter()
            environment = os.environ | {VARIABLE: folder}
            subprocess.run([sys.executable, "-c", PROGRAM], check=True, env=environment)
            values[name] = time.perf_counter() - start
    yield Row("loading the embedded model", values)


def main(
    only: Annotated[
        str, typer.Option(help="Parts, separated by commas.")
    ] = "embedded,published,first",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the warm-up.")] = 15,
    budget: Annotated[float, typer.Option(help="Seconds for a comparison of steps.")] = 60.0,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    output: Annotated[Path | None, typer.Option(help="Rows as JSON.")] = None,
) -> None:
    """Compare eager and compiled steps, in seconds of CPU."""
    torch.set_num_threads(threads)
    parts = {
        "embedded": lambda: embedded(rounds, budget),
        "published": lambda: published(rounds, budget),
        "first": first,
    }
    rows: list[Row] = []
    for name in only.split(","):
        for row in parts[name]():
            rows.append(row)
            values = ", ".join(f"{kind} {value:.4g} s" for kind, value in row.values.items())
            print(f"{row.what}: {values}, ratio {row.ratio:.3f}, difference {row.difference}")
            found = [asdict(one) | {"ratio": one.ratio, "threads": threads} for one in rows]
            measure.write_json(output, found)


if __name__ == "__main__":
    typer.run(main)
