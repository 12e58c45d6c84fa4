"""Adapters as files: low-rank changes of a model's weights, and what they were trained on.

Ours is one safetensors file. For every projection NAME (a module of our `DiT`) it holds `NAME.lora_A.weight`,
`NAME.lora_B.weight` and, for DoRA, `NAME.lora_magnitude_vector`; `AdapterMetadata` stands in its header as JSON. Files
and folders of other programs are read by `adapter_import`. Reading needs neither peft nor the model: here an adapter
only has to agree with itself, with a model in `adapter_changes`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from safetensors.torch import save
from torch import Tensor

from auralith import __version__
from auralith.checkpoints.adapter_changes import Change, sizes
from auralith.checkpoints.adapter_import import (
    PEFT_CONFIG,
    foreign_files,
    header_of,
    looks_like_adapter,
    read_foreign,
)
from auralith.errors import CheckpointError, Field, InvalidRequest
from auralith.files import whole_file
from auralith.foreign import parse_json
from auralith.models.lazy_tensor import FLOATING, Weights
from auralith.numbers import check_integer, check_number
from auralith.settings import build_settings
from auralith.tensor_files import (
    PICKLE_SUFFIXES,
    read_safetensors,
    read_tensor_file,
    sha256_of,
)

FORMAT_VERSION = 1
KEY = "auralith_adapter"
A, B, MAGNITUDE = ".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector"
PROJECTIONS = (
    "self_attention.qkv",
    "self_attention.out",
    "cross_attention.q",
    "cross_attention.kv",
    "cross_attention.out",
    "feed_forward.up",
    "feed_forward.down",
)

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class AdapterConfig:
    """Settings of what is trained beside the frozen weights. Raises InvalidRequest for values out of range."""

    kind: Literal["lora", "dora"] = "lora"
    """lora: W + α/r·BA (arXiv 2106.09685); dora: its rows rescaled to trained lengths (arXiv 2402.09353)."""
    rank: int = 16
    """Rank of the adapter."""
    alpha: float = 16.0
    targets: tuple[str, ...] = PROJECTIONS
    """Names of projections, or ends of names after a dot."""
    dropout: float = 0.0
    """Before A, in training. Above 0 a resumed run is no longer equal bit for bit: its draws are torch's own."""

    def __post_init__(self) -> None:
        check_integer(self, "rank", 1)
        check_number(self, "alpha", above=0.0)
        check_number(self, "dropout", least=0.0, below=1.0)
        if not self.targets:
            raise InvalidRequest(
                Field("targets"), f" are empty; name projections such as {PROJECTIONS[0]}"
            )

    def targeted(self, name: str) -> bool:
        """Return whether a module of the transformer is one of the targets."""
        return any(name == target or name.endswith(f".{target}") for target in self.targets)


@dataclass(frozen=True)
class AdapterMetadata:
    """Metadata of an adapter. Names are never paths."""

    config: AdapterConfig
    base_model: str = ""
    base_hash: str = ""
    """`Checkpoint.model_hash` of the model it was trained on; empty if not known."""
    prompt_column: str = ""
    steps: int = 0
    auralith_version: str = __version__
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, eq=False)
class Adapter:
    """An adapter that agrees with itself; its values are still on disk."""

    path: Path
    program: str
    """Program that wrote it: Auralith, or one of `adapter_import.FORMS`."""
    changes: dict[str, Change]
    """By the names of the modules, as the file has them."""
    metadata: AdapterMetadata | None
    """None for adapters of other programs."""
    notes: tuple[str, ...]
    """Assumptions that had to be made, one line each."""
    file_hash: str
    num_bytes: int
    shapes: Shapes = field(repr=False)

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.resolve().name

    @property
    def kind(self) -> str:
        """Return what it does to weights; several kinds in one file are joined by commas."""
        return ", ".join(sorted({change.kind for change in self.changes.values()}))


