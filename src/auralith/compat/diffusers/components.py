"""The pipeline's networks under diffusers' class names, constructor arguments and calls.

Each holds one of our networks as `network` and describes it in `config`. They can hold more than diffusers' classes:
any autoencoder of ours, any routing of conditions. `from_pretrained` of the pipeline fills them; their constructors give
random weights. A cast leaves Fourier frequencies in float32, because rounding them merges neighboring timesteps.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auralith.checkpoints import open_autoencoder
from auralith.checkpoints.diffusers_config import (
    read_projection,
    read_transformer,
    transformer_json,
)
from auralith.checkpoints.sections import Section
from auralith.compat.diffusers.outputs import Config, Output
from auralith.compat.diffusers.randomness import Generators, normal
from auralith.config import (
    AudioFormat,
    ModelConfig,
    NumberCondition,
    OobleckConfig,
    TextCondition,
)
from auralith.diffusion import Latents
from auralith.errors import InvalidRequest
from auralith.models import tiling
from auralith.models.autoencoder import Autoencoder, Oobleck, Posterior
from auralith.models.dit import DiT
from auralith.models.embedders import condition_networks
from auralith.pipeline import TILE_FRAMES

Waveform = Float[Tensor, "batch audio_channel sample"]
States = Float[Tensor, "batch token dim"]


class Component(nn.Module):
    """A network with its `config`."""

    config: Config

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the network computes in."""
        return next(p.dtype for name, p in self.named_parameters() if not _is_exact(name))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Component":
        exact = [(p, p.data) for name, p in self.named_parameters() if _is_exact(name)]
        super()._apply(fn, recurse)
        for parameter, values in exact:
            parameter.data = values.to(parameter.device)
        return self


def _is_exact(name: str) -> bool:
    return name.endswith(".frequencies")


# --- the autoencoder ---


@dataclass
class LatentDistribution(Output):
    """What the encoder knows about the latents of a waveform: independent normals."""

    mean: Latents
    std: Latents

    def sample(self, generator: Generators = None) -> Latents:
        noise = normal(generator, self.mean.shape, self.mean.device)
        return Posterior(self.mean, self.std).sample(noise.to(self.mean))

    def mode(self) -> Latents:
        return self.mean

    def repeat(self, copies: int) -> "LatentDistribution":
        """`copies` of each item, one after another."""
        return LatentDistribution(
            self.mean.repeat_interleave(copies, 0), self.std.repeat_interleave(copies, 0)
        )


@dataclass
class EncoderOutput(Output):
    latent_dist: LatentDistribution


@dataclass
class DecoderOutput(Output):
    sample: Waveform


