"""Generation and training on a GPU, prepared to take less than eight minutes: seconds, and peak memory of the GPU.

    python benchmarks/gpu.py --output gpu.json

    clip      47 s of sound in 100 guided steps (CFG 7) with random weights of the published size, by number format
    training  a step of all 24 blocks on four windows of 1,024 latents: all weights, and a LoRA of rank 16

Each is run once to warm up and once for the figure. `--device cpu --scale small` tries the benchmark itself.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import measure
import torch
import train_step
import typer
from candidates import config_of
from generate import Bench

from auralith import GenerationRequest, load
from auralith.resources import peak_memory
from auralith.stages import settle

SIZES = {"full": (47.0, 100, 24, 1_024, 4), "small": (1.0, 2, 1, 32, 1)}
"""Seconds and steps of a clip; blocks, latents and items of a training step."""
PRECISIONS = ("autocast", "bfloat16")
LORA_RANK = 16


@dataclass(frozen=True)
class Row:
    what: str
    dtype: str
    seconds: float
    peak_bytes: int | None


def clips(scale: str, dtypes: tuple[str, ...], device: torch.device) -> Iterator[Row]:
    """Make one sound in each number format, once all kernels are loaded."""
    seconds, steps, *_ = SIZES[scale]
    with tempfile.TemporaryDirectory() as folder:
        Bench(config_of(scale), None, 1, torch.get_num_threads()).write_model(Path(folder))
        for dtype in dtypes:
            model = load(folder, device=str(device), dtype=dtype)
            request = GenerationRequest("rain", seconds_total=seconds, steps=steps, cfg_scale=7.0)
            model.generate(replace(request, steps=2))
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            settle(device)
            start = time.perf_counter()
            model.generate(request)
            settle(device)
            spent = time.perf_counter() - start
            what = f"{seconds:g} s of sound, {steps} steps"
            yield Row(what, dtype, spent, peak_memory(device))
            del model


def training(scale: str, device: torch.device, rounds: int) -> Iterator[Row]:
    """Make steps of the transformer's training, of all weights and of an adapter."""
    *_, depth, frames, batch = SIZES[scale]
    for precision in PRECISIONS:
        for lora in (0, LORA_RANK):
            threads = torch.get_num_threads()
            setting = train_step.Setting(depth, frames, batch, precision, False, threads, lora)
            peak = train_step.peak_in_fresh_process(setting, "auralith", None)
            seconds = train_step.speed(setting, None, device, rounds)[0]["auralith"]
            trained = f"LoRA of rank {lora}" if lora else "all weights"
            what = f"training step, {trained}, {batch} × {frames} latents"
            yield Row(what, precision, seconds, peak)


def main(
    only: Annotated[str, typer.Option(help="Parts, separated by commas.")] = "clip,training",
    scale: Annotated[str, typer.Option(help="full (published size) or small.")] = "full",
    dtype: Annotated[str, typer.Option(help="Formats of clips.")] = "bfloat16,float16",
    device: Annotated[str, typer.Option(help="cuda, cuda:1 or cpu.")] = "cuda",
    rounds: Annotated[int, typer.Option(min=1, help="Training steps after the warm-up.")] = 3,
    output: Annotated[Path | None, typer.Option(help="Rows as JSON.")] = None,
) -> None:
    """Measure sounds and training steps on one device."""
    place, parts = torch.device(device), only.split(",")
    sources = {
        "clip": lambda: clips(scale, tuple(dtype.split(",")), place),
        "training": lambda: training(scale, place, rounds),
    }
    rows: list[Row] = []
    for name, source in sources.items():
        for row in source() if name in parts else ():
            print(row, flush=True)
            rows.append(row)
            measure.write_json(output, [asdict(one) for one in rows])


if __name__ == "__main__":
    typer.run(main)
