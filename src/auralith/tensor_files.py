"""Files of named tensors, read without trusting them: safetensors, shards, and pickles restricted to plain tensors.

Only headers are read at first. Values are fetched on demand, either mapped straight from the file (no memory of their
own, if they are aligned there) or as a private copy that can be freed after a cast or a fold. Whatever is wrong with a
file becomes one `CheckpointError` line.

Files are written whole or not at all, and tensor by tensor, so that a checkpoint never needs its size in memory.
"""

import hashlib
import json
import math
import mmap
import os
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from auralith.errors import CheckpointError, shown
from auralith.files import whole_file
from auralith.foreign import PICKLE_ERRORS, parse_json, read_json
from auralith.models.lazy_tensor import ALIGNMENT, LazyTensor, Weights

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
MAX_HEADER_BYTES = 100_000_000
PICKLE_SUFFIXES = (".ckpt", ".pt", ".pth", ".bin")


@dataclass(frozen=True)
class TensorFile:
    """The tensors of one file with what its header says of them and, for pickled checkpoints, the config of the model
    saved with them.
    """

    weights: Weights
    metadata: Mapping[str, str] = field(default_factory=dict)
    config: dict[str, Any] | None = None


def read_tensor_file(path: Path) -> TensorFile:
    """Open a `.safetensors` file or a pickled checkpoint. Raises CheckpointError; never runs code from the file."""
    if path.suffix == ".safetensors":
        return TensorFile(*_read_safetensors(path))
    if path.suffix in PICKLE_SUFFIXES:
        return read_pickle(path)
    known = ", ".join((".safetensors", *PICKLE_SUFFIXES))
    raise CheckpointError(f"{path} is not a checkpoint: its name must end in one of {known}")


def sha256_of(files: Iterable[Path]) -> str:
    """SHA-256 over the SHA-256 digests of the files, in the given order; the files are streamed."""
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def read_safetensors(path: Path) -> Weights:
    """The tensors that a safetensors file announces; their values stay on disk."""
    return _read_safetensors(path)[0]


