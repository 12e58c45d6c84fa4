"""The same random weights in ours and in the peers.

Ours is filled first; the peers take its tensors under their own names, sharing memory where the shapes allow. A
candidate is a guided denoiser for a request and a decoder; everything that a request fixes is prepared outside the step.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_oobleck import AutoencoderOobleck
from diffusers.models.embeddings import get_1d_rotary_pos_embed
from diffusers.models.transformers.stable_audio_transformer import StableAudioDiTModel
from peer_checkout import build_from_checkout
from torch import Tensor, nn

from auralith.checkpoints import Spec
from auralith.checkpoints.transform import to_diffusers, to_single_file
from auralith.config import DiTConfig, ModelConfig, OobleckConfig
from auralith.families.registry import Networks, without_memory
from auralith.models.latent_codec import LatentCodec
from auralith.models.lazy_tensor import Weights, weights_of

CONTEXT_ROWS = 130
CFG_SCALE = 7.0
Step = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Candidate:
    """`request(context, global_embed, frames)` gives the guided step v(x, t); `decode` gives waveforms.

    `encode` gives the means of the latents of waveforms; None where it is not compared.
    """

    name: str
    request: Callable[[Tensor, Tensor, int], Step]
    decode: Callable[[Tensor], Tensor]
    encode: Callable[[Tensor], Tensor] | None = None


def config_of(scale: str) -> ModelConfig:
    """Stable Audio Open 1.0, or the same architecture small enough to try the benchmark itself."""
    if scale == "full":
        return ModelConfig()
    # diffusers has one width of the encoder only
    return replace(
        ModelConfig(), dit=DiTConfig(depth=2), autoencoder=OobleckConfig(decoder_width=16)
    )


def random_networks(config: ModelConfig, dtype: torch.dtype) -> Networks:
    """Our networks with uniform weights of variance 1/inputs, so that activations stay near one."""
    networks = without_memory(Spec.of(config)).to(dtype).to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in networks.named_parameters():
            bound = math.sqrt(3 / parameter[0].numel()) if parameter.dim() > 1 else 0.1
            parameter.uniform_(-bound, bound, generator=generator)
            if name.endswith("scale"):
                parameter.add_(1)
        for buffer in networks.buffers():
            buffer.fill_(1)
    return networks.eval()


def ours(networks: Networks) -> Candidate:
    def request(context: Tensor, global_embed: Tensor, frames: int) -> Step:
        prepared = networks.dit.prepare(context, global_embed.repeat(2, 1), frames)

        def step(x: Tensor, t: Tensor) -> Tensor:
            return guided(*networks.dit.step(x.repeat(2, 1, 1), t.repeat(2), prepared).chunk(2))

        return step

    codec = LatentCodec(networks.autoencoder)
    return Candidate("auralith", request, codec.decode, lambda sound: codec.encode(sound).mean)


def guided(conditioned: Tensor, unconditioned: Tensor) -> Tensor:
    return unconditioned + CFG_SCALE * (conditioned - unconditioned)


def diffusers(networks: Networks, config: ModelConfig) -> Candidate:
    dit, autoencoder = config.dit, config.autoencoder
    assert isinstance(autoencoder, OobleckConfig) and isinstance(dit, DiTConfig)
    with torch.device("meta"):
        transformer = StableAudioDiTModel(
            num_layers=dit.depth,
            num_attention_heads=dit.num_heads,
            attention_head_dim=dit.head_dim,
            cross_attention_dim=dit.context_width,
        )
        vae = AutoencoderOobleck(
            encoder_hidden_size=autoencoder.encoder_width,
            decoder_channels=autoencoder.decoder_width,
            downsampling_ratios=list(autoencoder.strides),
        )
    spec = Spec.of(config)
    weights = to_diffusers(to_single_file(weights_of(networks.state_dict()), spec), spec)
    dtype = next(networks.parameters()).dtype
    assign(transformer, weights, "transformer.", dtype)
    assign(vae, weights, "vae.", dtype)
    return diffusers_candidate(transformer, vae)


def assign(module: nn.Module, weights: Weights, prefix: str, dtype: torch.dtype) -> None:
    """Give a module the tensors below `prefix`: the very tensors, where they have the dtype already."""
    state = {
        name.removeprefix(prefix): tensor.read().to(dtype)
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }
    module.load_state_dict(state, strict=True, assign=True)
    module.eval().requires_grad_(False)


def diffusers_candidate(transformer: StableAudioDiTModel, vae: AutoencoderOobleck) -> Candidate:
    def request(context: Tensor, global_embed: Tensor, frames: int) -> Step:
        contexts = torch.cat((torch.zeros_like(context), context))
        global_states = global_embed.repeat(2, 1)[:, None]
        dim = transformer.config["attention_head_dim"] // 2
        rotary = get_1d_rotary_pos_embed(
            dim, frames + 1, use_real=True, repeat_interleave_real=False
        )

        def step(x: Tensor, t: Tensor) -> Tensor:
            out = transformer(
                x.repeat(2, 1, 1),
                t.to(x.dtype),
                encoder_hidden_states=contexts,
                global_hidden_states=global_states,
                rotary_embedding=rotary,
                return_dict=False,
            )[0]
            return guided(*out.chunk(2)[::-1])

        return step

    def decode(latents: Tensor) -> Tensor:
        return vae.decoder(latents)

    def encode(sound: Tensor) -> Tensor:
        return vae.encoder(sound).chunk(2, dim=1)[0]

    return Candidate("diffusers", request, decode, encode)


def stable_audio_tools(networks: Networks, config: ModelConfig, checkout: Path) -> Candidate:
    with torch.device("meta"):
        dit, decoder = build_from_checkout(checkout, config)
    spec = Spec.of(config)
    weights = to_single_file(weights_of(networks.state_dict()), spec)
    dtype = next(networks.parameters()).dtype
    assign(dit, weights, "model.model.", dtype)
    assign(decoder, weights, "pretransform.model.decoder.", dtype)

    def request(context: Tensor, global_embed: Tensor, frames: int) -> Step:
        def step(x: Tensor, t: Tensor) -> Tensor:
            return dit(
                x,
                t.to(x.dtype),
                cross_attn_cond=context,
                global_embed=global_embed,
                cfg_scale=CFG_SCALE,
            )

        return step

    return Candidate("stable-audio-tools", request, decoder)
