"""Weights and configs to disk, each file whole or not at all.

Weights are streamed tensor by tensor, so that writing a checkpoint never needs its size in memory.
"""

import json
from pathlib import Path
from typing import Any

import torch

from auralith.checkpoints.reading import ALIGNMENT, DTYPES, LazyTensor, Weights
from auralith.files import whole_file

DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write_json(path: Path, data: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(json.dumps(data, indent=2).encode() + b"\n")


def write_safetensors(path: Path, weights: Weights) -> None:
    """Write the tensors in their own dtypes, those of whole cache lines first, then wide types first.

    So nearly every tensor is aligned, and mapped when it is loaded.
    """
    names = sorted(weights, key=lambda name: (*_misalignment(weights[name]), name))
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(safetensors_header([(name, weights[name]) for name in names]))
        for name in names:
            flat = weights[name].read().contiguous().flatten()
            file.write(flat.view(torch.uint8).numpy().data)


def _misalignment(tensor: LazyTensor) -> tuple[bool, int]:
    """Return how much a tensor displaces those behind it in a file, as a sort key."""
    return tensor.num_bytes % ALIGNMENT > 0, -tensor.dtype.itemsize


def safetensors_header(tensors: list[tuple[str, LazyTensor]]) -> bytes:
    """Length and JSON of a file that holds the tensors in this order."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors:
        end = offset + tensor.num_bytes
        entries[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-(8 + len(header)) % ALIGNMENT)
    return len(header).to_bytes(8, "little") + header