def read_adapter(path: str | Path) -> Adapter:
    """An adapter from our file, or from a file or folder of another program (see `adapter_import`).

    Raises:
        CheckpointError: it is missing, damaged, no adapter, or its tensors are not those that its settings imply.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise CheckpointError(f"there is no adapter {path}; check the path")
    if place.is_dir():
        files = foreign_files(place)
        if files is None:
            raise CheckpointError(
                f"{place} holds no adapter: {PEFT_CONFIG} is missing; name a file"
            )
        return _foreign(place, files[0])
    if place.suffix == ".safetensors":
        weights = read_safetensors(place)
        if KEY in (header_of(place) or {}):
            return _own(place, _metadata(place), weights)
    return _foreign(place, place)


def may_be_adapter(path: Path) -> bool:
    """Return whether a file or folder announces an adapter, or is a safetensors file that is too damaged to tell."""
    if path.is_dir():
        return foreign_files(path) is not None
    if path.suffix == ".safetensors" and header_of(path) is None:
        return True
    if path.suffix not in (".safetensors", *PICKLE_SUFFIXES):
        return False
    try:
        names = read_tensor_file(path).weights
    except CheckpointError:
        return False
    return KEY in (header_of(path) or {}) or looks_like_adapter(names)


def write_adapter(
    path: str | Path, tensors: Mapping[str, Tensor], metadata: AdapterMetadata
) -> None:
    """Write tensors named as in a file, whole or not at all.

    Raises:
        CheckpointError: they are not the tensors that the metadata imply.
        ResourceError: the file can't be written.
    """
    _require(path, _shapes(tensors), _own_shapes(_shapes(tensors), metadata.config))
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = save(stored, {"format": "pt", KEY: json.dumps(asdict(metadata))})
    with whole_file(path) as file:
        file.write(data)


def adapter_shapes(config: AdapterConfig, projections: Mapping[str, tuple[int, int]]) -> Shapes:
    """Names and shapes of an adapter's tensors for projections of (out, in) features."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (features_out, features_in) in projections.items():
        shapes[name + A] = (config.rank, features_in)
        shapes[name + B] = (features_out, config.rank)
        if config.kind == "dora":
            shapes[name + MAGNITUDE] = (features_out,)
    return shapes


def first_difference(found: Shapes, expected: Shapes) -> str | None:
    """The first missing, misshapen or unexpected tensor in words."""
    for name, shape in expected.items():
        if name not in found:
            return f"{name!r} is missing"
        if found[name] != shape:
            return f"{name!r} is {sizes(found[name])}, not {sizes(shape)}"
    return next((f"{name!r:.120} is unexpected" for name in found if name not in expected), None)


def _own(path: Path, metadata: AdapterMetadata, weights: Weights) -> Adapter:
    config, shapes = metadata.config, {name: tensor.shape for name, tensor in weights.items()}
    _require(path, shapes, _own_shapes(shapes, config))
    for name, tensor in weights.items():
        if tensor.dtype not in FLOATING:
            raise CheckpointError(f"{path}: {name!r} is {tensor.dtype}, not floating point")
    scale = config.alpha / config.rank
    changes = {
        name: Change(
            config.rank,
            config.alpha,
            scale,
            a=weights[name + A],
            b=weights[name + B],
            rows=weights.get(name + MAGNITUDE),
        )
        for name in _modules(shapes)
    }
    return _adapter(path, "Auralith", changes, metadata, (), weights, (path,))


def _foreign(path: Path, file: Path) -> Adapter:
    found = read_foreign(file)
    if found is None:
        raise CheckpointError(
            f"{file} is no adapter: its header has no {KEY}, and its tensors are not those of a LoRA "
            "by LoRAW, Stable Audio 3, peft, diffusers or kohya; name the adapter's own file"
        )
    foreign, weights, files = found
    return _adapter(path, foreign.program, foreign.changes, None, foreign.notes, weights, files)


def _adapter(
    path: Path,
    program: str,
    changes: dict[str, Change],
    metadata: AdapterMetadata | None,
    notes: tuple[str, ...],
    weights: Weights,
    files: tuple[Path, ...],
) -> Adapter:
    num_bytes = sum(file.stat().st_size for file in files)
    shapes = {name: tensor.shape for name, tensor in weights.items()}
    return Adapter(path, program, changes, metadata, notes, sha256_of(files), num_bytes, shapes)


def _require(path: str | Path, found: Shapes, expected: Shapes) -> None:
    problem = first_difference(found, expected) if found else "it holds no tensors"
    if problem:
        raise CheckpointError(f"{path} is no whole adapter: {problem}; get the file again")


def _own_shapes(found: Shapes, config: AdapterConfig) -> Shapes:
    """Return the shapes that the tensors must have, given the projections that they name."""
    sizes = {
        name: (_size(found.get(name + B), 0), _size(found.get(name + A), 1))
        for name in _modules(found)
    }
    return adapter_shapes(config, sizes)


def _modules(found: Shapes) -> list[str]:
    ends = ((name, end) for name in found for end in (A, B, MAGNITUDE) if name.endswith(end))
    return list(dict.fromkeys(name.removesuffix(end) for name, end in ends))


def _shapes(tensors: Mapping[str, Tensor]) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _size(shape: tuple[int, ...] | None, axis: int) -> int:
    return shape[axis] if shape is not None and len(shape) == 2 else 0


def _metadata(path: Path) -> AdapterMetadata:
    text = (header_of(path) or {})[KEY]
    try:
        data = parse_json(text)
    except ValueError:
        raise CheckpointError(f"{path} is damaged: {KEY} is not JSON; get the file again") from None
    if not isinstance(data, dict) or data.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has another adapter format than {FORMAT_VERSION}; it needs another version of auralith"
        )
    try:
        return build_settings(AdapterMetadata, data)
    except InvalidRequest as error:
        raise CheckpointError(f"{path} has unusable metadata: {error}") from error
