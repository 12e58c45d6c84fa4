"""Files written whole or not at all: everything goes to a temporary name first and is then renamed.

Weights are streamed tensor by tensor, so that writing a checkpoint never needs its size in memory.
"""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch

from auralith.checkpoints.reading import DTYPES, LazyTensor, Weights
from auralith.errors import CheckpointError, ResourceError

DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that appears under `path` only if the block succeeds; an older one is replaced in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with disk_errors(path), os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears only if the block succeeds. Raises CheckpointError if it holds anything already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder} exists already; name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with disk_errors(folder):
            yield temporary
            temporary.chmod(0o755)
            if folder.exists():
                folder.rmdir()
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn a full disk into a ResourceError."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise ResourceError(f"no space left for {path}; free some and try again") from None


def write_json(path: Path, data: dict[str, Any]) -> None:
    with whole_file(path) as file:
        file.write(json.dumps(data, indent=2).encode() + b"\n")


def write_safetensors(path: Path, weights: Weights) -> None:
    """Write the tensors in their own dtypes, wide types first so that every tensor is aligned."""
    names = sorted(weights, key=lambda name: (-weights[name].dtype.itemsize, name))
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
