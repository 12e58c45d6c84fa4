"""Weights of one component folder: a single file, a variant such as `.fp16`, or shards with an index."""

from pathlib import Path

from auralith.checkpoints.reading import TensorFile, Weights, read_json, read_tensor_file
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


def variant_files(folder: Path, stem: str, variant: str) -> list[Path]:
    """What a component has under the name of a variant, such as `model.fp16.safetensors`."""
    names = (
        f"{stem}.{variant}.safetensors",
        f"{stem}.safetensors.index.{variant}.json",
        f"{stem}.{variant}.bin",
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
