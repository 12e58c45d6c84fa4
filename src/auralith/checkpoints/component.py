"""One component of a diffusers folder by itself: its tensors under diffusers' names, to ours and back, and its files."""

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from auralith.checkpoints.diffusers_folder import STEM
from auralith.checkpoints.hub import HubOptions, fetch_component, is_repository
from auralith.checkpoints.transform import (
    check_weights,
    completed,
    from_diffusers,
    to_diffusers,
    to_ours,
    to_single_file,
    with_new_weight_norm,
    with_old_weight_norm,
)
from auralith.errors import CheckpointError
from auralith.families.family import Spec
from auralith.foreign import Json, read_json
from auralith.models.lazy_tensor import Weights, weights_of
from auralith.tensor_files import read_component, variant_files, write_component, write_json

CONFIG = "config.json"
# components → where the names of their tensors begin with us
OURS = {"transformer": "dit.", "vae": "autoencoder.", "projection_model": "numbers."}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B", re.IGNORECASE)


class MissingComponent(CheckpointError, OSError):
    """Raised if a component's folder lacks weights of the variant; an OSError to programs written for diffusers."""


def component_weights(component: str, state: Mapping[str, Tensor], spec: Spec) -> Weights:
    """The tensors of one of our networks under diffusers' names. Raises CheckpointError if it can't express one."""
    ours = weights_of({OURS[component] + name: tensor for name, tensor in state.items()})
    theirs = to_diffusers(to_single_file(with_old_weight_norm(ours), spec), spec)
    return {name.removeprefix(f"{component}."): tensor for name, tensor in theirs.items()}


def component_state(
    component: str, found: Weights, state: Mapping[str, Tensor], spec: Spec, where: object
) -> Weights:
    """Tensors with diffusers' names under those of our network, whose own `state` says what is expected.

    Weight norm is folded unless the network has it, too. Raises CheckpointError unless every tensor fits.
    """
    expected = component_weights(component, state, spec)
    found = with_old_weight_norm({f"{component}.{name}": t for name, t in found.items()})
    check_weights(found, {f"{component}.{name}": t for name, t in expected.items()}, where)
    published = completed(from_diffusers(found, spec), spec, where)
    plain = any(name.endswith("conv_in.weight") for name in state)
    ours = with_new_weight_norm(to_ours(published, spec, folded=plain))
    return {name: ours[OURS[component] + name] for name in state}


def find_folder(source: str | Path, subfolder: str | None, hub: HubOptions) -> Path | None:
    """The folder of a component with its config, local or from the Hub; None if the source is of another layout."""
    path = Path(source).expanduser()
    if not path.exists() and is_repository(str(source)):
        path = fetch_component(str(source), subfolder or "", STEM, hub)
    folder = path / (subfolder or "")
    return folder if (folder / CONFIG).is_file() else None


def read_folder(folder: Path, variant: str | None) -> tuple[Json, Weights]:
    """Config and tensors of a component. Raises CheckpointError, and MissingComponent without that variant."""
    names = variant_files(folder, STEM, variant)
    if not names:
        raise MissingComponent(
            f"Error no file named {STEM}.bin found in directory {folder}, nor {STEM}.safetensors"
            + (f" of the variant {variant}" if variant else "; name the variant of its files")
        )
    return read_json(folder / CONFIG), read_component(names[0])


def write_folder(
    folder: Path, config: Json, weights: Weights, variant: str | None, max_shard_size: int | str
) -> None:
    """Write a component with its config; files of the same variant that are there already are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    write_component(folder, STEM, weights, variant, _bytes(max_shard_size))
    write_json(folder / CONFIG, config)


def _bytes(size: int | str) -> int:
    """Bytes of a size such as "10GB" (decimal) or "512MiB" (binary)."""
    if isinstance(size, int) and size > 0:
        return size
    match = SIZE.fullmatch(str(size).strip())
    if match is None:
        raise CheckpointError(f"max_shard_size is {size!r:.80}; write it like 10GB")
    number, power, binary = match.groups()
    base = 1024 if binary else 1000
    return int(float(number) * base ** " KMGT".index(power.upper() or " "))
