"""Parts of the table of docs/speed.md: which benchmarks measure each, and how its rows come from what they write."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

Cells = tuple[str, ...]
PEERS = ("auralith", "diffusers", "stable-audio-tools")
TRAINING = {
    "full": ("--depth", "4", "--frames", "1024", "--batch", "4"),
    "small": ("--depth", "1", "--frames", "32", "--batch", "1"),
}
"""Sizes of a training step on a CPU, by scale."""


@dataclass(frozen=True)
class Asked:
    """What a run of the table is asked for."""

    scale: str
    dtypes: tuple[str, ...]
    threads: tuple[int, ...]
    rounds: int
    stable_audio_tools: Path | None

    @property
    def floats(self) -> tuple[str, ...]:
        return tuple(name for name in self.dtypes if name != "int8")

    @property
    def common(self) -> Cells:
        return ("--scale", self.scale, "--rounds", str(self.rounds))

    @property
    def checkout(self) -> Cells:
        found = self.stable_audio_tools
        return () if found is None else ("--stable-audio-tools", str(found))


@dataclass(frozen=True)
class Run:
    """One call of a benchmark that writes JSON, and how rows are made of it; 0 threads are what torch chooses."""

    command: Cells
    threads: int
    rows: Callable[[Any], Iterable[Cells]]


@dataclass(frozen=True)
class Part:
    """A table: `keys` say what a row is of, `columns` what was measured."""

    name: str
    title: str
    note: str
    keys: Cells
    columns: Cells
    runs: Callable[[Asked], Iterator[Run]]


def number(value: float | None, digits: int = 3) -> str:
    """Return a value with so many digits that count, nothing for None."""
    return "" if value is None else f"{float(f'{value:.{digits}g}'):,.10g}"


def gigabytes(value: float | None) -> str:
    return "" if value is None else f"{value / 1e9:.2f}"


def ratio(values: Mapping[str, float]) -> float | None:
    """Return ours over the best peer's; None without a peer."""
    peers = [value for name, value in values.items() if name != "auralith"]
    return values["auralith"] / min(peers) if peers else None


# --- steps and the autoencoder ---


def network_runs(asked: Asked) -> Iterator[Run]:
    for count in asked.threads:
        rest = ("--threads", str(count), *asked.common)
        for dtype in asked.floats:
            options = ("--only", "step,decode,encode", "--dtype", dtype)
            yield Run(("generate.py", *options, *rest, *asked.checkout), count, network_rows)
        if "int8" in asked.dtypes:
            yield Run(("quantized.py", "--only", "step", *rest), count, int8_rows)


def network_rows(data: Any) -> Iterator[Cells]:
    threads = str(data["machine"]["threads"])
    for row in data["rows"]:
        if row["what"] in ("step", "decode", "encode"):
            seconds = [number(row["values"].get(name)) for name in PEERS]
            shares = number(ratio(row["values"]), 2), f"{row['difference']:.0e}"
            what = f"{row['what']}, {row['latents']} latents"
            yield (what, row["dtype"], threads, *seconds, *shares)


def int8_rows(data: Any) -> Iterator[Cells]:
    threads = str(data["machine"]["threads"])
    values = {row["what"]: row["values"] for row in data["rows"]}
    for what, found in values.items():
        error = values.get(f"error of the {what}")
        if error is not None:
            row = (what, "int8", threads, number(found["int8"]))
            yield (*row, "", "", "", f"{error['int8']:.0e}")


# --- whole clips in fresh processes ---


def clip_runs(asked: Asked) -> Iterator[Run]:
    for count in asked.threads:
        rest = ("--threads", str(count), "--scale", asked.scale)
        if asked.floats:
            options = ("--only", "clip", "--dtype", ",".join(asked.floats))
            yield Run(("generate.py", *options, *rest), count, clip_rows)
        if "int8" in asked.dtypes:
            yield Run(("quantized.py", "--only", "memory", *rest), count, int8_clip_rows)


def clip_rows(data: Any) -> Iterator[Cells]:
    threads = str(data["machine"]["threads"])
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in data["rows"]:
        found.setdefault(row["dtype"], {})[row["what"]] = row["values"]
    for dtype, one in found.items():
        if "clip memory" not in one:  # the last of its rows
            continue
        seconds = [number(one[what][name]) for what in ("load", "clip") for name in PEERS[:2]]
        memory = [gigabytes(one["clip memory"][name]) for name in PEERS[:2]]
        share = number(ratio(one["clip memory"]), 2)
        yield (dtype, threads, *seconds, number(ratio(one["clip"]), 2), *memory, share)


def int8_clip_rows(data: Any) -> Iterator[Cells]:
    values = {row["what"]: row["values"]["int8"] for row in data["rows"]}
    if "peak of a 10 s clip" in values:
        memory, loading = gigabytes(values["peak of a 10 s clip"]), number(values["loading"])
        yield ("int8", str(data["machine"]["threads"]), loading, *[""] * 4, memory, "", "")


# --- the embedded model ---


def embedded_runs(asked: Asked) -> Iterator[Run]:
    for count in asked.threads:
        yield Run(
            ("growth.py", "--only", "clip"), count, lambda data, n=count: growth_rows(data, n)
        )


