"""One training step of the diffusion transformer beside the peers: forward, backward, AdamW.

Ours, diffusers' `StableAudioDiTModel` and, if its checkout is given, stable-audio-tools' `DiffusionTransformer` start
from the same random weights of the published width and train on the same batch with the same fused AdamW. They take
turns in one process; the first round warms up and is dropped. Peak memory is each candidate's own, from a fresh process:
what two steps take beyond the imports. On one CPU
thread seconds are the process's own, so that other work of the machine does not count. `--depth` is what time and
memory allow (the published depth is 24).

    float32    everything in float32
    autocast   weights and optimizer in float32, products in bfloat16
    bfloat16   everything in bfloat16
"""

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import candidates as peers
import measure
import numpy as np
import torch
import typer
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from diffusers.models.transformers.stable_audio_transformer import StableAudioDiTModel
from fresh_process import peak_bytes
from peer_checkout import build_from_checkout
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from auralith.checkpoints import AdapterConfig, Spec, add_adapter
from auralith.checkpoints.transform import to_diffusers, to_single_file
from auralith.config import DiTConfig, ModelConfig, OobleckConfig
from auralith.families.registry import Networks
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.lazy_tensor import weights_of

NAMES = ("auralith", "diffusers", "stable-audio-tools")
PRECISIONS = ("float32", "autocast", "bfloat16")
TARGETS = {"step": 1.2, "memory": 0.8}
BUDGET = 1_500.0  # seconds for the rounds of one precision
Forward = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Setting:
    """What all candidates have in common."""

    depth: int
    frames: int
    batch: int
    precision: str
    checkpointing: bool
    threads: int
    lora: int = 0
    """Rank of an adapter that is trained in place of all weights; 0: all weights."""

    @property
    def config(self) -> ModelConfig:
        # the autoencoder is not used: as small as the layouts allow
        return replace(
            ModelConfig(),
            dit=DiTConfig(depth=self.depth),
            autoencoder=OobleckConfig(decoder_width=16),
        )

    @property
    def dtype(self) -> torch.dtype:
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32


@dataclass
class Step:
    """A network, its optimizer and its batch. Called, it makes one step and returns the loss."""

    network: nn.Module
    forward: Forward
    setting: Setting
    device: torch.device

    def __post_init__(self) -> None:
        self.network.to(self.device).train().requires_grad_(not self.setting.lora)
        for parameter in self.network.parameters():
            parameter.data = parameter.data.clone()  # candidates are given the same tensors
        trained = list(self.network.parameters())
        if self.setting.lora:
            assert isinstance(self.network, DiffusionTransformer)
            adapter = AdapterConfig(rank=self.setting.lora)
            trained = add_adapter(self.network, adapter, np.random.default_rng(0))
        self.optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
        generator = torch.Generator().manual_seed(1)
        dit, rows = self.setting.config.dit, self.setting.batch
        shapes = (
            (rows, dit.latent_channels, self.setting.frames),
            (rows, peers.CONTEXT_ROWS, dit.context_dim),
            (rows, dit.global_dim),
            (rows, dit.latent_channels, self.setting.frames),
        )
        noise = [torch.randn(shape, generator=generator) for shape in shapes]
        inputs = [n.to(self.device, self.setting.dtype) for n in noise[:3]]
        self.inputs, self.target = inputs, noise[3].to(self.device)
        self.t = torch.linspace(0.1, 0.9, rows, device=self.device)

    def __call__(self) -> Tensor:
        latents, context, global_embed = self.inputs
        autocast = self.setting.precision == "autocast"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=autocast):
            out = self.forward(latents, self.t, context, global_embed)
        loss = (out.float() - self.target).square().mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return loss.detach()


