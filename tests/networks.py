"""Networks and configs of Stable Audio 1, whose tests look inside them."""

from typing import Any

from auralith.config import ModelConfig
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.dit import DiT
from auralith.network_config import DiTConfig


def dit_config(config: ModelConfig) -> DiTConfig:
    """Return the config of a model's transformer."""
    assert isinstance(config.dit, DiTConfig)
    return config.dit


def dit_of(network: DiffusionTransformer[Any]) -> DiT:
    """Return a network as what it is."""
    assert isinstance(network, DiT)
    return network
