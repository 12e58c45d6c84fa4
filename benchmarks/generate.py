"""Generation speed and memory beside the peers: diffusers, and stable-audio-tools if its checkout is given.

All candidates run in one process with the same random weights and take turns; the GEMM ceiling of the machine is
measured in the same run. Whole clips, loading and imports are measured in fresh processes. Parts:

    import  `import auralith` (which defers), and the pipeline's class, against the peer's class
    step    one guided step at 216 latents (10 s) and 1024 latents (the trained window)
    decode  128 latents (5.9 s)
    encode  as much sound, as training prepares its latents
    clip    loading, then 10 s of sound in 10 steps: ours at 216 latents, the peer at its whole window

At the published size the set is meant for ten minutes on two cores; `clip` is more than half of it and wants 11 GB of
disk and 14 GB of free memory. `--scale small` tries the benchmark itself; its ratios mean nothing.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import candidates as peers
import measure
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from auralith.checkpoints import Spec, convert, save_single_file
from auralith.config import ModelConfig
from auralith.families.registry import Networks, without_memory
from auralith.models.t5 import T5Config, T5Encoder
from auralith.text.encoder import TextEncoder
from auralith.text.tokenizer import open_tokenizer

PARTS = ("import", "step", "decode", "encode", "clip")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
STEP_FRAMES = (216, 1_024)
DECODE_FRAMES = 128
CLIP_STEPS = 10
# seconds for one comparison; the first round counts where a second one does not fit
BUDGET = 100.0
TARGETS = {"step": 0.95, "decode": 0.8, "clip": 0.25, "clip memory": 0.8, "import": 0.3}
PEER_IMPORT = "from diffusers import StableAudioPipeline"
TOKENIZER = Path(__file__).parents[1] / "tests/golden/sao_tiny/t5"


@dataclass(frozen=True)
class Row:
    """One comparison: medians by candidate in seconds or bytes, and their ratio to the best peer."""

    what: str
    unit: str
    values: dict[str, float]
    dtype: str = ""
    latents: int | None = None
    share_of_ceiling: float | None = None
    difference: float | None = None
    """Largest relative difference of our result from a peer's."""

    @property
    def ratio(self) -> float:
        return self.values["auralith"] / min(v for n, v in self.values.items() if n != "auralith")


