"""The recipe of the embedded model, stage by stage; each stage resumes and leaves its result in the run's folder.

    text         captions → tokenizer and text encoder (t5/)
    autoencoder  rendered clips → autoencoder.pt
    encode       rendered clips → latents/shard-*.safetensors
    dit          latents and captions → dit.pt
    export       everything → model/, a single-file checkpoint

A recipe is a TOML file that states what differs from the defaults here.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast, T5EncoderModel

from auralith.checkpoints.single_file import save_single_file
from auralith.conditioning import Conditioner
from auralith.config import (
    AudioFormat,
    DiTConfig,
    ModelConfig,
    NumberCondition,
    SamplingDefaults,
    SpectralConfig,
    TextCondition,
)
from auralith.data.latents import LatentItem, load_shards, save_shard
from auralith.data.synth import caption, clip, draw_sound
from auralith.diffusion import OBJECTIVES
from auralith.errors import InvalidRequest
from auralith.models.dit import DiT
from auralith.models.embedders import NumberEmbedder
from auralith.models.spectral import Spectral
from auralith.training.autoencoder import AutoencoderSettings, AutoencoderTask
from auralith.training.dit import DiTNetwork, DiTSettings, DiTTask
from auralith.training.loop import LoopSettings, Progress, Run, train
from auralith.training.state import load_state, save_state
from auralith.training.text import TextNetwork, TextSettings, TextTask, build_tokenizer


@dataclass(frozen=True)
class CorpusSettings:
    clips: int = 40_000
    clips_per_shard: int = 500


@dataclass(frozen=True)
class ModelSettings:
    """Shape of the transformer and how the finished model is sampled."""

    embed_dim: int = 240
    depth: int = 6
    num_heads: int = 4
    window_frames: int = 144
    longest_seconds: float = 8.0
    steps: int = 30
    cfg_scale: float = 4.0
    sampler: str = "dpmpp-2m"
    sigma_min: float = 0.02
    sigma_max: float = 100.0


@dataclass(frozen=True)
class Recipe:
    text: TextSettings = TextSettings()
    text_loop: LoopSettings = LoopSettings(
        steps=1_000, learning_rate=2e-3, warmup_steps=100, ema_decay=0.99, save_every=250
    )
    spectral: SpectralConfig = SpectralConfig()
    autoencoder: AutoencoderSettings = AutoencoderSettings()
    autoencoder_loop: LoopSettings = LoopSettings(
        steps=1_600,
        learning_rate=2e-3,
        muon_learning_rate=3e-3,
        ema_decay=0.995,
        save_every=100,
    )
    corpus: CorpusSettings = CorpusSettings()
    model: ModelSettings = ModelSettings()
    dit: DiTSettings = DiTSettings()
    dit_loop: LoopSettings = field(
        default_factory=lambda: LoopSettings(
            steps=9_000,
            learning_rate=1e-3,
            muon_learning_rate=2e-3,
            warmup_steps=200,
            ema_decay=0.999,
            save_every=250,
        )
    )

    @property
    def config(self) -> ModelConfig:
        """The model that the recipe makes."""
        model, width = self.model, self.text.d_model
        audio = AudioFormat(
            self.spectral.sample_rate,
            self.spectral.channels,
            self.spectral.latent_channels,
            self.spectral.samples_per_frame,
        )
        dit = DiTConfig(
            latent_channels=audio.latent_channels,
            embed_dim=model.embed_dim,
            depth=model.depth,
            num_heads=model.num_heads,
            context_dim=width,
            global_dim=2 * width,
            project_context=True,
            global_conditioning="adaln",
            max_positions=model.window_frames,
        )
        return ModelConfig(
            audio=audio,
            window_samples=model.window_frames * audio.samples_per_frame,
            autoencoder=self.spectral,
            dit=dit,
            conditions=(
                TextCondition(encoder="embedded", max_tokens=self.text.max_tokens),
                NumberCondition("seconds_total", 0.0, model.longest_seconds),
            ),
            condition_dim=width,
            context_ids=("prompt", "seconds_total"),
            global_ids=("prompt", "seconds_total"),
            sampling=SamplingDefaults(
                model.steps,
                model.cfg_scale,
                model.sampler,
                model.sigma_min,
                model.sigma_max,
                window="fit",
            ),
        )


def train_text(recipe: Recipe, folder: Path) -> Iterator[Progress]:
    """Tokenizer and text encoder, from captions alone."""
    rng = np.random.default_rng(recipe.text_loop.seed)
    captions = (caption(draw_sound(rng), rng) for _ in range(recipe.text.vocabulary_captions))
    tokenizer = build_tokenizer(captions, recipe.text.max_tokens)
    with seeded(recipe.text_loop.seed):
        network = TextNetwork(recipe.text, tokenizer)
    run = Run(TextTask(network, tokenizer, recipe.text), recipe.text_loop)
    yield from train(run, folder / "text.pt")
    trained = run.average.module
    assert isinstance(trained, TextNetwork)
    trained.encoder.save_pretrained(folder / "t5")
    tokenizer.save_pretrained(folder / "t5")


def train_autoencoder(recipe: Recipe, folder: Path) -> Iterator[Progress]:
    with seeded(recipe.autoencoder_loop.seed):
        network = Spectral(recipe.spectral)
    run = Run(AutoencoderTask(network, recipe.autoencoder), recipe.autoencoder_loop)
    yield from train(run, folder / "autoencoder.pt")
    network.load_state_dict(averaged_state(folder / "autoencoder.pt"))
    clips = (_encode_clip(network, seed) for seed in range(recipe.autoencoder.calibration_clips))
    latents = torch.cat([item.latents for item in clips], dim=-1)
    network.latent_mean.copy_(latents.mean(1, keepdim=True))
    network.latent_std.copy_(latents.std(1, keepdim=True))
    save_state(folder / "autoencoder_final.pt", network.state_dict())


def encode_corpus(recipe: Recipe, folder: Path, part: int = 0, parts: int = 1) -> Iterator[int]:
    """Latents of every clip, a shard at a time; yields the clips done. Processes may share the work as parts."""
    autoencoder = trained_autoencoder(recipe, folder)
    key = state_hash(autoencoder.state_dict())
    (folder / "latents").mkdir(exist_ok=True)
    size = recipe.corpus.clips_per_shard
    for index in range(part, -(-recipe.corpus.clips // size), parts):
        path = folder / "latents" / f"shard-{index:04d}.safetensors"
        seeds = range(index * size, min((index + 1) * size, recipe.corpus.clips))
        if not path.exists():
            save_shard(path, [_encode_clip(autoencoder, seed) for seed in seeds], key)
        yield seeds.stop


def train_dit(recipe: Recipe, folder: Path) -> Iterator[Progress]:
    autoencoder = trained_autoencoder(recipe, folder)
    paths = sorted((folder / "latents").glob("shard-*.safetensors"))
    items = load_shards(paths, state_hash(autoencoder.state_dict()))
    network, conditioner = build_dit(recipe, folder)
    task = DiTTask(
        network,
        conditioner,
        OBJECTIVES[recipe.config.objective],
        items,
        silence_latent(autoencoder),
        recipe.dit,
    )
    yield from train(Run(task, recipe.dit_loop), folder / "dit.pt")


def export(recipe: Recipe, folder: Path) -> Path:
    """Write the averaged weights as a single-file checkpoint in float16."""
    network, conditioner = build_dit(recipe, folder)
    network.load_state_dict(averaged_state(_finished(folder, "dit.pt", "dit")))
    target = folder / "model"
    save_single_file(
        target,
        recipe.config,
        dit=network.dit.state_dict(),
        numbers=network.numbers.state_dict(),
        autoencoder=trained_autoencoder(recipe, folder).state_dict(),
        text_encoder=conditioner.text_encoder,
        tokenizer=conditioner.tokenizer,
        dtype=torch.float16,
    )
    return target


def trained_autoencoder(recipe: Recipe, folder: Path) -> Spectral:
    """The averaged autoencoder, whose latents have unit variance over the corpus."""
    network = Spectral(recipe.spectral).eval()
    network.load_state_dict(load_state(_finished(folder, "autoencoder_final.pt", "autoencoder")))
    return network


def build_dit(recipe: Recipe, folder: Path) -> tuple[DiTNetwork, Conditioner]:
    """A fresh transformer and its embedders, and the conditioner with the trained text encoder."""
    config = recipe.config
    text = _finished(folder, "t5", "text")
    encoder = T5EncoderModel.from_pretrained(text).eval().requires_grad_(False)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(text)
    with seeded(recipe.dit_loop.seed):
        dit = DiT(config.dit)
        dit.reset_parameters()
        numbers = nn.ModuleDict(
            {
                condition.id: NumberEmbedder(condition, config.condition_dim)
                for condition in config.conditions
                if isinstance(condition, NumberCondition)
            }
        )
    return DiTNetwork(dit, numbers), Conditioner(config, numbers, encoder, tokenizer)


@torch.inference_mode()
def silence_latent(autoencoder: Spectral) -> Tensor:
    frames = 32
    silence = torch.zeros(1, 2, frames * autoencoder.samples_per_frame)
    return autoencoder.encode(silence).mean[0, :, frames // 2].clone()


@torch.inference_mode()
def _encode_clip(autoencoder: Spectral, seed: int) -> LatentItem:
    made = clip(seed)
    waveform = torch.from_numpy(made.waveform)[None]
    missing = -waveform.shape[-1] % autoencoder.samples_per_frame
    padded = nn.functional.pad(waveform, (0, missing))
    with torch.autocast("cpu", torch.bfloat16):
        mean = autoencoder.encode(padded).mean[0]
    return LatentItem(mean.float().clone(), made.sound)


def averaged_state(path: Path) -> dict[str, Tensor]:
    """Weights of the average in a state file of `train`."""
    state = load_state(path)["average"]
    return {
        name.removeprefix("module."): value for name, value in state.items() if name != "n_averaged"
    }


def _finished(folder: Path, name: str, stage: str) -> Path:
    """The result of an earlier stage."""
    if not (folder / name).exists():
        raise InvalidRequest(f"{folder / name} is missing; run the stage '{stage}' first")
    return folder / name


def state_hash(state: dict[str, Tensor]) -> str:
    """SHA-256 over names and values of a state dict."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].contiguous().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from a seed; the global generator is put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
