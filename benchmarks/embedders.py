"""Embedders beside torchopenl3, hear21passt and resampy: the same random weights and sounds, in turns, in one process.

    python -m benchmarks.embedders TORCHOPENL3 PASST_HEAR21 KALDI.PY

The arguments are as `scripts/embedder_peers.py` says. Front ends count. On one thread seconds are the process's own, so
that other work of the machine does not count. `--scale small` tries the benchmark itself, with a small PaSST.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import resampy  # pyright: ignore[reportMissingImports]
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor

from auralith.embedders.embedder import CPU
from auralith.embedders.kaiser_best import kaiser_best
from auralith.embedders.openl3 import FoldedNetwork, OpenL3Network, one_second_windows, spectrogram
from auralith.embedders.passt import PaSSTNetwork, log_mel
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

    @property
    def ratios(self) -> dict[str, float]:
        return {name: self.seconds["peer"] / own for name, own in self.seconds.items()}


def openl3_tasks(unpacked: Path) -> dict[str, Task]:
    """Return embeddings of 4 s of mono, by the front end that both have."""
    peer, ours = torchopenl3(unpacked), OpenL3Network()
    ours.load_state_dict({name: peer.state_dict()[name] for name in ours.state_dict()}, strict=True)
    windows = one_second_windows(sound(4, 48_000))

    def task(dtype: torch.dtype) -> Task:
        folded = FoldedNetwork(ours, CPU, dtype)
        parts = windows.split(2)
        return lambda: torch.cat([folded(spectrogram(part, "kapre-0.1.4")) for part in parts])

    return {
        "peer": lambda: peer(windows[:, None]),
        "float32": task(torch.float32),
        "bfloat16": task(torch.bfloat16),
    }


def passt_tasks(checkout: Path, kaldi: Path, scale: str) -> dict[str, Task]:
    """Return logits of one window of 10 s."""
    width, depth, heads = SIZES[scale]
    peer = HearPasst(checkout, kaldi, embed_dim=width, depth=depth, num_heads=heads)
    waveform = sound(10, 32_000)[None]

    def task(dtype: torch.dtype) -> Task:
        ours = PaSSTNetwork(width, depth, heads).requires_grad_(False)
        fill(ours)
        ours = ours.to(dtype)
        return lambda: ours(log_mel(waveform)[:, None].to(dtype))[0].float()

    return {
        "peer": lambda: peer(waveform)[0],
        "float32": task(torch.float32),
        "bfloat16": task(torch.bfloat16),
    }


def resampling_tasks() -> dict[str, Task]:
    """Return 10 s of mono at 48 kHz."""
    waveform = sound(10, 44_100)
    samples = waveform.numpy()
    return {
        "peer": lambda: torch.from_numpy(resampy.resample(samples, 44_100, 48_000)),
        "float32": lambda: kaiser_best(waveform[None], 44_100, 48_000)[0],
    }


def compared(what: str, tasks: dict[str, Task], sound_seconds: float, rounds: int) -> Row:
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times, results = measure.alternate(tasks, rounds, BUDGET, clock)
    peer = results.pop("peer")
    return Row(
        what,
        {name: measure.median(spent) for name, spent in times.items()},
        sound_seconds,
        {name: measure.relative_difference(made, peer) for name, made in results.items()},
    )


def main(
    torchopenl3: Path,
    passt: Path,
    kaldi: Path,
    rounds: int = 5,
    scale: Annotated[str, typer.Option(help="full or small")] = "full",
    output: Annotated[Path | None, typer.Option(help="rows as JSON")] = None,
) -> None:
    """Print medians, ratios to the peer, and how much faster than the sound each is."""
    with torch.inference_mode():
        rows = [
            compared("OpenL3, 4 s mono", openl3_tasks(torchopenl3), 4.0, rounds),
            compared("PaSST, 10 s", passt_tasks(passt, kaldi, scale), 10.0, rounds),
            compared("44.1 to 48 kHz, 10 s mono", resampling_tasks(), 10.0, rounds),
        ]
    if output is not None:
        output.write_text(json.dumps([asdict(row) | {"ratios": row.ratios} for row in rows]))
    Console().print(_table(rows))


def _table(rows: list[Row]) -> Table:
    table = Table("", "", "s", "peer / ours", "× real time", "difference")
    for row in rows:
        for name, seconds in row.seconds.items():
            difference = f"{row.difference[name]:.1e}" if name in row.difference else ""
            ratio, speed = row.ratios[name], row.sound_seconds / seconds
            mark = " *" if name == "float32" and ratio < TARGET else ""
            table.add_row(
                row.what, name, f"{seconds:.3g}", f"{ratio:.2f}{mark}", f"{speed:.1f}", difference
            )
    return table


if __name__ == "__main__":
    typer.run(main)
