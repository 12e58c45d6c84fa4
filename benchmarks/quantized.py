"""Time, memory and drift of a model in int8, beside the same model in float32 and bfloat16.

    step    a guided step at 216 and 1024 latents: seconds in turn, relative error, bytes of the transformer
    memory  a fresh process: loading the stored model, then 10 s of sound in a few steps; peak of resident memory
    drift   the embedded model: final latents after 100 steps with the same noise, and the sound, beside another seed
    follow  the embedded model: figures of its evaluation on held-out prompts, in points

`step` and `memory` are of random weights at the published size; `--scale small` tries the benchmark itself. bfloat16 is
timed where the CPU has it, and its drift is measured everywhere.
"""

import copy
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import candidates as peers
import following
import measure
import torch
import typer
from generate import Bench, begun
from rich.table import Table
from torch import Tensor, nn

from auralith.checkpoints import convert
from auralith.checkpoints.quantization import place_int8
from auralith.metrics.codec import mel_distance, multi_resolution_stft_distance
from auralith.models.dit import DiT
from auralith.models.lazy_tensor import meta_device, weights_of
from auralith.models.quantized import quantized_layers
from auralith.pipeline import Auralith, load
from auralith.request import GenerationRequest
from auralith.resolution import known
from auralith.resources import cpu_has_bfloat16

PARTS = ("step", "memory", "drift", "follow")
FRAMES = (216, 1_024)
MEMORY_STEPS = 2
DRIFT_PROMPTS, DRIFT_SECONDS = 6, 4.0
Clock = Callable[[], float]


@dataclass(frozen=True)
class Row:
    """A figure by number format. `unit` is s, byte, error or points."""

    what: str
    unit: str
    values: dict[str, float]

    @property
    def ratio(self) -> float | None:
        """Return int8 as a share of float32, where that means something."""
        if self.unit not in ("s", "byte") or "float32" not in self.values:
            return None
        return self.values["int8"] / self.values["float32"]


def in_int8(dit: nn.Module) -> DiT:
    """Return a transformer of the same weights with its large products in int8."""
    assert isinstance(dit, DiT)
    with meta_device():
        network = DiT(dit.config)
    weights = weights_of({f"dit.{name}": t for name, t in dit.state_dict().items()})
    rest = place_int8(network, weights)
    state = {name.removeprefix("dit."): tensor.read() for name, tensor in rest.items()}
    network.load_state_dict(state, strict=True, assign=True)
    return network.eval()


def dit_bytes(dit: nn.Module) -> int:
    floats = sum(p.numel() * p.element_size() for p in dit.parameters())
    return floats + sum(layer.num_bytes for layer in quantized_layers(dit).values())


def steps(bench: Bench, lengths: tuple[int, ...], budget: float, clock: Clock) -> Iterator[Row]:
    networks = peers.random_networks(bench.config, torch.float32)
    variants: dict[str, nn.Module] = {"float32": networks.dit, "int8": in_int8(networks.dit)}
    if cpu_has_bfloat16():
        variants["bfloat16"] = copy.deepcopy(networks.dit).to(torch.bfloat16)
    yield Row("transformer", "byte", {name: dit_bytes(dit) for name, dit in variants.items()})
    for frames in lengths:
        tasks = {name: _step(dit, bench, frames) for name, dit in variants.items()}
        with torch.inference_mode():
            times, results = measure.alternate(tasks, bench.rounds, budget, clock)
        medians = {name: measure.median(spent) for name, spent in times.items()}
        yield Row(f"step, {frames} latents", "s", medians)
        exact = results.pop("float32")
        errors = {n: measure.relative_difference(found, exact) for n, found in results.items()}
        yield Row(f"error of the step, {frames} latents", "error", errors)


def _step(dit: nn.Module, bench: Bench, frames: int) -> Callable[[], Tensor]:
    assert isinstance(dit, DiT)
    dtype, config = dit.project_in.weight.dtype, bench.config.dit
    context = _noise(peers.CONTEXT_ROWS, config.context_dim).to(dtype)
    conditions = _noise(2, config.global_dim)[0].to(dtype)
    x = _noise(config.latent_channels, frames).to(dtype).repeat(2, 1, 1)
    with torch.inference_mode():
        prepared = dit.prepare(context, conditions, frames)
    t = torch.tensor([0.5, 0.5])
    return lambda: peers.guided(*dit.step(x, t, prepared).chunk(2))


def _noise(rows: int, columns: int) -> Tensor:
    return torch.randn(1, rows, columns, generator=torch.Generator().manual_seed(rows))


def memory(bench: Bench) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as temporary:
        floats, stored = Path(temporary) / "floats", Path(temporary) / "int8"
        bench.write_model(floats)
        convert(floats, stored, quantize="int8")
        files = {"float32": floats, "int8": stored}
        reports = {
            name: measure.in_fresh_process(
                *("auralith", str(folder), "--dtype", name, "--steps", str(MEMORY_STEPS)),
                threads=bench.threads,
            )
            for name, folder in files.items()
        }
    for what, unit, key in (
        ("loading", "s", "load_seconds"),
        (f"a 10 s clip in {MEMORY_STEPS} steps", "s", "clip_seconds"),
        ("peak of loading", "byte", "load_peak_bytes"),
        ("peak of a 10 s clip", "byte", "clip_peak_bytes"),
    ):
        yield Row(what, unit, {name: report[key] for name, report in reports.items()})


