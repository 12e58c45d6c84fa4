"""The recipe of the embedded model, stage by stage; each stage resumes and leaves its result in the run's folder.

    text         captions → text/, tokenizer and text encoder (t5/)
    autoencoder  rendered clips → autoencoder/, autoencoder.safetensors
    encode       rendered clips → latents/
    dit          latents and captions → dit/
    export       everything → model/, a single-file checkpoint

A recipe is a TOML file that states what differs from the defaults here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

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
from auralith.data.latents import LatentCache
from auralith.errors import InvalidRequest
from auralith.models.lazy_tensor import weights_of
from auralith.models.spectral import Spectral
from auralith.resources import choose_dtype
from auralith.tensor_files import read_tensor_file, write_safetensors
from auralith.text.encoder import TextEncoderFolders, TextStates
from auralith.text.t5 import SUBFOLDER, open_text_encoder
from auralith.training.dit import DiTNetwork, DiTSettings, DiTTask, TextSource
from auralith.training.encode import EncodeOptions, EncodeProgress, encode_dataset
from auralith.training.encoder import LatentEncoder, weights_hash
from auralith.training.loop import Run, train
from auralith.training.noising import TimestepSettings
from auralith.training.optimizers import OptimizerSettings
from auralith.training.scratch import new_transformer, seeded
from auralith.training.state import States
from auralith.training.task import LoopSettings, Progress
from recipes.tiny.corpus import Corpus
from recipes.tiny.recordings import CorpusRecordings, described, rendered
from recipes.tiny.spectral import SpectralSettings, SpectralTask
from recipes.tiny.text import TextNetwork, TextSettings, TextTask, build_tokenizer

AUTOENCODER_NAME = "autoencoder.safetensors"
LEAST_SPREAD = 1e-2
"""Stands for the spread of a latent that is the same in all clips, as those of the side are where every clip is mono."""


@dataclass(frozen=True)
class CorpusSettings:
    clips: int = 40_000


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
    room_frames: int = 16


def _optimizer(learning_rate: float, muon: float, warmup_steps: int) -> OptimizerSettings:
    return OptimizerSettings(
        learning_rate=learning_rate,
        muon_learning_rate=muon,
        betas=(0.9, 0.98),
        weight_decay=0.01,
        decay_vectors=False,
        clip_norm=1.0,
        schedule="cosine",
        warmup_steps=warmup_steps,
    )


@dataclass(frozen=True)
class Recipe:
    kind: Literal["embedded"] = "embedded"
    text: TextSettings = TextSettings()
    text_optimizer: OptimizerSettings = field(default_factory=lambda: _optimizer(2e-3, 0.0, 100))
    text_loop: LoopSettings = LoopSettings(steps=1_000, ema_decay=0.99, save_every=250)
    spectral: SpectralConfig = SpectralConfig()
    autoencoder: SpectralSettings = SpectralSettings()
    autoencoder_optimizer: OptimizerSettings = field(
        default_factory=lambda: _optimizer(2e-3, 3e-3, 50)
    )
    autoencoder_loop: LoopSettings = LoopSettings(steps=1_600, ema_decay=0.995, save_every=100)
    corpus: CorpusSettings = CorpusSettings()
    model: ModelSettings = ModelSettings()
    dit: DiTSettings = field(
        default_factory=lambda: DiTSettings(
            batch_frames=2_048,
            sample_latents=False,
            whole_seconds=False,
            timesteps=TimestepSettings("logit_normal"),
        )
    )
    dit_optimizer: OptimizerSettings = field(default_factory=lambda: _optimizer(1e-3, 2e-3, 200))
    dit_loop: LoopSettings = LoopSettings(
        steps=9_000, ema_decay=0.999, save_every=250, validate_every=500
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
                room_frames=model.room_frames,
            ),
        )


def train_text(recipe: Recipe, corpus: Corpus[Any], folder: Path) -> Iterator[Progress]:
    """Tokenizer and text encoder, from captions alone."""
    seed = recipe.text_loop.seed
    rng = np.random.default_rng(seed)
    count = recipe.text.vocabulary_captions
    captions = (corpus.caption(corpus.draw(rng), rng) for _ in range(count))
    tokenizer = build_tokenizer(captions, recipe.text.max_tokens)
    with seeded(seed):
        network = TextNetwork(recipe.text, tokenizer, corpus)
    task = TextTask(network, tokenizer, corpus, recipe.text, recipe.text_optimizer, seed)
    run = Run(task, recipe.text_loop, folder / "text", {"text": asdict(recipe.text)})
    yield from train(run)
    network.load_state_dict(run.averaged_state(), strict=True)
    network.encoder.save_pretrained(folder / SUBFOLDER)
    tokenizer.save_pretrained(folder / SUBFOLDER)


def train_autoencoder(recipe: Recipe, corpus: Corpus[Any], folder: Path) -> Iterator[Progress]:
    """Autoencoder, from crops of clips; then mean and spread of its latents."""
    seed = recipe.autoencoder_loop.seed
    with seeded(seed):
        network = Spectral(recipe.spectral)
    task = SpectralTask(network, corpus, recipe.autoencoder, recipe.autoencoder_optimizer, seed)
    identity = {"spectral": asdict(recipe.spectral), "autoencoder": asdict(recipe.autoencoder)}
    run = Run(task, recipe.autoencoder_loop, folder / "autoencoder", identity)
    yield from train(run)
    task.networks["autoencoder"].load_state_dict(run.averaged_state(), strict=True)
    network.eval()
    encoder = _encoder(network, recipe)
    clips = [rendered(corpus, i) for i in range(recipe.autoencoder.calibration_clips)]
    latents = torch.cat([encoder.encode(torch.from_numpy(c).float())[0] for c in clips], dim=-1)
    network.latent_mean.copy_(latents.mean(1, keepdim=True))
    network.latent_std.copy_(latents.std(1, keepdim=True).clamp(min=LEAST_SPREAD))
    write_safetensors(folder / AUTOENCODER_NAME, weights_of(network.state_dict()))


def _encoder(network: Spectral, recipe: Recipe) -> LatentEncoder:
    compute = choose_dtype("auto", torch.device("cpu"))
    return LatentEncoder(network, recipe.config.audio, compute=compute)


def encode_corpus(
    recipe: Recipe, corpus: Corpus[Any], folder: Path, part: int = 0, parts: int = 1
) -> Iterator[EncodeProgress]:
    """Latents of every clip. Processes may share the work as parts."""
    encoder = _encoder(trained_autoencoder(recipe, folder), recipe)
    clips = CorpusRecordings(corpus, recipe.corpus.clips)
    options = EncodeOptions(variants=0, shard_mb=16)
    yield from encode_dataset(encoder, clips, folder / "latents", options, part=part, parts=parts)


def train_dit(recipe: Recipe, corpus: Corpus[Any], folder: Path) -> Iterator[Progress]:
    """Transformer, from latents and captions that are drawn each time a clip is seen."""
    autoencoder = trained_autoencoder(recipe, folder)
    cache = LatentCache.open(folder / "latents", weights_hash(autoencoder))
    network, conditioner = build_dit(recipe, folder)
    task = DiTTask(
        recipe.config,
        network,
        cache,
        drawn_captions(corpus, cache, conditioner),
        recipe.dit,
        recipe.dit_optimizer,
        recipe.dit_loop.seed,
    )
    identity = {
        "dit": asdict(recipe.dit),
        "model": asdict(recipe.model),
        "data": cache.key,
    }
    yield from train(Run(task, recipe.dit_loop, folder / "dit", identity))


def drawn_captions(corpus: Corpus[Any], cache: LatentCache, conditioner: Conditioner) -> TextSource:
    """Return what draws a caption anew each time a clip is seen."""

    def texts(indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> TextStates:
        sounds = [described(corpus, cache.record(index).metadata) for index in indices]
        drawn = [corpus.caption(sound, rng) for sound, rng in zip(sounds, rngs, strict=True)]
        with torch.no_grad():
            return conditioner.encode_text(drawn)

    return texts


def export(recipe: Recipe, folder: Path) -> Path:
    """Write the averaged weights as a single-file checkpoint in float16."""
    network, conditioner = build_dit(recipe, folder)
    state = States(folder / "dit", recipe.dit_loop.keep_last).read_latest()
    if state is None:
        raise InvalidRequest(f"{folder / 'dit'} holds no state; run the stage 'dit' first")
    network.load_state_dict(state["average"], strict=True)
    target = folder / "model"
    save_single_file(
        target,
        recipe.config,
        dit=network.dit.state_dict(),
        numbers=network.numbers.state_dict(),
        autoencoder=trained_autoencoder(recipe, folder).state_dict(),
        text=conditioner.text,
        dtype=torch.float16,
    )
    return target


def trained_autoencoder(recipe: Recipe, folder: Path) -> Spectral:
    """The averaged autoencoder, whose latents have unit variance over the corpus."""
    network = Spectral(recipe.spectral).eval()
    weights = read_tensor_file(_finished(folder, AUTOENCODER_NAME, "autoencoder")).weights
    network.load_state_dict({name: tensor.read() for name, tensor in weights.items()}, strict=True)
    return network


def build_dit(recipe: Recipe, folder: Path) -> tuple[DiTNetwork, Conditioner]:
    """A fresh transformer and its embedders, and the conditioner with the trained text encoder."""
    config = recipe.config
    text = _finished(folder, SUBFOLDER, "text")
    encoder = open_text_encoder(
        TextEncoderFolders(text, text), config.condition_dim, torch.device("cpu"), torch.float32
    )
    encoder.model.requires_grad_(False)
    dit, numbers = new_transformer(config, recipe.dit_loop.seed)
    return DiTNetwork(config, dit, numbers), Conditioner(config, numbers, encoder)


def _finished(folder: Path, name: str, stage: str) -> Path:
    """The result of an earlier stage."""
    if not (folder / name).exists():
        raise InvalidRequest(f"{folder / name} is missing; run the stage '{stage}' first")
    return folder / name
