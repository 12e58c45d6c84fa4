"""The state of a run on disk: written whole or not at all, read without executing anything."""

from pathlib import Path
from typing import Any

import torch

from auralith.errors import CheckpointError
from auralith.files import whole_file


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values, whole or not at all."""
    with whole_file(path) as file:
        torch.save(state, file)


def load_state(path: Path) -> dict[str, Any]:
    """What `save_state` wrote.

    Raises:
        CheckpointError: the file is damaged or holds something other than tensors and plain values.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path}: not a training state ({type(error).__name__}); delete it to start over"
        ) from error
