"""Stable Audio 3 at its real sizes beside the peers: its own repository, if a checkout is given, and diffusers.

    python benchmarks/stable_audio_3.py --size small --checkout ../stable-audio-3

All candidates run in one process with the same random weights and take turns. Parts:

    step    one step without guidance, the published default, at 65, 388 and 1,292 latents (6, 36 and 120 s)
    decode  30 s of sound
    clip    loading, then 30 s of sound in 8 steps, each candidate in a fresh process

Text is left out everywhere: all use the same T5Gemma. diffusers holds medium alone.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import measure
import sa3_peers
import torch
import typer
from candidates import random_networks
from fresh_process import peak_bytes
from rich.console import Console
from rich.table import Table
from torch import Tensor

from auralith.checkpoints.opening import open_networks
from auralith.checkpoints.single_file import read_single_file, save_single_file
from auralith.config import ModelConfig
from auralith.families.model_config import config_from_json

CONFIGS = Path(__file__).parents[1] / "tests/golden/sa3"
SIZES = {"small": "small-music", "medium": "medium"}
LATENTS = (65, 388, 1_292)
CLIP_LATENTS = 388
"""30 s and the 6 s of headroom that a sound of this length is made with."""
SECONDS = 30.0
STEPS = 8
TARGETS = {"step": 0.9, "decode": 0.7, "clip": 0.7, "clip memory": 0.8}


@dataclass(frozen=True)
class Row:
    """One comparison: medians by candidate in seconds or bytes."""

    what: str
    values: dict[str, float]
    difference: dict[str, float]
    """Relative difference of our result from each peer's."""

    @property
    def ratio(self) -> float | None:
        """Ours over the best peer's."""
        peers = [value for name, value in self.values.items() if name != "auralith"]
        return self.values["auralith"] / min(peers) if peers else None


@dataclass(frozen=True)
class Bench:
    size: str
    config: ModelConfig
    checkout: Path | None
    rounds: int
    budget: float

    def candidates(self) -> list[sa3_peers.Peer]:
        networks = random_networks(self.config, torch.float32)
        weights = sa3_peers.single_file_weights(networks, self.config)
        found = [sa3_peers.ours(networks), sa3_peers.diffusers(self.config, weights)]
        if self.checkout:
            found.append(sa3_peers.stable_audio_3(self.config, weights, self.checkout))
        return [one for one in found if one is not None]

    def steps(self, peers: list[sa3_peers.Peer]) -> Iterator[Row]:
        for frames in LATENTS:
            x, t, *given = inputs(self.config, frames)
            tasks = {one.name: bound(one.step(*given), x, t) for one in peers}
            yield self._row(f"step, {frames} latents", tasks)

    def decode(self, peers: list[sa3_peers.Peer]) -> Row:
        audio = self.config.audio
        latents = inputs(self.config, audio.num_frames(audio.num_samples(SECONDS)))[0]
        return self._row("decode", {one.name: bound(one.decode, latents) for one in peers})

    def clips(self, names: list[str]) -> Iterator[Row]:
        """Load, make and decode in fresh processes, from one file of weights."""
        with tempfile.TemporaryDirectory() as folder:
            networks = random_networks(self.config, torch.float32)
            state = {
                n: getattr(networks, n).state_dict() for n in ("dit", "numbers", "autoencoder")
            }
            save_single_file(Path(folder), self.config, **state)
            del networks, state
            found = {name: self._clip(folder, name) for name in names}
        for what, key in (("load", "load"), ("clip", "clip"), ("clip memory", "peak")):
            yield Row(what, {name: one[key] for name, one in found.items()}, {})

    def _clip(self, folder: str, name: str) -> dict[str, float]:
        options = ["--size", self.size, "--clip-of", name, "--folder", folder]
        options += ["--checkout", str(self.checkout)] if self.checkout else []
        command = [sys.executable, __file__, *options, "--threads", str(torch.get_num_threads())]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    def _row(self, what: str, tasks: dict[str, Callable[[], Tensor]]) -> Row:
        times, results = measure.alternate(tasks, self.rounds, self.budget)
        mine = results.pop("auralith")
        difference = {n: measure.relative_difference(mine, r) for n, r in results.items()}
        return Row(what, {n: measure.median(spent) for n, spent in times.items()}, difference)


