"""Embedders beside torchopenl3, hear21passt and resampy: the same random weights and sounds, in turns, in one process.

    python -m benchmarks.embedders [TORCHOPENL3 PASST_HEAR21 KALDI.PY]

The arguments are as `scripts/embedder_peers.py` says; without them the embedders stand beside nothing but what the machine
could do at best: the speed of its matrix products in the same run. Front ends count. On one thread seconds are the process's own, so
that other work of the machine does not count. `--scale small` tries the benchmark itself, with a small PaSST.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from auralith.embedders.embedder import CPU
from auralith.embedders.kaiser_best import kaiser_best
from auralith.embedders.openl3 import (
    NUM_BANDS,
    NUM_FRAMES,
    FoldedNetwork,
    OpenL3Network,
    one_second_windows,
    spectrogram,
)
from auralith.embedders.passt import GRID, PATCH, PaSSTNetwork, log_mel
from benchmarks import measure
from scripts.embedder_peers import HearPasst, fill, sound, torchopenl3

SIZES = {"full": (768, 12, 12), "small": (24, 2, 3)}
"""Width, depth and heads of PaSST."""
TARGET = 1.5
BUDGET = 600.0
Task = Callable[[], Tensor]


@dataclass(frozen=True)
class Row:
    """One comparison: medians in seconds, and what follows from them."""

    what: str
    seconds: dict[str, float]
    sound_seconds: float
    difference: dict[str, float]
    """Relative to the peer's result."""
    operations: float | None = None
    """Multiplications and additions that a plain network takes."""

    @property
    def ratios(self) -> dict[str, float]:
        peer = self.seconds.get("peer")
        return {name: peer / own for name, own in self.seconds.items()} if peer else {}


def openl3_tasks(unpacked: Path | None) -> dict[str, Task]:
    """Return embeddings of 4 s of mono, by the front end that both have."""
    ours = OpenL3Network().requires_grad_(False)
    fill(ours)  # as torchopenl3's are
    windows = one_second_windows(sound(4, 48_000))

    def task(dtype: torch.dtype) -> Task:
        folded = FoldedNetwork(ours, CPU, dtype)
        parts = windows.split(2)
        return lambda: torch.cat([folded(spectrogram(part, "kapre-0.1.4")) for part in parts])

    tasks = {"float32": task(torch.float32), "bfloat16": task(torch.bfloat16)}
    if unpacked is not None:
        peer = torchopenl3(unpacked)
        tasks["peer"] = lambda: peer(windows[:, None])
    return tasks


def passt_tasks(checkout: Path | None, kaldi: Path | None, scale: str) -> dict[str, Task]:
    """Return logits of one window of 10 s."""
    width, depth, heads = SIZES[scale]
    waveform = sound(10, 32_000)[None]

    def task(dtype: torch.dtype) -> Task:
        ours = PaSSTNetwork(width, depth, heads).requires_grad_(False)
        fill(ours)
        ours = ours.to(dtype)
        return lambda: ours(log_mel(waveform)[:, None].to(dtype))[0].float()

    tasks = {"float32": task(torch.float32), "bfloat16": task(torch.bfloat16)}
    if checkout is not None and kaldi is not None:
        peer = HearPasst(checkout, kaldi, embed_dim=width, depth=depth, num_heads=heads)
        tasks["peer"] = lambda: peer(waveform)[0]
    return tasks


def resampling_tasks() -> dict[str, Task]:
    """Return 10 s of mono at 48 kHz."""
    import resampy  # pyright: ignore[reportMissingImports]

    waveform = sound(10, 44_100)
    samples = waveform.numpy()
    return {
        "peer": lambda: torch.from_numpy(resampy.resample(samples, 44_100, 48_000)),
        "float32": lambda: kaiser_best(waveform[None], 44_100, 48_000)[0],
    }


