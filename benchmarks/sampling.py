"""Shares of held-out prompts that the embedded model follows, against steps and guidance: what its defaults are chosen by."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import following
import typer
from generate import begun
from rich.progress import track
from rich.table import Table

from auralith.pipeline import load

STEPS = (8, 12, 15, 20, 30, 60)
GUIDANCE = (1.0, 1.5, 2.5, 4.0)


def variants(steps: int, guidance: float) -> Iterator[dict[str, Any]]:
    """Yield settings that leave the defaults in one of the two, the defaults among them."""
    for number in STEPS:
        yield {"steps": number, "cfg_scale": guidance}
    for scale in GUIDANCE:
        if scale != guidance:
            yield {"steps": steps, "cfg_scale": scale}


def main(
    sounds: Annotated[int, typer.Option(min=1, help="Held-out prompts.")] = 100,
    threads: Annotated[int, typer.Option(help="0: what torch chooses.")] = 0,
    output: Annotated[Path | None, typer.Option(help="Write the rows as JSON.")] = None,
) -> None:
    """Print seconds of one sound and per cent of right sounds for settings of the sampler."""
    console, about = begun("full", 1, threads)
    model = load(device="cpu")
    defaults = model.config.sampling
    cases, requests = zip(*following.held_out(sounds), strict=True)
    rows: list[dict[str, Any]] = []
    for settings in variants(defaults.steps, defaults.cfg_scale):
        start = time.perf_counter()
        named = f"{settings['steps']} steps, guidance {settings['cfg_scale']:g}"
        waveforms = [
            model.generate(replace(request, **settings)).waveform.numpy()
            for request in track(requests, named, transient=True)
        ]
        seconds = (time.perf_counter() - start) / len(cases)
        rows.append(settings | {"seconds": seconds} | following.figures(cases, waveforms))
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(*names)
    for row in rows:
        table.add_row(*(f"{row[name]:.3g}" for name in names))
    console.print(table)
    if output is not None:
        output.write_text(json.dumps({"machine": about, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
