"""What a checkpoint is, from its headers alone."""

from dataclasses import dataclass
from pathlib import Path

import torch

from auralith.checkpoints.choosing import FOUND, Files
from auralith.checkpoints.config_json import Spec
from auralith.checkpoints.opening import locate
from auralith.checkpoints.single_file import Layout
from auralith.checkpoints.transform import is_buffer, without_memory

PARTS = {
    "pretransform.model.encoder.": "autoencoder encoder",
    "pretransform.model.decoder.": "autoencoder decoder",
    "pretransform.model.": "autoencoder statistics",
    "conditioner.": "timing embedders",
    "model.model.": "diffusion transformer",
}
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Inspection:
    """`parameters` are counted as published: with the norms of the weight norm, without buffers."""

    source: str
    layout: Layout
    spec: Spec
    num_tensors: int
    parameters: dict[str, int]
    stored_dtypes: tuple[str, ...]
    file_bytes: int
    memory_bytes: dict[str, int]
    """Bytes of the loaded networks (text encoder not included) by dtype; weight norm is folded then."""

    @property
    def total_parameters(self) -> int:
        return sum(self.parameters.values())


def inspect_checkpoint(source: str | Path, files: Files = FOUND) -> Inspection:
    """Layout, config and sizes of a checkpoint; its tensors are checked but not read. Raises CheckpointError."""
    raw = locate(source, files=files)
    parameters: dict[str, int] = {}
    for name, tensor in raw.weights.items():
        part = next(part for start, part in PARTS.items() if name.startswith(start))
        if not is_buffer(name, raw.spec):
            parameters[part] = parameters.get(part, 0) + tensor.numel
    memory = {}
    for dtype in DTYPES:
        tensors = without_memory(raw.spec, dtype).state_dict().values()
        memory[_short(dtype)] = sum(t.numel() * t.itemsize for t in tensors)
    return Inspection(
        source=raw.source,
        layout=raw.layout,
        spec=raw.spec,
        num_tensors=len(raw.weights),
        parameters=parameters,
        stored_dtypes=tuple(sorted({_short(tensor.dtype) for tensor in raw.weights.values()})),
        file_bytes=sum(path.stat().st_size for path in raw.files),
        memory_bytes=memory,
    )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