class Vae(Component):
    """Waveform ↔ latents, in tiles that equal the whole; slicing takes one item at a time."""

    def __init__(self, network: Autoencoder, audio: AudioFormat, latent_scale: float = 1.0) -> None:
        super().__init__()
        self.network, self.audio, self.latent_scale = network, audio, latent_scale
        self.sampling_rate, self.hop_length = audio.sample_rate, audio.samples_per_frame
        self.use_slicing = False
        self.config = Config(
            audio_channels=audio.channels,
            decoder_input_channels=audio.latent_channels,
            sampling_rate=audio.sample_rate,
        )
        if isinstance(network, Oobleck):
            self.config = Config(self.config | _oobleck_settings(network.config))

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        subfolder: str | None = None,
        *,
        dtype: torch.dtype = torch.float32,
    ) -> "Vae":
        """The autoencoder of a model, or of a file that holds one alone; `subfolder` is not needed to find it."""
        opened = open_autoencoder(source, device=torch.device("cpu"), dtype=dtype)
        return Vae(opened.autoencoder, opened.audio)

    def encode(self, x: Waveform, return_dict: bool = True) -> Any:
        """An `EncoderOutput`, or a tuple: the distribution of the latents of whole frames."""
        items = x.to(self.device, self.dtype).split(1 if self.use_slicing else max(1, len(x)))
        found = [tiling.encode(self.network, item, TILE_FRAMES) for item in items]
        mean, std = (torch.cat([getattr(p, name) for p in found]) for name in ("mean", "std"))
        distribution = LatentDistribution(mean / self.latent_scale, std / self.latent_scale)
        return EncoderOutput(distribution) if return_dict else (distribution,)

    def decode(self, z: Latents, return_dict: bool = True, generator: Generators = None) -> Any:
        """A `DecoderOutput`, or a tuple: the waveform. Decoding draws nothing, whatever the `generator`."""
        scaled = z.to(self.device, self.dtype) * self.latent_scale
        items = scaled.split(1 if self.use_slicing else max(1, len(z)))
        sample = torch.cat([tiling.decode(self.network, item, TILE_FRAMES) for item in items])
        return DecoderOutput(sample) if return_dict else (sample,)

    def forward(
        self,
        sample: Waveform,
        sample_posterior: bool = False,
        return_dict: bool = True,
        generator: Generators = None,
    ) -> Any:
        """Encode and decode: a `DecoderOutput`, or a tuple."""
        distribution = self.encode(sample)[0]
        latents = distribution.sample(generator) if sample_posterior else distribution.mode()
        return self.decode(latents, return_dict)

    def enable_slicing(self) -> None:
        self.use_slicing = True

    def disable_slicing(self) -> None:
        self.use_slicing = False

    def enable_tiling(self) -> None:
        """Nothing to switch: tiles are always used, and exact, for encoding as well (defect B7)."""

    def disable_tiling(self) -> None:
        """Nothing to switch: tiles give what the whole gives."""


def _oobleck_settings(config: OobleckConfig) -> dict[str, Any]:
    return {
        "encoder_hidden_size": config.encoder_width,
        "downsampling_ratios": list(config.strides),
        "channel_multiples": list(config.encoder_multiples),
        "decoder_channels": config.decoder_width,
    }


class AutoencoderOobleck(Vae):
    """The published autoencoder with random weights. The encoder's width is free of the latents' (defect B9)."""

    def __init__(
        self,
        encoder_hidden_size: int = 128,
        downsampling_ratios: Sequence[int] = (2, 4, 4, 8, 8),
        channel_multiples: Sequence[int] = (1, 2, 4, 8, 16),
        decoder_channels: int = 128,
        decoder_input_channels: int = 64,
        audio_channels: int = 2,
        sampling_rate: int = 44_100,
    ) -> None:
        hop = math.prod(downsampling_ratios)
        config = OobleckConfig(
            channels=audio_channels,
            latent_channels=decoder_input_channels,
            strides=tuple(downsampling_ratios),
            encoder_width=encoder_hidden_size,
            encoder_multiples=tuple(channel_multiples),
            decoder_width=decoder_channels,
            decoder_multiples=tuple(channel_multiples),
        )
        audio = AudioFormat(sampling_rate, audio_channels, decoder_input_channels, hop)
        super().__init__(Oobleck(config), audio)


# --- the transformer ---


@dataclass
class TransformerOutput(Output):
    sample: Latents


class Transformer(Component):
    """The diffusion transformer; `sample_size` is its trained window in latent frames."""

    def __init__(self, network: DiT, sample_size: float) -> None:
        super().__init__()
        self.network = network
        self.config = Config(transformer_json(network.config, sample_size))

    def forward(
        self,
        hidden_states: Latents,
        timestep: Float[Tensor, "..."],
        encoder_hidden_states: States,
        global_hidden_states: Float[Tensor, "batch 1 global_dim"],
        rotary_embedding: object = None,
        return_dict: bool = True,
    ) -> Any:
        """A `TransformerOutput`, or a tuple: the velocity at one timestep for all, or one per item.

        The rotary table is made here, in float32, so `rotary_embedding` has no effect.
        """
        latents = hidden_states.to(self.dtype)
        t = timestep.float().to(self.device).expand(len(latents))
        context, global_embed = encoder_hidden_states, global_hidden_states[:, 0]
        v = self.network(latents, t, context.to(self.dtype), global_embed.to(self.dtype))
        return TransformerOutput(v) if return_dict else (v,)