def growth_rows(data: Any, threads: int) -> Iterator[Cells]:
    for point in data:
        factor = point["amount"] / point["seconds"]
        above = (point["peak_bytes"] - point["loaded_bytes"]) / 1e6
        seconds = number(point["seconds"]), number(factor), f"{above:.0f}"
        yield (f"{point['amount']:g} s", str(threads), *seconds)


def start_runs(asked: Asked) -> Iterator[Run]:
    for count in asked.threads:
        command = ("cold_start.py", "--threads", str(count), "--rounds", str(asked.rounds))
        yield Run(command, count, lambda data, n=count: start_rows(data, n))


def start_rows(data: Any, threads: int) -> Iterator[Cells]:
    clock, cpu = (sorted(one[kind] for one in data["now"]) for kind in ("clock", "cpu"))
    middle = len(clock) // 2
    spread = f"{number(clock[0])}–{number(clock[-1])}"
    yield (str(threads), number(clock[middle]), spread, number(cpu[middle]))


def drift_runs(asked: Asked) -> Iterator[Run]:
    steps = "100" if asked.scale == "full" else "2"
    yield Run(
        ("quantized.py", "--only", "drift", "--steps", steps, "--threads", "1"), 1, drift_rows
    )


def drift_rows(data: Any) -> Iterator[Cells]:
    for row in data["rows"]:
        names = ("int8", "bfloat16", "another seed")
        yield (row["what"], *(number(row["values"][name], 2) for name in names))


# --- training, and GPUs ---


def training_runs(asked: Asked) -> Iterator[Run]:
    if torch.cuda.is_available():
        return  # train_step.py takes the GPU then
    for count in asked.threads:
        rest = (*TRAINING[asked.scale], "--threads", str(count), "--rounds", str(asked.rounds))
        full = ("train_step.py", "--precision", ",".join(asked.floats), *rest, *asked.checkout)
        yield Run(full, count, training_rows)
        yield Run(
            ("train_step.py", "--precision", "float32", "--lora", "16", *rest), count, training_rows
        )


def training_rows(data: Any) -> Iterator[Cells]:
    for row in data:
        kind = f"LoRA of rank {row['lora']}" if row["lora"] else "all weights"
        size = f"{row['batch']} × {row['frames']} latents, {row['depth']} blocks"
        seconds = [number(row["seconds"].get(name)) for name in PEERS]
        memory = [gigabytes(row["bytes"].get(name)) for name in PEERS[:2]]
        key = kind, size, row["precision"], str(row["threads"])
        yield (*key, *seconds, number(ratio(row["seconds"]), 2), *memory)


def gpu_runs(asked: Asked) -> Iterator[Run]:
    if torch.cuda.is_available():
        yield Run(("gpu.py", "--scale", asked.scale), 0, gpu_rows)


def gpu_rows(data: Any) -> Iterator[Cells]:
    for row in data:
        yield (row["what"], row["dtype"], number(row["seconds"]), gigabytes(row["peak_bytes"]))


PARTS = (
    Part(
        "networks",
        "A guided step, decoding and encoding,",
        "random weights of Stable Audio Open 1.0 in one process in turn; seconds. The ratio is ours over the faster peer's, "
        "the drift our result's from a peer's, in int8 from ours in float32.",
        ("", "dtype", "threads"),
        ("ours", "diffusers", "stable-audio-tools", "ratio", "drift"),
        network_runs,
    ),
    Part(
        "clip",
        "Loading and 10 s of sound in 10 steps,",
        "each in a fresh process: diffusers at its whole window; seconds, and the peak of resident memory in GB. In int8 of 2 "
        "steps, and memory alone is compared.",
        ("dtype", "threads"),
        (
            *("loading", "diffusers", "clip", "diffusers", "ratio"),
            *("memory", "diffusers", "ratio"),
        ),
        clip_runs,
    ),
    Part(
        "embedded",
        "The embedded model:",
        "seconds for one sound, seconds of sound per second, and MB above the loaded model.",
        ("sound", "threads"),
        ("seconds", "real-time factor", "MB"),
        embedded_runs,
    ),
    Part(
        "start",
        "The first second of sound of the embedded model from the shell:",
        "median and spread on the clock, and seconds of CPU.",
        ("threads",),
        ("seconds", "spread", "CPU"),
        start_runs,
    ),
    Part(
        "drift",
        "Drift of the embedded model",
        "from float32, relative; six prompts of 4 s, 100 steps.",
        ("",),
        ("int8", "bfloat16", "another seed"),
        drift_runs,
    ),
    Part(
        "training",
        "A training step",
        "of the published width: forward, backward, AdamW; seconds, and peak memory in GB.",
        ("trained", "batch", "precision", "threads"),
        (*PEERS, "ratio", "memory", "diffusers"),
        training_runs,
    ),
    Part(
        "gpu",
        "A GPU:",
        "47 s in 100 guided steps at the published size, and training steps of all 24 blocks; seconds, and peak GPU memory in GB.",
        ("", "dtype"),
        ("seconds", "memory"),
        gpu_runs,
    ),
)
