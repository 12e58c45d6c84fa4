"""Shared fixtures: golden tensors and the tiny reference checkpoints, loaded once."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from auralith.checkpoints import Checkpoint, open_checkpoint

GOLDEN = Path(__file__).parent / "golden"
TINY_MODELS = ("sao_tiny", "sao_small_tiny")


def relative_error(found: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest expected value."""
    difference = (found - expected).detach().abs().max()
    return float(difference / expected.abs().max().detach())


@pytest.fixture(scope="session", params=TINY_MODELS)
def tiny_name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def golden(tiny_name: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / tiny_name / "golden.safetensors")


@pytest.fixture(scope="session")
def checkpoint(tiny_name: str) -> Checkpoint:
    return open_tiny(tiny_name)


def open_tiny(name: str) -> Checkpoint:
    return open_checkpoint(GOLDEN / name, device=torch.device("cpu"), dtype=torch.float32)