def _read_safetensors(path: Path) -> tuple[Weights, dict[str, str]]:
    """Return the tensors, and the texts of the header's metadata."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            header = _header(path, file, size)
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}") from None
    return _entries(path, mapping, header)


def _header(path: Path, file: BinaryIO, size: int) -> bytes:
    start = file.read(8)
    if start == b"version ":
        raise CheckpointError(f"{path} is a Git LFS pointer, not the weights; run `git lfs pull`")
    length = int.from_bytes(start, "little")
    header = file.read(length) if length <= MAX_HEADER_BYTES else b""
    if not header.startswith(b"{"):
        raise CheckpointError(f"{path} is not a safetensors file; get the file again")
    if len(header) < length:
        raise _truncated(path, size, 8 + length)
    return header


def _entries(path: Path, mapping: mmap.mmap, header: bytes) -> tuple[Weights, dict[str, str]]:
    damaged = CheckpointError(f"{path} is damaged: its header is not readable; get the file again")
    try:
        entries = parse_json(header)
    except ValueError:
        raise damaged from None
    start, size, end = 8 + len(header), len(mapping), 8 + len(header)
    weights: Weights = {}
    texts = entries.pop("__metadata__", None)
    for name, entry in entries.items():
        dtype, shape, begin, stop = _checked_entry(entry, damaged)
        end = max(end, start + stop)
        if end > size:
            raise _truncated(path, size, end)
        weights[name] = _tensor(path, mapping, start + begin, stop - begin, dtype, shape)
    if end != size:
        raise damaged
    said = texts.items() if isinstance(texts, dict) else ()
    return weights, {key: text for key, text in said if isinstance(text, str)}


def _checked_entry(
    entry: object, damaged: CheckpointError
) -> tuple[torch.dtype, tuple[int, ...], int, int]:
    match entry:
        case {"dtype": str(kind), "shape": [*shape], "data_offsets": [int(begin), int(stop)]}:
            valid = kind in DTYPES and all(type(n) is int and 0 <= n < 2**48 for n in shape)
            if valid and len(shape) <= 8 and 0 <= begin <= stop:
                dtype = DTYPES[kind]
                if stop - begin == math.prod(shape) * dtype.itemsize:
                    return dtype, tuple(shape), begin, stop
    raise damaged


def _truncated(path: Path, size: int, needed: int) -> CheckpointError:
    return CheckpointError(
        f"{path} is truncated: {size:,} of at least {needed:,} bytes; get the file again"
    )


def _tensor(
    path: Path,
    mapping: mmap.mmap,
    start: int,
    num_bytes: int,
    dtype: torch.dtype,
    shape: tuple[int, ...],
) -> LazyTensor:
    if num_bytes == 0:
        return LazyTensor(shape, dtype, partial(torch.empty, shape, dtype=dtype))
    read = partial(_copied, path, start, num_bytes, dtype, shape)
    aligned = start % dtype.itemsize == 0
    view = partial(_view, mapping, start, math.prod(shape), dtype, shape) if aligned else None
    return LazyTensor(shape, dtype, read, view)


def _copied(
    path: Path, start: int, num_bytes: int, dtype: torch.dtype, shape: tuple[int, ...]
) -> Tensor:
    buffer = torch.empty(num_bytes, dtype=torch.uint8)
    with path.open("rb") as file:
        file.seek(start)
        if file.readinto(buffer.numpy().data) != num_bytes:
            raise CheckpointError(f"{path} was cut short while it was read; get the file again")
    return buffer.view(dtype).reshape(shape)


def _view(
    mapping: mmap.mmap, start: int, count: int, dtype: torch.dtype, shape: tuple[int, ...]
) -> Tensor:
    return torch.frombuffer(mapping, dtype=dtype, count=count, offset=start).reshape(shape)


def read_pickle(path: Path) -> TensorFile:
    """A checkpoint written by torch, through the unpickler that knows only tensors and plain containers."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
        if start != b"PK" and start[:1] != b"\x80":
            raise CheckpointError(f"{path} is not a torch checkpoint; get the file again")
        # only torch's zip format can be mapped
        data = torch.load(path, map_location="cpu", weights_only=True, mmap=start == b"PK")
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path} is refused: beside tensors it holds objects that could run code when read; "
            "use a .safetensors file"
        ) from None
    except PICKLE_ERRORS:
        raise CheckpointError(f"{path} is not a readable torch file; get the file again") from None
    state = data.get("state_dict", data) if isinstance(data, dict) else None
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds no state_dict; use a checkpoint of a model")
    weights = {str(k): LazyTensor.of(v) for k, v in state.items() if isinstance(v, Tensor)}
    for name, tensor in state.items():
        if isinstance(tensor, Tensor) and not _has_values(tensor):
            raise CheckpointError(
                f"{path} holds no values for {shown(name)}, or not one for each place; get the file again"
            )
    config = data.get("model_config")
    return TensorFile(weights, config=config if isinstance(config, dict) else None)


