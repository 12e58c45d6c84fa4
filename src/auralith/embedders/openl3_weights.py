"""Published weights of OpenL3: a Keras file (HDF5, gzipped), read as data alone, or the same tensors as safetensors.

A Keras file lists its layers in the order of the network; that of openl3 0.4 holds the network alone, older ones also
tables of a front end, and are refused. Links out of the file, which HDF5 allows, are not followed.
"""

import gzip
import io
import re
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from auralith.embedders.embedder import load_strictly
from auralith.embedders.openl3 import OpenL3, OpenL3Network
from auralith.errors import CheckpointError, shown
from auralith.extras import LazyModule
from auralith.models.lazy_tensor import LazyTensor, Weights, weights_of
from auralith.tensor_files import read_safetensors, write_safetensors
from auralith.weights import find_weights

if TYPE_CHECKING:
    import h5py
else:
    h5py = LazyModule("h5py", "evaluate")

MOST_BYTES = 100_000_000
"""Size that an unpacked file may have; the published ones have 19 MB."""
_KERAS = re.compile(r"\.(h5|hdf5)(\.gz)?$")
_WANTED = "get openl3_audio_mel256_…-v0_4_0.h5.gz"
_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_CONVOLUTION = {"kernel": "weight", "bias": "bias"}
_LAYERS = (
    (re.compile(r"batch_normalization(_\d+)?"), "batch_normalization_{}", _NORM),
    (re.compile(r"conv2d(_\d+)?"), "conv2d_{}", _CONVOLUTION),
    (re.compile(r"audio_embedding_layer"), "audio_embedding_layer", _CONVOLUTION),
)


def open_openl3(
    name: str, weights: Path | None, device: torch.device, dtype: torch.dtype
) -> OpenL3:
    """Return OpenL3 at its defaults. Raises CheckpointError, and MissingExtra for HDF5 without h5py."""
    found = find_weights(name, weights)
    network = read_openl3(found.path)
    return OpenL3(name, network, device=device, dtype=dtype, origin=found.origin)


def read_openl3(path: Path) -> OpenL3Network:
    """Return the network with the weights of a `.h5.gz`, `.h5` or `.safetensors` file. Raises as `open_openl3`."""
    is_keras = _KERAS.search(path.name) is not None
    found = _renamed(path, _layers(path)) if is_keras else read_safetensors(path)
    with torch.device("meta"):
        network = OpenL3Network()
    load_strictly(network, found, path, "OpenL3 mel256")
    return network


def convert_openl3(source: Path) -> Path:
    """Write the weights of a Keras file as safetensors beside it, which need no h5py. Raises as `open_openl3`."""
    stem, is_keras = _KERAS.subn("", source.name)
    if not is_keras:
        raise CheckpointError(f"{source} is not a Keras file; only those of OpenL3 are converted")
    state, target = read_openl3(source).state_dict(), source.with_name(f"{stem}.safetensors")
    write_safetensors(target, weights_of(state))
    return target


Layer = tuple[str, dict[str, Tensor]]
"""The name of a Keras layer and its tensors, without those of no weights."""


def _renamed(path: Path, layers: list[Layer]) -> Weights:
    """Return the tensors under our names: layers are counted from 1, wherever Keras's own count began."""
    weights: Weights = {}
    counts = [0] * len(_LAYERS)
    for name, tensors in layers:
        kind = next((i for i, (form, *_) in enumerate(_LAYERS) if form.fullmatch(name)), None)
        if kind is None or tensors.keys() != _LAYERS[kind][2].keys():
            raise CheckpointError(
                f"{path} holds the layer {shown(name)}, which is not of openl3 0.4; {_WANTED}"
            )
        counts[kind] += 1
        _, ours, names = _LAYERS[kind]
        for theirs, tensor in tensors.items():
            # Keras has (height, width, in, out)
            value = tensor.permute(3, 2, 0, 1).contiguous() if tensor.ndim == 4 else tensor
            weights[f"{ours.format(counts[kind])}.{names[theirs]}"] = LazyTensor.of(value)
    return weights


def _layers(path: Path) -> list[Layer]:
    data = _unpacked(path)
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            return [layer for layer in _read_layers(file) if layer[1]]
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        raise CheckpointError(f"{path} is not a readable Keras file ({error}); {_WANTED}") from None


def _unpacked(path: Path) -> bytes:
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CheckpointError(f"{path} can't be read: {error}; {_WANTED}") from None
    if len(data) > MOST_BYTES:
        raise CheckpointError(f"{path} unpacks to more than {MOST_BYTES:,} bytes; {_WANTED}")
    return data


def _read_layers(file: "h5py.File") -> Iterator[Layer]:
    for name in _texts(file.attrs["layer_names"]):
        group = _inside(file, name, h5py.Group)
        tensors = _texts(group.attrs["weight_names"])
        yield name, {_basename(tensor): _values(group, tensor) for tensor in tensors}


def _texts(values: Any) -> list[str]:
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _basename(weight: str) -> str:
    return PurePosixPath(weight).name.removesuffix(":0")


def _values(group: "h5py.Group", name: str) -> Tensor:
    data = _inside(group, name, h5py.Dataset)
    if data.external or data.is_virtual or data.dtype.kind != "f" or data.size > MOST_BYTES // 4:
        raise ValueError(f"{name[:60]!r} is not a plain array of floats")
    return torch.from_numpy(data[()].astype("float32"))


def _inside(group: "h5py.Group", name: str, kind: Any) -> Any:
    """Return a member whose path has no links but hard ones: others may lead to other files."""
    member: Any = group
    for part in PurePosixPath(name).parts:
        if not isinstance(member.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{name[:60]!r} is a link")
        member = member[part]
    if not isinstance(member, kind):
        raise ValueError(f"{name[:60]!r} is of another kind")
    return member