def build(
    name: str, networks: Networks, setting: Setting, checkout: Path | None, device: torch.device
) -> Step:
    """A candidate with weights of its own, equal to those of `networks`."""
    builders = {
        "auralith": lambda: auralith(networks, setting),
        "diffusers": lambda: diffusers(networks, setting),
        "stable-audio-tools": lambda: stable_audio_tools(networks, setting, checkout or Path()),
    }
    network, forward = builders[name]()
    return Step(network, forward, setting, device)


def auralith(networks: Networks, setting: Setting) -> tuple[nn.Module, Forward]:
    dit = copy.deepcopy(networks.dit)
    dit.checkpoint_activations = setting.checkpointing
    return dit, dit


def diffusers(networks: Networks, setting: Setting) -> tuple[nn.Module, Forward]:
    config = setting.config.dit
    assert isinstance(config, DiTConfig)
    with torch.device("meta"):
        transformer = StableAudioDiTModel(
            num_layers=config.depth,
            num_attention_heads=config.num_heads,
            attention_head_dim=config.head_dim,
            cross_attention_dim=config.context_width,
        )
    spec = Spec.of(setting.config)
    weights = to_diffusers(to_single_file(weights_of(networks.state_dict()), spec), spec)
    peers.assign(transformer, weights, "transformer.", setting.dtype)
    if setting.checkpointing:
        transformer.enable_gradient_checkpointing()

    def forward(latents: Tensor, t: Tensor, context: Tensor, global_embed: Tensor) -> Tensor:
        rotary = get_1d_rotary_pos_embed(
            config.rotary_dim,
            latents.shape[-1] + 1,
            use_real=True,
            repeat_interleave_real=False,
        )
        rotary = tuple(table.to(latents.device) for table in rotary)
        states = global_embed[:, None]
        return transformer(latents, t, context, states, rotary, return_dict=False)[0]

    return transformer, forward


def stable_audio_tools(
    networks: Networks, setting: Setting, checkout: Path
) -> tuple[nn.Module, Forward]:
    with torch.device("meta"):
        dit = build_from_checkout(checkout, setting.config)[0]
    weights = to_single_file(weights_of(networks.state_dict()), Spec.of(setting.config))
    peers.assign(dit, weights, "model.model.", setting.dtype)

    def forward(latents: Tensor, t: Tensor, context: Tensor, global_embed: Tensor) -> Tensor:
        return dit(
            latents,
            t,
            cross_attn_cond=context,
            global_embed=global_embed,
            use_checkpointing=setting.checkpointing,
        )

    return dit, forward


def speed(
    setting: Setting, checkout: Path | None, device: torch.device, rounds: int
) -> tuple[dict[str, float], float]:
    """Seconds per step by candidate, and the largest relative difference of a peer's last loss from ours."""
    networks = peers.random_networks(setting.config, setting.dtype)
    steps: dict[str, Callable[[], Tensor]] = {
        name: build(name, networks, setting, checkout, device) for name in names(checkout, setting)
    }
    del networks
    single = device.type == "cpu" and setting.threads == 1
    clock = time.process_time if single else time.perf_counter
    times, losses = measure.alternate(steps, rounds, BUDGET, clock)
    own = losses.pop("auralith")
    difference = max((abs(float(loss / own) - 1) for loss in losses.values()), default=0.0)
    return {name: measure.median(spent) for name, spent in times.items()}, difference


def peak(setting: Setting, name: str, checkout: Path | None, device: torch.device) -> int:
    """Bytes that two steps take; in the second the optimizer's state lies beside the activations."""
    before = peak_bytes()
    networks = peers.random_networks(setting.config, setting.dtype)
    step = build(name, networks, setting, checkout, device)
    del networks
    step()
    step()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return peak_bytes() - before


def peak_in_fresh_process(setting: Setting, name: str, checkout: Path | None) -> int:
    arguments = {"setting": asdict(setting), "name": name, "checkout": checkout and str(checkout)}
    command = [sys.executable, __file__, "--peak-of", json.dumps(arguments)]
    # glibc would keep freed tensors below 32 MiB; like this what is counted is what is in use
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return int(done.stdout.splitlines()[-1])


