"""From the shell to a second of sound in fresh processes, with a second checkout in turns; and where the CPU time goes.

    python benchmarks/cold_start.py --before OTHER_CHECKOUT

Each value is a median with the least and the most. The first round, which fills the file cache, doesn't count.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

HERE = Path(__file__).parents[1]
COMMAND = ("-m", "auralith", "generate", "a drum loop, 120 bpm", "--seconds", "1", "--seed", "1")
STAGES = {
    "python": "pass",
    "torch": "import torch",
    "all modules": "import torch, auralith.cli.generate, auralith.pipeline, soundfile, tokenizers",
    "a model": 'import auralith.cli.generate, soundfile; auralith.load(device="cpu")',
}
"""Programs of which each does what the one before it does, and more; the command does the rest."""


@dataclass(frozen=True)
class Spent:
    """What a process took."""

    clock: float
    cpu: float


def run(checkout: Path, arguments: Sequence[str], threads: int) -> Spent:
    """Return the seconds on the clock and of CPU of Python with the sources of a checkout."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PYTHONPATH": str(checkout / "src"),
            "OMP_NUM_THREADS": str(threads),
        }
        before, start = os.times(), time.perf_counter()
        subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            check=True,
            capture_output=True,
        )
        clock, after = time.perf_counter() - start, os.times()
    cpu = after.children_user + after.children_system
    return Spent(clock, cpu - before.children_user - before.children_system)


def shown(values: Sequence[float]) -> str:
    """Return median, least and most."""
    return f"{statistics.median(values):6.2f} ({min(values):.2f}–{max(values):.2f})"


def main(
    before: Annotated[Path | None, typer.Option(exists=True, help="Another checkout.")] = None,
    model: Annotated[Path | None, typer.Option(exists=True, help="Folder of a model.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the first.")] = 5,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    stages: Annotated[bool, typer.Option(help="Show where the time goes, too.")] = False,
    output: Annotated[Path | None, typer.Option(help="Seconds of all rounds as JSON.")] = None,
) -> None:
    """Time the first sound of a fresh process."""
    command = (*COMMAND, *(() if model is None else ("--model", str(model.resolve()))))
    programs = {name: (HERE, ("-c", program)) for name, program in STAGES.items() if stages}
    programs |= {"before": (before.resolve(), command)} if before else {}
    programs |= {"now": (HERE, command)}
    times: dict[str, list[Spent]] = {name: [] for name in programs}
    for _ in range(rounds + 1):
        for name, (checkout, arguments) in programs.items():
            times[name].append(run(checkout, arguments, threads))
    for name, taken in times.items():
        clock, cpu = (shown([getattr(one, kind) for one in taken[1:]]) for kind in ("clock", "cpu"))
        print(f"{name:12}  {clock} s  {cpu} s of CPU")
    if output is not None:
        kept = {name: [asdict(one) for one in taken[1:]] for name, taken in times.items()}
        output.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
