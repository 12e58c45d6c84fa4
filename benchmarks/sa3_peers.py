"""The networks of Stable Audio 3 with the same random weights in ours and in the peers.

Its own repository is read from a checkout, without installing it: what its classes import and never call here is
replaced by empty stand-ins, and kernels that it compiles or that need a GPU are off. It wants einops.
"""

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from candidates import Step, assign
from peer_checkout import stand_in
from torch import Tensor, nn

from auralith.checkpoints.transform import to_diffusers, to_single_file
from auralith.config import ModelConfig
from auralith.families.family import Spec
from auralith.families.model_config import config_to_json
from auralith.families.registry import Networks, family_of
from auralith.models.latent_codec import LatentCodec
from auralith.models.lazy_tensor import Weights, weights_of

PACKAGE = "stable_audio_3"
UNUSED = ("torchaudio", f"{PACKAGE}.inference", f"{PACKAGE}.inference.audio_utils")
DIT = "model.model."
DECODER = "pretransform.model.decoder."
CONTEXT_ROWS = 257
Decode = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Peer:
    """Networks of one program."""

    name: str
    step: Callable[[Tensor, Tensor, Tensor], Step]
    """From context, global vector and local condition of a request to v(x, t)."""
    decode: Decode


def single_file_weights(networks: Networks, config: ModelConfig) -> Weights:
    """Return the weights under their published names, as the peers take them."""
    return to_single_file(weights_of(networks.state_dict()), Spec.of(config))


def ours(networks: Networks) -> Peer:
    """Return what `generate` runs."""

    def step(context: Tensor, vector: Tensor, local: Tensor) -> Step:
        prepared = networks.dit.prepare(context, vector, local.shape[-1], local)
        return lambda x, t: networks.dit.step(x, t, prepared)

    return Peer("auralith", step, LatentCodec(networks.autoencoder).decode)


def stable_audio_3(config: ModelConfig, weights: Weights, checkout: Path) -> Peer:
    """Return the classes of the published repository, decoding in its default chunks."""
    models = _modules(checkout)
    data: Any = config_to_json(config)["model"]
    dit = models("dit").DiffusionTransformer(
        diffusion_objective=config.objective, **data["diffusion"]["config"]
    )
    decoder = models("autoencoders").SAMEDecoder(
        **data["pretransform"]["config"]["decoder"]["config"]
    )
    assign(dit, weights, DIT, torch.float32)
    assign(decoder, weights, DECODER, torch.float32)
    audio = config.audio
    codec = (
        models("autoencoders")
        .AudioAutoencoder(
            encoder=None,
            decoder=decoder,
            latent_dim=audio.latent_channels,
            downsampling_ratio=audio.samples_per_frame,
            sample_rate=audio.sample_rate,
            bottleneck=models("bottleneck").SoftNormBottleneck(
                audio.latent_channels, noise_regularize=True, auto_scale=True
            ),
            pretransform=_Patches(audio.channels),
        )
        .eval()
    )

    def step(context: Tensor, vector: Tensor, local: Tensor) -> Step:
        return lambda x, t: dit(
            x, t, cross_attn_cond=context, global_embed=vector, local_add_cond=local
        )

    return Peer("stable-audio-3", step, lambda latents: codec.decode_audio(latents, chunked=True))


def diffusers(config: ModelConfig, weights: Weights) -> Peer | None:
    """Return the classes of diffusers; None for models that its layout can't hold."""
    from diffusers.models.autoencoders.autoencoder_same import AutoencoderSAME
    from diffusers.models.transformers.transformer_stable_audio3 import StableAudio3DiTModel

    form = family_of(config.autoencoder).diffusers
    if form is None or form.refusals(config):
        return None
    renamed = to_diffusers(weights, Spec.of(config))
    configs: Any = form.to_json(config)
    dit: Any = StableAudio3DiTModel.from_config(configs["transformer"])
    codec: Any = AutoencoderSAME.from_config(configs["vae"])
    assign(dit, renamed, "transformer.", torch.float32)
    assign(codec, renamed, "vae.", torch.float32)

    def step(context: Tensor, vector: Tensor, local: Tensor) -> Step:
        def predict(x: Tensor, t: Tensor) -> Tensor:
            return dit(
                x,
                t,
                encoder_hidden_states=context,
                global_hidden_states=vector,
                local_add_cond=local,
                return_dict=False,
            )[0]

        return predict

    return Peer("diffusers", step, lambda latents: codec.decode(latents).sample)


class _Patches(nn.Module):
    """Rows of patches as a waveform; the peer's own module imports torchaudio."""

    enable_grad = False

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels

    def decode(self, rows: Tensor) -> Tensor:
        return rows.unflatten(1, (self.channels, -1)).transpose(2, 3).flatten(2)


def _modules(checkout: Path) -> Callable[[str], Any]:
    stand_in(PACKAGE, UNUSED, checkout)
    found: dict[str, Any] = {
        n: importlib.import_module(f"{PACKAGE}.models.{n}")
        for n in ("transformer", "dit", "autoencoders", "bottleneck")
    }
    found["transformer"].flex_attention_available = False
    for name in UNUSED:  # others ask whether these are installed
        del sys.modules[name]
    return lambda name: found[name]
