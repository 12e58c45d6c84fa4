"""Weights and configs to disk, each file whole or not at all.

Weights are streamed tensor by tensor, so that writing a checkpoint never needs its size in memory.
"""

import json
from pathlib import Path
from typing import Any

import torch

from auralith.checkpoints.reading import DTYPES, LazyTensor, Weights
from auralith.files import whole_file

DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write_json(path: Path, data: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(json.dumps(data, indent=2).encode() + b"\n")


def write_safetensors(path: Path, weights: Weights) -> None:
    """Write the tensors in their own dtypes, wide types first so that every tensor is aligned."""
    names = sorted(weights, key=lambda name: (-weights[name].dtype.itemsize, name))
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(safetensors_header([(name, weights[name]) for name in names]))
        for name in names:
            flat = weights[name].read().contiguous().flatten()
            file.write(flat.view(torch.uint8).numpy().data)


def safetensors_header(tensors: list[tuple[str, LazyTensor]]) -> bytes:
    """Length and JSON of a file that holds the tensors in this order."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, tensor in tensors:
        end = offset + tensor.numel * tensor.dtype.itemsize
        entries[name] = {
            "dtype": DTYPE_NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header
