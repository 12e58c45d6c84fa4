"""Time and memory of sounds that get longer, and of batches that get larger; each point in a fresh process.

python benchmarks/growth.py --output growth.json --png growth.png
python benchmarks/growth.py --model FOLDER --seconds 47 --steps 2

clip    one sound, up to the longest that the model makes at once
batch   sounds of four seconds, made together
extend  a sound of four seconds made longer, up to five minutes
"""

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
from fresh_process import peak_bytes
from measure import write_json
from rich.console import Console
from rich.table import Table

LENGTHS = (1.0, 2.0, 4.0, 8.0, 12.0, 24.0, 47.0)
BATCHES = (1, 2, 4, 8, 16)
EXTENSIONS = (10.0, 30.0, 60.0, 150.0, 300.0)
PART_SECONDS = 4.0
"""Length of the sounds of a batch, and of the one that is extended."""
TITLES = {"clip": "seconds of sound", "batch": "sounds of 4 s", "extend": "seconds extended to"}
MEGA = 1e6


@dataclass(frozen=True)
class Point:
    """What a process took besides loading the model."""

    part: str
    amount: float
    seconds: float
    loaded_bytes: int
    peak_bytes: int


def measure(part: str, amount: float, model: str | None, steps: int | None) -> Point:
    """Make the sounds of one point. A short sound before it loads the kernels."""
    from auralith import GenerationRequest, load
    from auralith.editing import Clip, Extension, extend

    loaded = load(model, device="cpu")
    short = GenerationRequest("rain", seconds_total=0.5, steps=2, seed=0)
    loaded.generate(short)
    before, start = peak_bytes(), time.perf_counter()
    seconds = amount if part == "clip" else PART_SECONDS
    request = GenerationRequest("rain", seconds_total=seconds, steps=steps, seed=0, window="fit")
    if part == "batch":
        loaded.generate_batch([request] * int(amount))
    elif part == "extend":
        made = loaded.generate(request)
        start = time.perf_counter()
        free = replace(request, seconds_total=None)
        extend(loaded, free, Clip(made.waveform, made.sample_rate), Extension(amount))
    else:
        loaded.generate(request)
    return Point(part, amount, time.perf_counter() - start, before, peak_bytes())


def in_fresh_process(part: str, amount: float, model: str | None, steps: int | None) -> Point:
    """Return what a fresh process measured."""
    options = json.dumps({"part": part, "amount": amount, "model": model, "steps": steps})
    command = [sys.executable, __file__, "--point", options]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Point(**json.loads(done.stdout.splitlines()[-1]))


def draw(points: list[Point], path: Path) -> None:
    """Draw seconds and megabytes against each amount."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    parts = list(dict.fromkeys(point.part for point in points))
    figure, axes = pyplot.subplots(2, len(parts), figsize=(4 * len(parts), 6), squeeze=False)
    for column, part in enumerate(parts):
        shown = [point for point in points if point.part == part]
        amounts = [point.amount for point in shown]
        memory = [(point.peak_bytes - point.loaded_bytes) / MEGA for point in shown]
        rows = {"seconds": [point.seconds for point in shown], "MB above the model": memory}
        for row, (label, values) in enumerate(rows.items()):
            axis = axes[row][column]
            axis.plot(amounts, values, marker="o")
            axis.set(xlabel=TITLES[part], ylabel=label, xlim=(0, None), ylim=(0, None))
            axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main(
    model: Annotated[Path | None, typer.Option(exists=True, help="Folder of a model.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Longest sound made at once.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Denoising steps.")] = None,
    only: Annotated[str, typer.Option(help="Parts, separated by commas.")] = ",".join(TITLES),
    output: Annotated[Path | None, typer.Option(help="Points as JSON.")] = None,
    png: Annotated[Path | None, typer.Option(help="Curves.")] = None,
) -> None:
    """Measure time and memory against length and batch."""
    from auralith import load

    name = None if model is None else str(model.resolve())
    config = load(name, device="cpu").config
    longest = seconds or int(config.audio.seconds(config.window_samples))
    amounts: dict[str, tuple[float, ...]] = {
        "clip": (*(one for one in LENGTHS if one < longest), longest),
        "batch": BATCHES,
        "extend": EXTENSIONS,
    }
    points: list[Point] = []
    table = Table("part", "amount", "seconds", "MB of the model", "MB above it")
    for part in only.split(","):
        for amount in amounts[part]:
            point = in_fresh_process(part, amount, name, steps)
            points.append(point)
            write_json(output, [asdict(one) for one in points])
            above = (point.peak_bytes - point.loaded_bytes) / MEGA
            row = f"{amount:g}", f"{point.seconds:.2f}", f"{point.loaded_bytes / MEGA:.0f}"
            table.add_row(part, *row, f"{above:.0f}")
    Console().print(table)
    if png:
        draw(points, png)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--point"]:
        print(json.dumps(asdict(measure(**json.loads(sys.argv[2])))))
    else:
        typer.run(main)