@dataclass(frozen=True)
class Bench:
    config: ModelConfig
    checkout: Path | None
    rounds: int
    threads: int

    def candidates(self, dtype: torch.dtype) -> list[peers.Candidate]:
        networks = peers.random_networks(self.config, dtype)
        found = [peers.ours(networks), peers.diffusers(networks, self.config)]
        if self.checkout is not None:
            found.append(peers.stable_audio_tools(networks, self.config, self.checkout))
        return found

    def networks(self, parts: tuple[str, ...], dtype: str) -> Iterator[Row]:
        """Steps, decoding and encoding, in this process."""
        number_format = DTYPES[dtype]
        ceiling = measure.gemm_ceiling(number_format)
        yield Row("GEMM ceiling, FLOP/s", "flop", {"machine": ceiling}, dtype)
        found = self.candidates(number_format)
        if "step" in parts:
            for frames in STEP_FRAMES:
                tasks = {c.name: self._step_of(c, number_format, frames) for c in found}
                yield self._compared(
                    "step", tasks, dtype, frames, self._step_flops(frames), ceiling
                )
        if "decode" in parts:
            latents = self._noise(self.config.audio.latent_channels, DECODE_FRAMES).to(
                number_format
            )
            tasks = {c.name: bound(c.decode, latents) for c in found}
            flops = self._decode_flops(DECODE_FRAMES)
            yield self._compared("decode", tasks, dtype, DECODE_FRAMES, flops, ceiling)
        if "encode" in parts:
            audio = self.config.audio
            sound = self._noise(audio.channels, DECODE_FRAMES * audio.samples_per_frame)
            sound = sound.to(number_format) / 4
            tasks = {c.name: bound(c.encode, sound) for c in found if c.encode is not None}
            flops = self._encode_flops(sound)
            yield self._compared("encode", tasks, dtype, DECODE_FRAMES, flops, ceiling)

    def _compared(
        self,
        what: str,
        tasks: dict[str, Callable[[], Tensor]],
        dtype: str,
        frames: int,
        flops: int,
        ceiling: float,
    ) -> Row:
        with torch.inference_mode():
            times, results = measure.alternate(tasks, self.rounds, BUDGET)
        medians = {name: measure.median(spent) for name, spent in times.items()}
        own = results.pop("auralith")
        difference = max(measure.relative_difference(own, other) for other in results.values())
        share = flops / medians["auralith"] / ceiling
        return Row(what, "s", medians, dtype, frames, share, difference)

    def _step_of(
        self, candidate: peers.Candidate, dtype: torch.dtype, frames: int
    ) -> Callable[[], Tensor]:
        dit = self.config.dit
        context = self._noise(peers.CONTEXT_ROWS, dit.context_dim).to(dtype)
        global_embed = self._noise(1, dit.global_dim)[0].to(dtype)
        x, t = self._noise(dit.latent_channels, frames).to(dtype), torch.tensor([0.5])
        with torch.inference_mode():
            step = candidate.request(context, global_embed, frames)
        return lambda: step(x, t)

    def _noise(self, rows: int, columns: int) -> Tensor:
        return torch.randn(1, rows, columns, generator=torch.Generator().manual_seed(rows))

    def _frozen(self) -> Networks:
        """Without memory. The counter's hooks ask what needs a gradient for its history, which inference has not."""
        return without_memory(Spec.of(self.config)).requires_grad_(False)

    def _step_flops(self, frames: int) -> int:
        dit, networks = self.config.dit, self._frozen()
        with torch.device("meta"), torch.inference_mode():
            context = torch.empty(1, peers.CONTEXT_ROWS, dit.context_dim)
            prepared = networks.dit.prepare(context, torch.empty(2, dit.global_dim), frames)
            latents, t = torch.empty(2, dit.latent_channels, frames), torch.empty(2)
        return flops_of(lambda: networks.dit.step(latents, t, prepared))

    def _decode_flops(self, frames: int) -> int:
        networks = self._frozen()
        latents = torch.empty(1, self.config.audio.latent_channels, frames, device="meta")
        return flops_of(lambda: networks.autoencoder.decode(latents))

    def _encode_flops(self, sound: Tensor) -> int:
        networks = self._frozen()
        shape = torch.empty(sound.shape, device="meta")
        return flops_of(lambda: networks.autoencoder.encode(shape).mean)

    def imports(self) -> Iterator[Row]:
        pairs = {
            "import": ("import auralith", PEER_IMPORT),
            "import of the class": ("from auralith import Auralith", PEER_IMPORT),
        }
        for what, statements in pairs.items():
            tasks = dict(zip(("auralith", "diffusers"), statements, strict=True))
            spent: dict[str, list[float]] = {name: [] for name in tasks}
            for _ in range(self.rounds):
                for name, statement in tasks.items():
                    report = measure.in_fresh_process("import", statement, threads=self.threads)
                    spent[name].append(report["seconds"])
            yield Row(what, "s", {name: measure.median(s) for name, s in spent.items()})

    def clips(self, dtypes: tuple[str, ...]) -> Iterator[Row]:
        """Loading and a whole clip, each candidate once per dtype in a process of its own."""
        with tempfile.TemporaryDirectory() as temporary:
            folders = self._write_checkpoints(Path(temporary))
            for dtype in dtypes:
                reports = {
                    name: measure.in_fresh_process(
                        *(name, str(folder), "--dtype", dtype, "--steps", str(CLIP_STEPS)),
                        threads=self.threads,
                    )
                    for name, folder in folders.items()
                }
                rows = {
                    "load": ("s", "load_seconds"),
                    "load memory": ("byte", "load_peak_bytes"),
                    "clip": ("s", "clip_seconds"),
                    "clip memory": ("byte", "clip_peak_bytes"),
                }
                for what, (unit, key) in rows.items():
                    values = {name: report[key] for name, report in reports.items()}
                    yield Row(what, unit, values, dtype)

    def _write_checkpoints(self, folder: Path) -> dict[str, Path]:
        """The same float32 model in both layouts."""
        folders = {name: folder / name for name in ("auralith", "diffusers")}
        self.write_model(folders["auralith"])
        convert(folders["auralith"], folders["diffusers"], "diffusers")
        return folders

    def write_model(self, folder: Path) -> None:
        """Write the random float32 model in our layout, with a text encoder of T5-base's size."""
        networks = peers.random_networks(self.config, torch.float32)
        sizes = T5Config(d_model=self.config.condition_dim, d_ff=3_072, num_layers=12, num_heads=12)
        text = TextEncoder(T5Encoder(sizes), open_tokenizer(TOKENIZER))
        save_single_file(
            folder,
            self.config,
            dit=networks.dit.state_dict(),
            numbers=networks.numbers.state_dict(),
            autoencoder=networks.autoencoder.state_dict(),
            text=text,
        )