class StableAudioDiTModel(Transformer):
    """The published transformer with random weights."""

    def __init__(
        self,
        sample_size: float = 1024.0,
        in_channels: int = 64,
        num_layers: int = 24,
        attention_head_dim: int = 64,
        num_attention_heads: int = 24,
        num_key_value_attention_heads: int = 12,
        out_channels: int = 64,
        cross_attention_dim: int = 768,
        time_proj_dim: int = 256,
        global_states_input_dim: int = 1536,
        cross_attention_input_dim: int = 768,
    ) -> None:
        settings = {
            "sample_size": sample_size,
            "in_channels": in_channels,
            "num_layers": num_layers,
            "attention_head_dim": attention_head_dim,
            "num_attention_heads": num_attention_heads,
            "num_key_value_attention_heads": num_key_value_attention_heads,
            "out_channels": out_channels,
            "cross_attention_dim": cross_attention_dim,
            "time_proj_dim": time_proj_dim,
            "global_states_input_dim": global_states_input_dim,
            "cross_attention_input_dim": cross_attention_input_dim,
        }
        dit, _ = read_transformer(Section(settings, "StableAudioDiTModel"))
        super().__init__(DiT(replace(dit, norm_bias=True)), sample_size)


# --- the conditions ---


@dataclass
class ProjectionOutput(Output):
    text_hidden_states: States | None = None
    seconds_start_hidden_states: States | None = None
    seconds_end_hidden_states: States | None = None


class Projection(Component):
    """The embedders of the seconds. `model` says which conditions there are and where each is routed."""

    def __init__(self, numbers: nn.ModuleDict, model: ModelConfig) -> None:
        super().__init__()
        self.numbers, self.model = numbers, model
        limits = [c for c in model.conditions if isinstance(c, NumberCondition)]
        self.config = Config(
            text_encoder_dim=model.text_width,
            conditioning_dim=model.condition_dim,
            min_value=min((c.minimum for c in limits), default=0.0),
            max_value=max((c.maximum for c in limits), default=math.inf),
        )

    def forward(
        self,
        text_hidden_states: States | None = None,
        start_seconds: Float[Tensor, " batch"] | None = None,
        end_seconds: Float[Tensor, " batch"] | None = None,
    ) -> ProjectionOutput:
        """Each given input as rows of the context."""
        return ProjectionOutput(
            None if text_hidden_states is None else self._projected(text_hidden_states),
            self._embedded("seconds_start", start_seconds),
            self._embedded("seconds_total", end_seconds),
        )

    def _projected(self, states: States) -> States:
        if self.model.text.projected_from is None:
            return states
        layer = self.numbers[self.model.text.id]
        assert isinstance(layer, nn.Linear)
        return layer(states.to(layer.weight.dtype))

    def _embedded(self, name: str, seconds: Float[Tensor, " batch"] | None) -> States | None:
        if seconds is None:
            return None
        if name not in self.numbers:
            raise InvalidRequest(f"this model has no condition {name}")
        return self.numbers[name](seconds)


class StableAudioProjectionModel(Projection):
    """The published embedders with random weights; text of another width than the conditions is projected."""

    def __init__(
        self,
        text_encoder_dim: int = 768,
        conditioning_dim: int = 768,
        min_value: float = 0.0,
        max_value: float = 512.0,
    ) -> None:
        settings = {
            "text_encoder_dim": text_encoder_dim,
            "conditioning_dim": conditioning_dim,
            "min_value": min_value,
            "max_value": max_value,
        }
        projection = read_projection(Section(settings, "StableAudioProjectionModel"))
        text = TextCondition(projected_from=projection.projected_from)
        model = replace(
            ModelConfig(),
            conditions=(text, *projection.numbers),
            condition_dim=conditioning_dim,
        )
        super().__init__(condition_networks(model), model)
