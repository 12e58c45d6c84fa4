"""Clocks: candidates in turn, the machine's GEMM ceiling, and what a fresh process reports about itself."""

import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from auralith.files import whole_file

FRESH_PROCESS = Path(__file__).with_name("fresh_process.py")
GEMM_SHAPE = (
    2_050,
    1_536,
    12_288,
)  # rows, inputs, outputs: the feed-forward of a guided step at 1024 latents

INSTRUCTIONS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
"""Flags of the CPU that say how fast it multiplies, and what."""


def alternate(
    tasks: dict[str, Callable[[], Tensor]],
    rounds: int,
    budget: float,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[dict[str, list[float]], dict[str, Tensor]]:
    """Seconds of every round and the last results, the tasks taking turns, every second round backwards.

    The first round warms up and is dropped, unless a second one would not fit into `budget` seconds.
    """
    times: dict[str, list[float]] = {name: [] for name in tasks}
    results: dict[str, Tensor] = {}
    start = time.perf_counter()
    for done in range(rounds + 1):
        elapsed = time.perf_counter() - start
        if done and elapsed * (done + 1) / done > budget:
            break
        for name in list(tasks)[:: -1 if done % 2 else 1]:
            before = clock()
            results[name] = tasks[name]()
            times[name].append(clock() - before)
    return {name: spent[1:] or spent for name, spent in times.items()}, results


def median(seconds: list[float]) -> float:
    return statistics.median(seconds)


def relative_difference(a: Tensor, b: Tensor) -> float:
    return ((a.float() - b.float()).norm() / b.float().norm()).item()


def gemm_ceiling(dtype: torch.dtype) -> float:
    """FLOP/s of the best of five matrix products of the network's largest shape."""
    rows, inputs, outputs = GEMM_SHAPE
    x, weight = torch.ones(rows, inputs, dtype=dtype), torch.ones(outputs, inputs, dtype=dtype)
    spent: list[float] = []
    for _ in range(5):
        start = time.perf_counter()
        F.linear(x, weight)
        spent.append(time.perf_counter() - start)
    return 2 * rows * inputs * outputs / min(spent)


def in_fresh_process(*arguments: str, threads: int) -> dict[str, Any]:
    """What `fresh_process.py` prints. Its errors go to the terminal."""
    command = [sys.executable, str(FRESH_PROCESS), *arguments, "--threads", str(threads)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def machine(threads: int) -> dict[str, str | int]:
    """Return what a run is made on: the CPU, its instructions, and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = names[0] if names else platform.processor()
    flags = {flag for line in lines if line.startswith("flags") for flag in line.split()}
    return {
        "cpu": cpu,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "instructions": " ".join(flag for flag in INSTRUCTIONS if flag in flags),
        "threads": threads,
    } | {
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def write_json(path: Path | None, data: Any) -> None:
    """Write what was measured so far, whole, so that it stays if time runs out; nothing without a path."""
    if path is not None:
        with whole_file(path) as file:
            file.write(json.dumps(data, indent=1).encode() + b"\n")
