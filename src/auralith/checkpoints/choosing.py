"""Find the weights and the config of a folder or repository that belong together, under whatever names they have.

Fine-tunes are shared as `my_finetune_e12.safetensors` or `epoch=3-step=9000.ckpt` beside a `model_config.json`. One
file of weights is taken as it is; of several one has to be named.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from auralith.errors import CheckpointError
from auralith.foreign import read_json
from auralith.tensor_files import PICKLE_SUFFIXES

CONFIG_NAME = "model_config.json"
EXPORT_MANIFEST = "auralith_export.json"
"""Lies in the folder of an export (`auralith.exports`), which holds no checkpoint."""
INDEX_NAME = "model_index.json"
WEIGHTS_NAMES = ("model.safetensors", "model.ckpt")
WEIGHTS_SUFFIXES = (".safetensors", *PICKLE_SUFFIXES)
INDEX_SUFFIX = ".safetensors.index.json"
SHARD = re.compile(r"-\d+-of-\d+\.(safetensors|bin)")
# what trainers put beside weights
STATES = ("optimizer", "scheduler", "training_args", "rng_state")
MAX_CONFIG_BYTES = 10_000_000
LISTED = 12


@dataclass(frozen=True)
class Files:
    """The weights file and the config that were named; None: find them."""

    weights: str | None = None
    config: str | Path | None = None


FOUND = Files()


def find_weights(path: Path, wanted: str | None, variant: str | None) -> Path:
    """Return the weights that a path on disk means, or the folder itself where it has the diffusers layout.

    A config stands for the folder that it lies in, as on the model card. In a folder `wanted` is taken if it is named;
    else, in this order, the published names (safetensors before pickle), the diffusers layout, and the only weights
    that there are. With a `variant` of the diffusers layout that layout comes first. Raises CheckpointError.
    """
    if path.is_file() and path.name != CONFIG_NAME:
        return path
    folder = path if path.is_dir() else path.parent
    if wanted is None:
        published = (folder / name for name in WEIGHTS_NAMES if (folder / CONFIG_NAME).is_file())
        single_file = None if variant else next((p for p in published if p.is_file()), None)
        if single_file is not None:
            return single_file
        if (folder / INDEX_NAME).is_file() or is_component(folder):
            return folder
    return folder / choose_weights(_files_in(folder, wanted), wanted, folder)


def is_component(folder: Path) -> bool:
    """Return whether a folder is a component of the diffusers layout by itself: one whose config names a class."""
    config = folder / "config.json"
    return config.is_file() and "_class_name" in read_json(config)


def _files_in(folder: Path, wanted: str | None) -> list[str]:
    """Return the names of the files in a folder, and of one below it that was asked for."""
    names = [path.name for path in folder.iterdir() if path.is_file()]
    below = wanted is not None and ".." not in Path(wanted).parts and not Path(wanted).is_absolute()
    return [*names, wanted] if wanted and below and (folder / wanted).is_file() else names


def choose_weights(names: Iterable[str], wanted: str | None, where: object) -> str:
    """The weights among the names of files, relative to `where`. Raises CheckpointError if none or several could be meant."""
    every = list(names)
    if wanted is not None:
        name = PurePosixPath(wanted).as_posix()
        if name in every and is_weights(name):
            return name
        raise CheckpointError(f"{where} has no weights {wanted!r:.120}; {_offer(every)}")
    found = _at_top(every)
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointError(
            f"{where} holds several weights; name one with --weights (weights= in Python): {_list(found)}"
        )
    shards = any(SHARD.search(name) for name in every)
    missing = f"shards without their {INDEX_SUFFIX}" if shards else "0 weights files"
    raise CheckpointError(
        f"{where} holds {missing}, and no model.safetensors with {CONFIG_NAME} nor model_index.json; {_offer(every)}"
    )


def is_weights(name: str) -> bool:
    """Return whether a name is that of weights: a file, or the index of shards."""
    return name.endswith((*WEIGHTS_SUFFIXES, INDEX_SUFFIX))


def config_names(weights: str) -> list[str]:
    """`model.ckpt` → `model_config.json`, `vae_model.ckpt` → `vae_config.json`, any file → `model_config.json`."""
    stem = PurePosixPath(weights.removesuffix(INDEX_SUFFIX)).name
    if not weights.endswith(INDEX_SUFFIX):
        stem = PurePosixPath(weights).stem
    names = (f"{stem}_config.json", f"{stem.removesuffix('_model')}_config.json", f"{stem}.json")
    return list(dict.fromkeys((*names, CONFIG_NAME)))


def find_config(weights: Path, wanted: str | Path | None) -> Path | None:
    """The config of a weights file: the one named, one with a usual name beside it, or the only one beside it.

    Raises CheckpointError if the one named is missing, or if several could be meant.
    """
    if wanted is not None:
        places = (Path(wanted).expanduser(), weights.parent / wanted)
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            raise CheckpointError(f"there is no config {wanted}; check the path")
        return found
    for name in config_names(weights.name):
        if weights.with_name(name).is_file():
            return weights.with_name(name)
    others = sorted(path for path in weights.parent.glob("*.json") if _is_config(path))
    if len(others) > 1:
        names = _list([path.name for path in others])
        raise CheckpointError(
            f"{weights} has several configs beside it; name one with --config (config= in Python): {names}"
        )
    return others[0] if others else None


def _is_config(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size > MAX_CONFIG_BYTES:
        return False
    try:
        data = read_json(path)
    except CheckpointError:
        return False
    return isinstance(data.get("model_type"), str) and isinstance(data.get("model"), dict)


def _at_top(names: Sequence[str]) -> list[str]:
    """Weights that could be the model: no shards, no optimizer states, a pickle only without its safetensors."""
    top = [n for n in names if is_weights(n) and "/" not in n and not n.startswith((".", *STATES))]
    whole = [name for name in top if not SHARD.search(name)]
    stems = {PurePosixPath(name).stem for name in whole if name.endswith(".safetensors")}
    return sorted(n for n in whole if n.endswith((".safetensors", ".json")) or PurePosixPath(n).stem not in stems)  # fmt: skip


def _offer(names: Sequence[str]) -> str:
    found = sorted(name for name in names if is_weights(name) and not SHARD.search(name))
    return f"there are {_list(found)}" if found else "name a folder or file with weights"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(f"{name:.80}" for name in names[:LISTED])
    more = len(names) - LISTED
    return f"{shown} and {more} more" if more > 0 else shown