def names(checkout: Path | None, setting: Setting) -> tuple[str, ...]:
    """Return the candidates; adapters of others are other programs' and not compared."""
    if setting.lora:
        return NAMES[:1]
    return NAMES if checkout else NAMES[:2]


def ratios(row: dict[str, Any]) -> dict[str, float]:
    """How many times faster than the faster peer, and the share of the leaner peer's memory."""
    own, others = (
        row["seconds"]["auralith"],
        [v for n, v in row["seconds"].items() if n != "auralith"],
    )
    if not others:
        return {}
    found = {"step": min(others) / own}
    if row["bytes"]:
        others = [v for n, v in row["bytes"].items() if n != "auralith"]
        found["memory"] = row["bytes"]["auralith"] / min(others)
    return found


def table_of(rows: list[dict[str, Any]]) -> Table:
    candidates = list(rows[0]["seconds"])
    table = Table(
        "precision", "checkpointing", *candidates, "faster", *candidates, "memory", "loss"
    )
    for row in rows:
        found = ratios(row)
        memory = [f"{row['bytes'][n] / 2**30:.2f} GiB" if row["bytes"] else "" for n in candidates]
        table.add_row(
            row["precision"],
            "on" if row["checkpointing"] else "off",
            *(f"{row['seconds'][name]:.3g} s" for name in candidates),
            f"{found['step']:.2f} ×" if "step" in found else "",
            *memory,
            f"{found['memory']:.2f}" if "memory" in found else "",
            f"{row['difference']:.0e}",
        )
    return table


def main(
    depth: Annotated[int, typer.Option(help="Blocks; the published depth is 24.")] = 4,
    frames: Annotated[int, typer.Option(help="Latents per item.")] = 1_024,
    batch: Annotated[int, typer.Option(help="Items; the paper trains with 4 on a GPU.")] = 4,
    precision: Annotated[str, typer.Option(help="Separated by commas.")] = ",".join(PRECISIONS),
    checkpointing: Annotated[str, typer.Option(help="off, on, or both: off,on.")] = "off",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds after the warm-up.")] = 2,
    threads: Annotated[int, typer.Option(help="0: what torch chooses.")] = 0,
    memory: Annotated[bool, typer.Option(help="Measure peak memory too.")] = True,
    lora: Annotated[
        int, typer.Option(min=0, help="Rank of an adapter to train, ours alone; 0: all weights.")
    ] = 0,
    stable_audio_tools: Annotated[
        Path | None, typer.Option(exists=True, help="A checkout; einops must be installed.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the rows as JSON.")] = None,
    peak_of: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Compare a training step with the peers', on CUDA where it is there, else on the CPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if peak_of:
        asked = json.loads(peak_of)
        setting = Setting(**asked["setting"])
        torch.set_num_threads(setting.threads)
        checkout = Path(asked["checkout"]) if asked["checkout"] else None
        print(peak(setting, asked["name"], checkout, device))
        return
    if threads:
        torch.set_num_threads(threads)
    console = Console(width=None if sys.stdout.isatty() else 150)
    rows = []
    for kind in precision.split(","):
        for switch in checkpointing.split(","):
            used = torch.get_num_threads()
            setting = Setting(depth, frames, batch, kind, switch == "on", used, lora)
            found: dict[str, int] = {}
            if memory:
                found = {
                    name: peak_in_fresh_process(setting, name, stable_audio_tools)
                    for name in names(stable_audio_tools, setting)
                }
            seconds, difference = speed(setting, stable_audio_tools, device, rounds)
            row = asdict(setting) | {"device": str(device), "torch": torch.__version__}
            rows.append(row | {"seconds": seconds, "bytes": found, "difference": difference})
            console.print(rows[-1])
            measure.write_json(output, rows)
    console.print(table_of(rows))


if __name__ == "__main__":
    typer.run(main)
