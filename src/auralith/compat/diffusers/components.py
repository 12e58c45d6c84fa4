"""The pipeline's networks under diffusers' class names, constructor arguments and calls.

Each holds one of our networks as `network` and describes it in `config`. They can hold more than diffusers' classes:
any autoencoder of ours, any routing of conditions. `from_pretrained` of the pipeline fills them; their constructors give
random weights. A cast leaves Fourier frequencies in float32, because rounding them merges neighboring timesteps.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize

from auralith.compat.diffusers.arguments import Generators, normal
from auralith.compat.diffusers.component import BaseOutput, Component
from auralith.config import (
    AudioFormat,
    ModelConfig,
    TextCondition,
)
from auralith.diffusion import Latents
from auralith.errors import InvalidRequest
from auralith.families.family import Spec
from auralith.families.registry import Networks, condition_networks
from auralith.families.sections import Section
from auralith.families.stable_audio_1.diffusers import (
    ProjectionConfig,
    projection_json,
    read_projection,
    read_transformer,
    read_vae,
    transformer_json,
    vae_json,
)
from auralith.models.attention import Rotary
from auralith.models.autoencoder import Autoencoder, Oobleck, Posterior, weight_normed
from auralith.models.dit import DiT
from auralith.models.latent_codec import LatentCodec

Waveform = Float[Tensor, "batch audio_channel sample"]
States = Float[Tensor, "batch token dim"]


# --- the autoencoder ---


@dataclass
class LatentDistribution(BaseOutput):
    """Distribution of the latents of a waveform: independent normals."""

    mean: Latents
    std: Latents

    @property
    def var(self) -> Latents:
        return self.std.square()

    @property
    def logvar(self) -> Latents:
        return self.var.log()

    def kl(self, other: "LatentDistribution | None" = None) -> Float[Tensor, ""]:
        """The divergence from unit normals, or from `other`, twice: summed over channels, then averaged."""
        if other is None:
            return (self.mean.square() + self.var - self.logvar - 1.0).sum(1).mean()
        squared = (self.mean - other.mean).square() / other.var
        return (squared + self.var / other.var + self.logvar - other.logvar - 1).sum(1).mean()

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
class EncoderOutput(BaseOutput):
    latent_dist: LatentDistribution


@dataclass
class DecoderOutput(BaseOutput):
    sample: Waveform


class Vae(Component):
    """Waveform ↔ latents, in tiles that equal the whole; slicing takes one item at a time."""

    component = "vae"
    _class_name = "AutoencoderOobleck"

    def __init__(self, network: Autoencoder, audio: AudioFormat, latent_scale: float = 1.0) -> None:
        if isinstance(network, Oobleck):
            settings = vae_json(audio, network.config)
        else:
            settings = {
                "audio_channels": audio.channels,
                "decoder_input_channels": audio.latent_channels,
                "sampling_rate": audio.sample_rate,
            }
        super().__init__(settings)
        self.network, self.audio, self.latent_scale = network, audio, latent_scale
        self.sampling_rate, self.hop_length = audio.sample_rate, audio.samples_per_frame
        self.use_slicing = self.use_tiling = False

    @property
    def codec(self) -> LatentCodec:
        return LatentCodec(self.network, self.latent_scale)

    @property
    def spec(self) -> Spec | None:
        network = self.network
        return Spec(self.audio, network.config) if isinstance(network, Oobleck) else None

    @classmethod
    def of_networks(cls, networks: Networks, spec: Spec) -> "Vae":
        return Vae(networks.autoencoder, spec.audio)

    def encode(self, x: Waveform, return_dict: bool = True) -> Any:
        """An `EncoderOutput`, or a tuple: the distribution of the latents of whole frames."""
        items = x.split(1 if self.use_slicing else max(1, len(x)))
        with parametrize.cached():
            found = [self.codec.encode(item) for item in items]
        mean, std = (torch.cat([getattr(p, name) for p in found]) for name in ("mean", "std"))
        distribution = LatentDistribution(mean.to(self.dtype), std.to(self.dtype))
        return EncoderOutput(distribution) if return_dict else (distribution,)

    def decode(self, z: Latents, return_dict: bool = True, generator: Generators = None) -> Any:
        """A `DecoderOutput`, or a tuple: the waveform. Decoding draws nothing, whatever the `generator`."""
        items = z.split(1 if self.use_slicing else max(1, len(z)))
        with parametrize.cached():
            sample = torch.cat([self.codec.decode(item) for item in items])
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
        """Note the wish: tiles are always used, and exact, for encoding as well (defect B7)."""
        self.use_tiling = True

    def disable_tiling(self) -> None:
        """Note the wish: tiles give what the whole gives."""
        self.use_tiling = False


class AutoencoderOobleck(Vae):
    """The published autoencoder with random weights, weight-normed as in diffusers.

    The encoder's width is free of the latents' (defect B9).
    """

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
        settings = {
            "encoder_hidden_size": encoder_hidden_size,
            "downsampling_ratios": list(downsampling_ratios),
            "channel_multiples": list(channel_multiples),
            "decoder_channels": decoder_channels,
            "decoder_input_channels": decoder_input_channels,
            "audio_channels": audio_channels,
            "sampling_rate": sampling_rate,
        }
        audio, config = read_vae(Section(settings, "AutoencoderOobleck"))
        super().__init__(Oobleck(config), audio)
        weight_normed(self.network)


# --- the transformer ---


@dataclass
class TransformerOutput(BaseOutput):
    sample: Latents


class Transformer(Component):
    """The diffusion transformer; `sample_size` is its trained window in latent frames."""

    component = "transformer"
    _class_name = "StableAudioDiTModel"
    _supports_gradient_checkpointing = True

    def __init__(self, network: DiT, sample_size: int | float) -> None:
        super().__init__(transformer_json(network.config, float(sample_size)))
        self.network = network

    @property
    def spec(self) -> Spec:
        return Spec.of(replace(ModelConfig(), dit=self.network.config))

    @classmethod
    def of_networks(cls, networks: Networks, spec: Spec) -> "Transformer":
        # as reading the transformer has checked
        assert spec.model is not None and isinstance(networks.dit, DiT)
        return Transformer(networks.dit, spec.model.window_samples / spec.audio.samples_per_frame)

    @property
    def is_gradient_checkpointing(self) -> bool:
        return self.network.checkpoint_activations

    def enable_gradient_checkpointing(self) -> None:
        """Keep only the input of every block while gradients are on, and compute it twice."""
        self.network.checkpoint_activations = True

    def disable_gradient_checkpointing(self) -> None:
        self.network.checkpoint_activations = False

    def forward(
        self,
        hidden_states: Float[Tensor, "batch in_channel frame"],
        timestep: Float[Tensor, "..."],
        encoder_hidden_states: States,
        global_hidden_states: Float[Tensor, "batch 1 global_dim"],
        rotary_embedding: tuple[Tensor, Tensor] | None = None,
        return_dict: bool = True,
        attention_mask: None = None,
        encoder_attention_mask: None = None,
    ) -> Any:
        """A `TransformerOutput`, or a tuple: the velocity at one timestep for all, or one per item.

        `rotary_embedding` is cosine and sine of the angles per position (global vector first), as diffusers'
        `get_1d_rotary_pos_embed` makes them; without it, as there, positions are not told apart. Raises InvalidRequest
        for masks, which models of this family do not use.
        """
        if attention_mask is not None or encoder_attention_mask is not None:
            raise InvalidRequest("attention masks are not supported; zero the rows instead")
        dit = self.network.config
        latents, extra = hidden_states.to(self.dtype).split(
            (dit.latent_channels, dit.extra_channels), dim=1
        )
        t = timestep.float().to(self.device).expand(len(latents))
        context, global_embed = encoder_hidden_states, global_hidden_states[:, 0]
        prepared = self.network.prepare(
            context.to(self.dtype), global_embed.to(self.dtype), latents.shape[-1], extra
        )
        table = prepared.rotary
        if rotary_embedding is None:
            rotary = Rotary(torch.ones_like(table.cos), torch.zeros_like(table.sin))
        else:
            rotary = Rotary(*(part.to(table.cos) for part in rotary_embedding))
        v = self.network.step(latents, t, replace(prepared, rotary=rotary))
        return TransformerOutput(v) if return_dict else (v,)


class StableAudioDiTModel(Transformer):
    """The published transformer with random weights. As in diffusers, norms have trained biases, and the frequencies
    of the timestep are not trained.
    """

    def __init__(
        self,
        sample_size: int | float = 1024.0,
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
        self.network.timestep_features.requires_grad_(False)


# --- the conditions ---


@dataclass
class ProjectionOutput(BaseOutput):
    text_hidden_states: States | None = None
    seconds_start_hidden_states: Float[Tensor, "batch 1 dim"] | None = None
    seconds_end_hidden_states: Float[Tensor, "batch 1 dim"] | None = None


class ProjectionModel(Component):
    """The embedders of the seconds. `model` says which conditions there are and where each is routed."""

    component, prefix = "projection_model", "numbers."
    _class_name = "StableAudioProjectionModel"

    def __init__(self, numbers: nn.ModuleDict, model: ModelConfig) -> None:
        limits = model.numbers
        settings = ProjectionConfig(
            model.text_width,
            model.condition_dim,
            min((c.minimum for c in limits), default=0.0),
            max((c.maximum for c in limits), default=math.inf),
        )
        super().__init__(projection_json(settings))
        self.numbers, self.model = numbers, model

    @property
    def spec(self) -> Spec:
        return Spec.of(self.model)

    @classmethod
    def of_networks(cls, networks: Networks, spec: Spec) -> "ProjectionModel":
        assert spec.model is not None  # as reading the embedders has checked
        return ProjectionModel(networks.numbers, spec.model)

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

    def _projected(self, states: States) -> Float[Tensor, "batch token projected"]:
        if self.model.text.projected_from is None:
            return states
        layer = self.numbers[self.model.text.id]
        assert isinstance(layer, nn.Linear)
        # peers tell no padding apart here
        return nn.functional.linear(states.to(layer.weight.dtype), layer.weight, layer.bias)

    def _embedded(self, name: str, seconds: Float[Tensor, " batch"] | None) -> States | None:
        if seconds is None:
            return None
        if name not in self.numbers:
            raise InvalidRequest(f"this model has no condition {name}")
        return self.numbers[name](seconds)


class StableAudioProjectionModel(ProjectionModel):
    """The published embedders with random weights; text of another width than the conditions is projected."""

    def __init__(
        self,
        text_encoder_dim: int = 768,
        conditioning_dim: int = 768,
        min_value: int | float = 0.0,
        max_value: int | float = 512.0,
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
