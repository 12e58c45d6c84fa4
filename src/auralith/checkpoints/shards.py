"""Weights of one component folder: a single file, a variant such as `.fp16`, or shards with an index."""

import re
from collections.abc import Iterator
from pathlib import Path

from auralith.checkpoints.reading import TensorFile, Weights, read_json, read_tensor_file
from auralith.checkpoints.writing import write_json, write_safetensors
from auralith.errors import CheckpointError


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
    """What `find_component` returned: the file itself, or the shards that an index lists."""
    if path.suffix != ".json":
        return (path,)
    index = read_json(path).get("weight_map")
    names = list(index.values()) if isinstance(index, dict) else []
    # an index from elsewhere must not point out of its folder
    if not names or any(not isinstance(name, str) or Path(name).name != name for name in names):
        raise CheckpointError(f"{path} is no index of shards; get the file again")
    return tuple(path.with_name(name) for name in sorted(set(names)))


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