def openl3_operations() -> float:
    """Return those of a window's convolutions, 20.4e9: pictures of 256 × 199, halved after every second one."""
    convolutions = [m for m in OpenL3Network().modules() if isinstance(m, torch.nn.Conv2d)]
    pictures = ((NUM_BANDS >> number // 2) * (NUM_FRAMES >> number // 2) for number in range(8))
    return sum(2 * c.weight.numel() * size for c, size in zip(convolutions, pictures, strict=True))


def passt_operations(scale: str) -> float:
    """Return those of a window's products, 236e9: of all tokens, but of two after the last block's keys and values."""
    width, depth, _ = SIZES[scale]
    tokens = GRID[0] * GRID[1] + 2
    keys_and_values, rest, attention = 2 * width**2, 10 * width**2, 2 * tokens * width
    full = (depth - 1) * tokens * (keys_and_values + rest + attention)
    last = tokens * keys_and_values + 2 * (rest + attention)
    patches = (tokens - 2) * width * PATCH**2
    return 2 * float(full + last + patches)


def product_speed(dtype: torch.dtype, rounds: int, size: int = 2_048) -> float:
    """Return operations a second of a matrix product, the fastest of some rounds: the best that a network could do."""
    one = torch.randn(size, size).to(dtype)
    times, _ = measure.alternate({"product": lambda: one @ one}, rounds, BUDGET, _clock())
    return 2 * size**3 / min(times["product"])


def _clock() -> Callable[[], float]:
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def compared(
    what: str,
    tasks: dict[str, Task],
    sound_seconds: float,
    rounds: int,
    operations: float | None = None,
) -> Row:
    times, results = measure.alternate(tasks, rounds, BUDGET, _clock())
    peer = results.pop("peer", None)
    return Row(
        what,
        {name: measure.median(spent) for name, spent in times.items()},
        sound_seconds,
        {}
        if peer is None
        else {name: measure.relative_difference(made, peer) for name, made in results.items()},
        operations,
    )


def main(
    torchopenl3: Annotated[Path | None, typer.Argument()] = None,
    passt: Annotated[Path | None, typer.Argument()] = None,
    kaldi: Annotated[Path | None, typer.Argument()] = None,
    rounds: int = 5,
    scale: Annotated[str, typer.Option(help="full or small")] = "full",
    output: Annotated[Path | None, typer.Option(help="rows as JSON")] = None,
) -> None:
    """Print medians, ratios to the peer, how much faster than the sound each is, and could be at best."""
    openl3, classifier = openl3_tasks(torchopenl3), passt_tasks(passt, kaldi, scale)
    windows = 8  # of 4 s
    with torch.inference_mode():
        speeds = {
            "float32": product_speed(torch.float32, rounds),
            "bfloat16": product_speed(torch.bfloat16, rounds),
        }
        rows = [
            compared("OpenL3, 4 s mono", openl3, 4.0, rounds, windows * openl3_operations()),
            compared("PaSST, 10 s", classifier, 10.0, rounds, passt_operations(scale)),
        ]
        if torchopenl3 is not None:
            rows.append(compared("44.1 to 48 kHz, 10 s mono", resampling_tasks(), 10.0, rounds))
    if output is not None:
        output.write_text(json.dumps([asdict(row) | {"ratios": row.ratios} for row in rows]))
    Console(width=100).print(_table(rows, speeds))


def _table(rows: list[Row], speeds: dict[str, float]) -> Table:
    table = Table("", "", "s", "peer / ours", "× real time", "at best", "difference")
    for name, speed in speeds.items():
        table.add_row("matrix product", name, "", "", "", f"{speed / 1e9:.0f} GFLOP/s", "")
    for row in rows:
        for name, seconds in row.seconds.items():
            difference = f"{row.difference[name]:.1e}" if name in row.difference else ""
            ratio, speed, best = row.ratios.get(name), row.sound_seconds / seconds, ""
            mark = " *" if name == "float32" and ratio and ratio < TARGET else ""
            if row.operations and name in speeds:
                best = f"{row.sound_seconds * speeds[name] / row.operations:.1f}"
            shown = f"{ratio:.2f}{mark}" if ratio else ""
            table.add_row(row.what, name, f"{seconds:.3g}", shown, f"{speed:.1f}", best, difference)
    return table


if __name__ == "__main__":
    typer.run(main)
