"""The networks of a checkpoint, built as its family says."""

import torch
from torch import nn

from auralith.config import ModelConfig
from auralith.errors import CheckpointError
from auralith.families.registry import condition_kind, family_of
from auralith.families.spec import Spec
from auralith.models.autoencoder import Autoencoder
from auralith.models.dit import DiT


class Networks(nn.Module):
    """All networks of a checkpoint; `dit` and `numbers` only of a whole model."""

    autoencoder: Autoencoder
    dit: DiT
    numbers: nn.ModuleDict

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        family = family_of(spec.autoencoder)
        self.autoencoder = family.autoencoder.build(spec.autoencoder)
        if spec.model is not None:
            self.dit = family.transformer.build(spec.model.dit)
            self.numbers = condition_networks(spec.model)


def condition_networks(config: ModelConfig) -> nn.ModuleDict:
    """Return new networks of a model's conditions by id: an embedder of every number, a layer for projected text."""
    texts = [config.text] if config.is_conditional else []
    networks = {
        c.id: condition_kind(config, c).build(c, config.condition_dim)
        for c in (*config.numbers, *texts)
    }
    return nn.ModuleDict({name: network for name, network in networks.items() if network})


def without_memory(spec: Spec, dtype: torch.dtype = torch.float32) -> Networks:
    """Return the networks on the meta device: names, shapes and dtypes, to be filled from a file.

    A network of another `dtype` holds what must stay exact in float32.

    Raises:
        CheckpointError: they would be larger than any tensor can be.
    """
    try:
        with torch.device("meta"):
            return Networks(spec).to(dtype)
    except (RuntimeError, OverflowError, ValueError, MemoryError) as error:
        first = str(error).partition("\n")[0]
        raise CheckpointError(f"the config's networks can't be built: {first:.200}") from error