def drift(num_steps: int) -> Iterator[Row]:
    models = {name: load(dtype=name) for name in ("float32", "int8", "bfloat16")}
    exact = models.pop("float32")
    found: dict[str, list[tuple[float, float, float, float]]] = {}
    for drawn in following.drawn(DRIFT_SECONDS, DRIFT_PROMPTS):
        request = replace(drawn, steps=num_steps)
        other = replace(request, seed=known(request.seed) + 1_000)
        expected = _run(exact, request)
        runs = {name: _run(model, request) for name, model in models.items()}
        for name, run in (runs | {"another seed": _run(exact, other)}).items():
            found.setdefault(name, []).append(_distances(exact, run, expected))
    names = ("first step", "final latents", "multi-resolution STFT", "mel")
    for place, what in enumerate(names):
        columns = {
            name: statistics.median(row[place] for row in rows) for name, rows in found.items()
        }
        yield Row(f"{what}, median", "error", columns)
    columns = {name: max(row[1] for row in rows) for name, rows in found.items()}
    yield Row("final latents, largest", "error", columns)


def _run(model: Auralith, request: GenerationRequest) -> tuple[Tensor, Tensor]:
    """Return the first prediction of the clean latents, and the latents at the end."""
    first, last = None, None
    for step in model.denoising_steps([request]):
        first = step.denoised.clone() if first is None else first
        last = step.x
    assert first is not None and last is not None
    return first, last.clone()


def _distances(
    model: Auralith, found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]
) -> tuple[float, float, float, float]:
    sound, original = (model.decode(latents)[0] for _, latents in (found, expected))
    rate = model.config.audio.sample_rate
    return (
        measure.relative_difference(found[0], expected[0]),
        measure.relative_difference(found[1], expected[1]),
        float(multi_resolution_stft_distance(sound, original)),
        float(mel_distance(sound, original, rate)),
    )


def follow(sounds: int, formats: tuple[str, ...]) -> Iterator[Row]:
    cases, requests = zip(*following.held_out(sounds), strict=True)
    tables: dict[str, dict[str, float]] = {}
    for name in formats:
        model = load(dtype=name)
        made = (model.generate(request).waveform.numpy() for request in requests)
        tables[name] = following.figures(cases, made)
    for figure in tables[formats[0]]:
        yield Row(figure, "points", {name: table[figure] for name, table in tables.items()})


def table_of(rows: list[Row]) -> Table:
    names = list(dict.fromkeys(name for row in rows for name in row.values))
    table = Table("what", *names, "int8 / float32")
    for row in rows:
        values = [_shown(row.values.get(name), row.unit) for name in names]
        table.add_row(row.what, *values, "" if row.ratio is None else f"{row.ratio:.2f}")
    return table


def _shown(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    forms = {"byte": f"{value / 1e9:.2f} GB", "s": f"{value:.3g} s", "points": f"{value:.1f}"}
    return forms.get(unit, f"{value:.4f}")


def main(
    only: Annotated[str, typer.Option(help="Parts to run, separated by commas.")] = ",".join(PARTS),
    scale: Annotated[str, typer.Option(help="full (published size) or small.")] = "full",
    frames: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Latents of `step`; repeatable. Left out: 216, 1024."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the warm-up.")] = 5,
    budget: Annotated[float, typer.Option(help="Seconds for a comparison of steps.")] = 200.0,
    steps_of_drift: Annotated[int, typer.Option("--steps", min=1, help="Of `drift`.")] = 100,
    sounds: Annotated[int, typer.Option(min=1, help="Prompts of `follow`.")] = 200,
    threads: Annotated[int, typer.Option(help="0: what torch chooses.")] = 0,
    cpu_time: Annotated[
        bool,
        typer.Option(help="Time `step` on the CPU's clock, on which other programs show less."),
    ] = False,
    output: Annotated[Path | None, typer.Option(help="Write the rows as JSON.")] = None,
) -> None:
    """Compare int8 with float32 and bfloat16 on this machine."""
    parts = tuple(only.split(","))
    if unknown := [*(set(parts) - set(PARTS)), *({scale} - {"full", "small"})]:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}")
    console, about = begun(scale, rounds, threads)
    bench = Bench(peers.config_of(scale), None, rounds, torch.get_num_threads())
    clock = time.process_time if cpu_time else time.perf_counter
    sources = {
        "memory": lambda: memory(bench),
        "step": lambda: steps(bench, tuple(frames or FRAMES), budget, clock),
        "drift": lambda: drift(steps_of_drift),
        "follow": lambda: follow(sounds, ("float32", "int8")),
    }
    rows: list[Row] = []
    for part, source in sources.items():
        for row in source() if part in parts else ():
            rows.append(row)
            results = [asdict(one) | {"ratio": one.ratio} for one in rows]
            measure.write_json(output, {"machine": about, "rows": results})
    console.print(table_of(rows))


if __name__ == "__main__":
    typer.run(main)