def bound(compute: Callable[..., Tensor], *given: Tensor) -> Callable[[], Tensor]:
    return lambda: compute(*given)


def inputs(config: ModelConfig, frames: int) -> tuple[Tensor, ...]:
    """Return latents, noise level, context, global vector and local condition of one request."""
    generator = torch.Generator().manual_seed(1)
    channels, width = config.audio.latent_channels, config.condition_dim
    shapes = ((channels, frames), (sa3_peers.CONTEXT_ROWS, width), (width,))
    x, context, vector = (torch.randn(1, *shape, generator=generator) for shape in shapes)
    return x, torch.tensor([0.6]), context, vector, torch.zeros(1, channels + 1, frames)


def clip(folder: Path, name: str, checkout: Path | None) -> dict[str, float]:
    """Load one candidate and make a sound with it; seconds and peak bytes of this process."""
    start = time.perf_counter()
    raw = read_single_file(folder / "model.safetensors", str(folder))
    if name == "diffusers":
        peer = sa3_peers.diffusers(raw.model, raw.weights)
    elif name == "stable-audio-3":
        assert checkout is not None
        peer = sa3_peers.stable_audio_3(raw.model, raw.weights, checkout)
    else:
        peer = sa3_peers.ours(open_networks(raw, torch.device("cpu"), torch.float32))
    assert peer is not None
    loaded = time.perf_counter()
    x, _, *given = inputs(raw.model, CLIP_LATENTS)
    step = peer.step(*given)
    times = torch.linspace(1, 0, STEPS + 1)
    for t, after in pairwise(times):
        x = x + (after - t) * step(x, t[None])
    audio = raw.model.audio
    peer.decode(x[..., : audio.num_frames(audio.num_samples(SECONDS))])
    made = time.perf_counter()
    return {"load": loaded - start, "clip": made - loaded, "peak": peak_bytes()}


def shown(rows: list[Row]) -> Table:
    table = Table("", *rows[0].values, "ratio", "wanted", "difference")
    for row in rows:
        is_memory = row.what.endswith("memory")
        cells = [f"{v / 1e9:.2f} GB" if is_memory else f"{v:.2f} s" for v in row.values.values()]
        wanted = TARGETS.get(row.what.split(",")[0])
        table.add_row(
            row.what,
            *cells,
            "" if row.ratio is None else f"{row.ratio:.2f}",
            "" if wanted is None else f"{wanted:g}",
            " ".join(f"{value:.1e}" for value in row.difference.values()),
        )
    return table


@torch.inference_mode()
def main(
    size: Annotated[str, typer.Option(help="small or medium")] = "small",
    checkout: Annotated[
        Path | None, typer.Option(exists=True, help="of Stability-AI/stable-audio-3")
    ] = None,
    only: Annotated[str, typer.Option(help="Parts, separated by commas.")] = "step,decode,clip",
    rounds: Annotated[int, typer.Option(min=1)] = 5,
    budget: Annotated[float, typer.Option(help="Seconds for one comparison.")] = 120.0,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    output: Annotated[Path | None, typer.Option(help="Rows as JSON.")] = None,
    clip_of: Annotated[str, typer.Option(hidden=True)] = "",
    folder: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Compare steps, decoding and whole sounds."""
    torch.set_num_threads(threads)
    if clip_of and folder:
        print(json.dumps(clip(folder, clip_of, checkout)))
        return
    data = json.loads((CONFIGS / f"{SIZES[size]}.model_config.json").read_bytes())
    bench = Bench(size, config_from_json(data), checkout, rounds, budget)
    peers, parts = bench.candidates(), only.split(",")
    rows = list(bench.steps(peers)) if "step" in parts else []
    rows += [bench.decode(peers)] if "decode" in parts else []
    names = [one.name for one in peers]
    del peers
    rows += list(bench.clips(names)) if "clip" in parts else []
    Console().print(shown(rows))
    if output:
        output.write_text(json.dumps([asdict(row) for row in rows], indent=1))


if __name__ == "__main__":
    typer.run(main)