def bound(compute: Callable[[Tensor], Tensor], given: Tensor) -> Callable[[], Tensor]:
    return lambda: compute(given)


def flops_of(task: Callable[[], Tensor]) -> int:
    """Counted on the meta device: nothing is computed."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        task()
    return counter.get_total_flops()


def table_of(rows: list[Row]) -> Table:
    names = list(dict.fromkeys(n for row in rows for n in row.values if n != "machine"))
    headings = ("what", "dtype", "latents", *names, "ratio", "target", "of ceiling", "difference")
    table = Table(*headings)
    for row in rows:
        values = [shown(row.values.get(name), row.unit) for name in names]
        target = TARGETS.get(row.what)
        color = "" if target is None else ("[green]" if row.ratio <= target else "[red]")
        if "machine" in row.values:
            values[0], ratio = f"{row.values['machine'] / 1e9:.0f} G", ""
        else:
            ratio = f"{color}{row.ratio:.3f}"
        table.add_row(
            *(row.what, row.dtype, str(row.latents or "")),
            *values,
            *(ratio, f"≤ {target}" if target else ""),
            f"{row.share_of_ceiling:.0%}" if row.share_of_ceiling else "",
            f"{row.difference:.1e}" if row.difference is not None else "",
        )
    return table


def shown(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return f"{value / 2**30:.2f} GiB" if unit == "byte" else f"{value:.3g} s"


def measured(
    bench: Bench, parts: tuple[str, ...], dtypes: tuple[str, ...], console: Console
) -> Iterator[Row]:
    """Rows as they are measured; the fresh processes first, while this one holds no weights."""
    sources: dict[str, Iterator[Row]] = {}
    if "import" in parts:
        sources["import"] = bench.imports()
    if "clip" in parts:
        sources["clip"] = bench.clips(dtypes)
    if {"step", "decode", "encode"} & set(parts):
        sources |= {f"networks in {dtype}": bench.networks(parts, dtype) for dtype in dtypes}
    for name, source in sources.items():
        start = time.perf_counter()
        yield from source
        console.print(f"{name}: took {time.perf_counter() - start:.0f} s")


def begun(scale: str, rounds: int, threads: int) -> tuple[Console, dict[str, str | int]]:
    """Set the threads, and print and return what a run is made on; 0 threads are what torch chooses."""
    if threads:
        torch.set_num_threads(threads)
    console = Console(width=None if sys.stdout.isatty() else 130)
    about = measure.machine(torch.get_num_threads()) | {"scale": scale, "rounds": rounds}
    console.print(about)
    return console, about


def main(
    only: Annotated[str, typer.Option(help="Parts to run, separated by commas.")] = ",".join(PARTS),
    scale: Annotated[str, typer.Option(help="full (published size) or small.")] = "full",
    dtype: Annotated[str, typer.Option(help="Number formats, separated by commas.")] = ",".join(
        DTYPES
    ),
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the warm-up.")] = 3,
    threads: Annotated[int, typer.Option(help="0: what torch chooses.")] = 0,
    stable_audio_tools: Annotated[
        Path | None, typer.Option(exists=True, help="A checkout; einops must be installed.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the rows as JSON.")] = None,
) -> None:
    """Compare generation with the peers, on this machine, with random weights."""
    parts, dtypes = tuple(only.split(",")), tuple(dtype.split(","))
    unknown = [
        *(set(parts) - set(PARTS)),
        *(set(dtypes) - set(DTYPES)),
        *({scale} - {"full", "small"}),
    ]
    if unknown:
        raise typer.BadParameter(f"unknown: {', '.join(unknown)}")
    console, about = begun(scale, rounds, threads)
    bench = Bench(peers.config_of(scale), stable_audio_tools, rounds, torch.get_num_threads())
    rows: list[Row] = []
    for row in measured(bench, parts, dtypes, console):
        rows.append(row)
        found = [asdict(r) | ({"ratio": r.ratio} if "auralith" in r.values else {}) for r in rows]
        measure.write_json(output, {"machine": about, "rows": found})
    console.print(table_of(rows))


if __name__ == "__main__":
    typer.run(main)