def _has_values(tensor: Tensor) -> bool:
    """Return whether a tensor of a file is dense, and its values lie in the file: on no "meta" device, none repeated."""
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write_json(path: Path, data: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(json.dumps(data, indent=2).encode() + b"\n")


def write_safetensors(
    path: Path, weights: Weights, metadata: Mapping[str, str] | None = None
) -> None:
    """Write the tensors in their own dtypes, those of whole cache lines first, then wide types first.

    So nearly every tensor is aligned, and mapped when it is loaded. `metadata` goes into the header.
    """
    names = sorted(weights, key=lambda name: (*_misalignment(weights[name]), name))
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as file:
        file.write(safetensors_header([(name, weights[name]) for name in names], metadata))
        for name in names:
            flat = weights[name].read().contiguous().flatten()
            file.write(flat.view(torch.uint8).numpy().data)


def _misalignment(tensor: LazyTensor) -> tuple[bool, int]:
    """Return how much a tensor displaces those behind it in a file, as a sort key."""
    return tensor.num_bytes % ALIGNMENT > 0, -tensor.dtype.itemsize


def safetensors_header(
    tensors: list[tuple[str, LazyTensor]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Length and JSON of a file that holds the tensors in this order."""
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"} | dict(metadata or {})}
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


def find_component(folder: Path, stem: str, variant: str | None = None) -> Path:
    """The weights file or the index of shards: the named variant, the plain name, any variant. Raises CheckpointError."""
    wanted = variant_files(folder, stem, variant) if variant else []
    if wanted:
        return wanted[0]
    patterns = (
        f"{stem}.safetensors",
        f"{stem}.safetensors.index.json",
        f"{stem}*.index*.json",
        f"{stem}.*.safetensors",
        f"{stem}*.bin",
    )
    for pattern in patterns:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if found:
            return found[0]
    raise CheckpointError(f"{folder} holds no weights; {patterns[0]} is needed there")


def variant_files(folder: Path, stem: str, variant: str | None) -> list[Path]:
    """Return the files of a component under a variant's name, such as `model.fp16.safetensors`; None: the plain name."""
    mark = f".{variant}" if variant else ""
    names = (
        f"{stem}{mark}.safetensors",
        f"{stem}.safetensors.index{mark}.json",
        f"{stem}{mark}.bin",
        f"{stem}.bin.index{mark}.json",
    )
    return [folder / name for name in names if (folder / name).is_file()]


def component_files(path: Path) -> tuple[Path, ...]:
    """Return the files behind what `find_component` returned: the file itself, or the shards that an index lists."""
    if path.suffix != ".json":
        return (path,)
    index = read_json(path).get("weight_map")
    names = list(index.values()) if isinstance(index, dict) else []
    # an index from elsewhere must not point out of its folder
    if not names or not all(isinstance(name, str) and _is_file_name(name) for name in names):
        raise CheckpointError(f"{path} is no index of shards; get the file again")
    return tuple(path.with_name(name) for name in sorted(set(names)))


def _is_file_name(name: str) -> bool:
    """Return whether a text names a file within a folder, and is no longer and no other than file systems take."""
    is_name = Path(name).name == name not in ("", "..")
    return is_name and name.isprintable() and len(name.encode()) <= 255


def read_component(path: Path) -> Weights:
    """All tensors of what `find_component` returned."""
    weights: Weights = {}
    for file in component_files(path):
        weights |= read_tensor_file(file).weights
    return weights


def read_component_file(path: Path) -> TensorFile:
    """The same, with the config that a pickled checkpoint may hold."""
    if path.suffix == ".json":
        return TensorFile(read_component(path))
    return read_tensor_file(path)


def write_component(
    folder: Path, stem: str, weights: Weights, variant: str | None, max_bytes: int
) -> None:
    """Write the tensors into one file, or into shards with an index if they take more than `max_bytes`.

    Older weights of the same variant are removed.
    """
    mark = f".{variant}" if variant else ""
    parts = list(_parts(weights, max_bytes))
    names = [f"{stem}{mark}.safetensors"]
    if len(parts) > 1:
        count = len(parts)
        names = [f"{stem}{mark}-{i + 1:05d}-of-{count:05d}.safetensors" for i in range(count)]
    for name, part in zip(names, parts, strict=True):
        write_safetensors(folder / name, part)
    index = folder / f"{stem}.safetensors.index{mark}.json"
    if len(parts) > 1:
        size = sum(t.numel * t.dtype.itemsize for t in weights.values())
        places = {n: name for name, part in zip(names, parts, strict=True) for n in part}
        write_json(index, {"metadata": {"total_size": size}, "weight_map": places})
        names.append(index.name)
    _remove_older(folder, stem, variant, names)


def _parts(weights: Weights, max_bytes: int) -> Iterator[Weights]:
    """The tensors in their order, in parts of at most `max_bytes`; a larger tensor is a part of its own."""
    part: Weights = {}
    size = 0
    for name, tensor in weights.items():
        added = tensor.numel * tensor.dtype.itemsize
        if part and size + added > max_bytes:
            yield part
            part, size = {}, 0
        part[name] = tensor
        size += added
    yield part


def _remove_older(folder: Path, stem: str, variant: str | None, kept: list[str]) -> None:
    mark = re.escape(f".{variant}" if variant else "")
    weights = rf"{re.escape(stem)}{mark}(-\d+-of-\d+)?\.(safetensors|bin)"
    index = rf"{re.escape(stem)}\.(safetensors|bin)\.index{mark}\.json"
    for path in folder.iterdir():
        if re.fullmatch(f"{weights}|{index}", path.name) and path.name not in kept:
            path.unlink()
