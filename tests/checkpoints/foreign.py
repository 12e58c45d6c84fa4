"""What the tests of adapters share."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from auralith.checkpoints import Checkpoint, open_adapters, read_adapter, with_adapters
from auralith.errors import CheckpointError

State = dict[str, Tensor]


def merged(base: Checkpoint, path: Path, strength: float = 1.0) -> Checkpoint:
    return with_adapters(base, open_adapters([(path, strength)]))


def refusal(path: Path, base: Checkpoint | None = None) -> str:
    with pytest.raises(CheckpointError) as caught:
        read_adapter(path) if base is None else merged(base, path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def random(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))
