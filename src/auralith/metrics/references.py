"""Published references, read without running anything that stands in them.

Means and covariances come as `.npz`, read without pickles. Probabilities by id come as pickles, which may call any
function when Python reads them. Here a pickle may name three things only: the function that puts a tensor together, the
ordered dictionary that goes with it, and a storage, whose bytes torch reads as weights alone. They are read once and
kept as safetensors.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.errors import CheckpointError, shown
from auralith.escaping import one_line
from auralith.files import whole_file
from auralith.foreign import NPY_ERRORS, PICKLE_ERRORS
from auralith.metrics.gaussian import Gaussian
from auralith.tensor_files import read_safetensors

MOST_DIMS = 16_384
_MOST_NPZ_BYTES = 4 << 30
_SYMMETRY = 1e-6
"""Largest difference of a covariance from its transpose, relative to its largest value."""


def read_statistics(
    path: Path, mean: str = "mu_ref", covariance: str = "sigma_ref", count: int | None = None
) -> Gaussian:
    """Return the distribution in an `.npz` file, whose arrays have these names; `count` is the number of its frames.

    Raises:
        CheckpointError: there is no such file, it is damaged, or an array is missing or not a mean or covariance.
    """
    arrays = _read_arrays(path, (mean, covariance))
    mu, sigma = (np.asarray(arrays[name], np.float64) for name in (mean, covariance))
    largest = np.abs(sigma).max(initial=0.0)
    if (
        mu.ndim != 1
        or sigma.shape != (len(mu), len(mu))
        or not (np.isfinite(mu).all() and np.isfinite(sigma).all())
        or np.abs(sigma - sigma.T).max(initial=0.0) > _SYMMETRY * largest
    ):
        raise CheckpointError(
            f"{path}: {mean} and {covariance} are not a mean and a covariance; get the file again"
        )
    return Gaussian(mu, (sigma + sigma.T) / 2, count)


def _read_arrays(path: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    wanted = tuple(names)
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        if sum(sizes.get(f"{name}.npy", 0) for name in wanted) > _MOST_NPZ_BYTES:
            raise CheckpointError(f"{path} unpacks to more than 4 GiB; get the file again")
        if missing := [name for name in wanted if f"{name}.npy" not in sizes]:
            known = ", ".join(shown(name.removesuffix(".npy")) for name in list(sizes)[:12])
            raise CheckpointError(f"{path} has no array {shown(missing[0])} (it has {known})")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in wanted}
    except (zipfile.BadZipFile, NotImplementedError, *NPY_ERRORS) as error:
        raise CheckpointError(
            f"{path} is not an .npz file of arrays ({one_line(str(error), 200)}); get it again"
        ) from error
    if not all(array.dtype.kind in "fiu" for array in arrays.values()):
        raise CheckpointError(f"{path} holds something else than numbers; get the file again")
    return arrays


def convert_probabilities(pickled: Path, path: Path) -> int:
    """Write the probabilities in a published pickle as safetensors, and return the number of ids.

    Raises:
        CheckpointError: the pickle is missing or damaged, or names something that could run.
        ResourceError: the file can't be written.
    """
    from safetensors.torch import save

    rows = read_pickled_probabilities(pickled)
    with whole_file(path) as file:
        file.write(save(rows))
    return len(rows)


def read_probabilities(path: Path) -> dict[str, Float[np.ndarray, " class"]]:
    """Return the probabilities by id that `convert_probabilities` wrote. Raises `CheckpointError` if it is not such a file."""
    rows = {id: tensor.read() for id, tensor in read_safetensors(path).items()}
    _check_rows(path, rows)
    return {id: row.numpy() for id, row in rows.items()}


def read_pickled_probabilities(path: Path) -> dict[str, Tensor]:
    """Return the rows of a pickle of `{id: tensor}`, float32, by id as text. Raises as `convert_probabilities`."""
    try:
        with path.open("rb") as file:
            found = _Tensors(file).load()
    except PICKLE_ERRORS as error:
        raise CheckpointError(
            f"{path} is not a pickle of probabilities alone ({one_line(str(error), 200)}); get it again"
        ) from error
    if not isinstance(found, dict) or not all(isinstance(id, str | int) for id in found):
        raise CheckpointError(f"{path} holds no probabilities by id; get the file again")
    rows = {str(id): row for id, row in found.items()}
    if len(rows) != len(found):
        raise CheckpointError(f"{path} has one id as a number and as text; get the file again")
    _check_rows(path, rows)
    return {id: row.contiguous().clone() for id, row in rows.items()}


def _check_rows(path: Path, rows: Mapping[str, object]) -> None:
    shapes = {tuple(row.shape) for row in rows.values() if isinstance(row, Tensor)}
    if len(shapes) != 1 or not all(map(_is_row, rows.values())):
        raise CheckpointError(
            f"{path} holds something else than a row of float32 for each id; get the file again"
        )


def _is_row(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float32 and value.ndim == 1


class _Tensors(pickle.Unpickler):
    """Reads what `pickle.dump` makes of dictionaries of tensors, and refuses every other name."""

    def find_class(self, module: str, name: str, /) -> Any:
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch.storage", "_load_from_bytes"): _storage,
            ("collections", "OrderedDict"): OrderedDict,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it names {shown(f'{module}.{name}')}")
        return known[module, name]


def _storage(content: bytes) -> Any:
    """Return the storage in bytes that torch saved, read as weights alone."""
    found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(found, torch.TypedStorage):
        raise pickle.UnpicklingError("it has something else in the place of a storage")
    return found


def _tensor(
    storage: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> Tensor:
    """Return a view of a storage; torch's own function would enlarge a storage that is too small."""
    if not isinstance(storage, torch.TypedStorage):
        raise pickle.UnpicklingError("it has something else in the place of a storage")
    whole = torch.empty(0, dtype=storage.dtype).set_(storage)
    return torch.as_strided(whole, size, stride, offset)
