"""Classes of a checkout of a peer, without installing it: here two of stable-audio-tools.

Its packages import audio, training and sampling libraries that these classes never call: empty stand-ins take their
place. What is really used besides torch is einops (`pip install einops`).
"""

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from torch import nn

from auralith.config import DiTConfig, ModelConfig, OobleckConfig

PACKAGE = "stable_audio_tools"
UNUSED = (
    "torchaudio",
    "alias_free_torch",
    f"{PACKAGE}.inference",
    f"{PACKAGE}.inference.sampling",
    f"{PACKAGE}.inference.utils",
    f"{PACKAGE}.models.bottleneck",
    f"{PACKAGE}.models.diffusion",
    f"{PACKAGE}.models.factory",
    f"{PACKAGE}.models.pretransforms",
)


class StandIn(ModuleType):
    """A module from which any public name can be imported."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return object


def stand_in(package: str, unused: Iterable[str], checkout: Path) -> None:
    """Make modules of a checkout's package importable, without what its packages import themselves."""
    for name in unused:
        sys.modules[name] = StandIn(name)
    for name in (package, f"{package}.models"):
        module = ModuleType(name)
        module.__path__ = [str(checkout / name.replace(".", "/"))]
        sys.modules[name] = module


def build_from_checkout(checkout: Path, config: ModelConfig) -> tuple[nn.Module, nn.Module]:
    """The diffusion transformer and the decoder, with the weights that torch gives them."""
    stand_in(PACKAGE, UNUSED, checkout)
    dit, autoencoder = config.dit, config.autoencoder
    assert isinstance(autoencoder, OobleckConfig) and isinstance(dit, DiTConfig)
    transformer = importlib.import_module(f"{PACKAGE}.models.dit").DiffusionTransformer(
        io_channels=dit.latent_channels,
        embed_dim=dit.embed_dim,
        depth=dit.depth,
        num_heads=dit.num_heads,
        cond_token_dim=dit.context_dim,
        project_cond_tokens=dit.project_context,
        global_cond_dim=dit.global_dim,
    )
    decoder = importlib.import_module(f"{PACKAGE}.models.autoencoders").OobleckDecoder(
        out_channels=autoencoder.channels,
        channels=autoencoder.decoder_width,
        latent_dim=autoencoder.latent_channels,
        c_mults=list(autoencoder.decoder_multiples),
        strides=list(autoencoder.strides),
        use_snake=True,
        final_tanh=autoencoder.final_tanh,
    )
    return transformer, decoder
