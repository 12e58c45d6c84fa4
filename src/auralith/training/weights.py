"""Random weights that a seed decides, without touching the global generator."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from auralith.config import ModelConfig
from auralith.families.networks import condition_networks
from auralith.models.dit import DiT


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw initial weights from a seed; the global generator is put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def new_transformer(config: ModelConfig, seed: int) -> tuple[DiT, nn.ModuleDict]:
    """A transformer that starts from the identity, and the networks of its conditions."""
    with seeded(seed):
        dit = DiT(config.dit)
        dit.reset_parameters()
        return dit, condition_networks(config)
