"""Adapters as files: low-rank changes of a transformer's projections, and what they were trained on.

An adapter is one safetensors file. For every projection NAME (a module of our `DiT`) it holds `NAME.lora_A.weight`,
`NAME.lora_B.weight` and, for DoRA, `NAME.lora_magnitude_vector`; `AdapterMetadata` stands in its header as JSON. The
names are those of peft, so a folder that peft wrote for our transformer is read by the same code. Reading a file needs
neither peft nor the model: here an adapter only has to agree with itself, with a model in `adapters`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import safetensors
import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from auralith import __version__
from auralith.checkpoints.reading import (
    FLOATING,
    LazyTensor,
    Weights,
    read_json,
    read_safetensors,
    sha256_of,
)
from auralith.errors import CheckpointError, InvalidRequest
from auralith.files import whole_file
from auralith.settings import build_settings

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

PEFT_CONFIG, PEFT_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PEFT_PREFIX = "base_model.model."
# keys of peft's config that say nothing about what the tensors mean, or are understood below
PEFT_KEYS = {
    *("auto_mapping", "base_model_name_or_path", "inference_mode", "revision", "task_type"),
    *("peft_type", "peft_version", "megatron_core", "qalora_group_size", "runtime_config"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),
    *("r", "lora_alpha", "lora_dropout", "use_dora", "use_rslora", "init_lora_weights", "bias"),
}

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class AdapterConfig:
    """What is trained beside the frozen weights. Raises InvalidRequest for values out of range."""

    kind: Literal["lora", "dora"] = "lora"
    """lora: W + α/r·BA (arXiv 2106.09685); dora: its rows rescaled to trained lengths (arXiv 2402.09353)."""
    rank: int = 16
    alpha: float = 16.0
    targets: tuple[str, ...] = PROJECTIONS
    """Names of projections, or ends of names after a dot."""
    dropout: float = 0.0
    """Before A, in training. Above 0 a resumed run is no longer equal bit for bit: its draws are torch's own."""

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise InvalidRequest(f"rank is {self.rank}; it must be at least 1")
        if not math.isfinite(self.alpha) or self.alpha <= 0:
            raise InvalidRequest(f"alpha is {self.alpha:g}; it must be above 0")
        if not 0 <= self.dropout < 1:
            raise InvalidRequest(f"dropout is {self.dropout:g}; it must be from 0 to below 1")
        if not self.targets:
            raise InvalidRequest(f"targets are empty; name projections such as {PROJECTIONS[0]}")

    def targeted(self, name: str) -> bool:
        """Whether a module of the transformer is one of the targets."""
        return any(name == target or name.endswith(f".{target}") for target in self.targets)


@dataclass(frozen=True)
class AdapterMetadata:
    """What an adapter says of itself. Names are never paths."""

    config: AdapterConfig
    base_model: str = ""
    base_hash: str = ""
    """`Checkpoint.model_hash` of the model it was trained on; empty if not known."""
    prompt_column: str = ""
    steps: int = 0
    auralith_version: str = __version__
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True, eq=False)
class Factors:
    """The change of one projection, still in its file."""

    a: LazyTensor
    b: LazyTensor
    magnitude: LazyTensor | None
    scale: float
    """α/r."""

    def change(self, weight: Float[Tensor, "out in"]) -> Float[Tensor, "out in"]:
        """What the adapter at full strength adds to a float32 weight.

        LoRA: α/r·BA. DoRA: m·V/‖V‖ − W with V = W + α/r·BA, norms over rows (equation 5; a row of zeros stays zero).
        """
        low_rank = (self.scale * self.b.read().float()) @ self.a.read().float()
        if self.magnitude is None:
            return low_rank
        directed = weight + low_rank
        norms = torch.linalg.vector_norm(directed, dim=1)
        lengths = torch.where(norms > 0, self.magnitude.read().float() / norms, 0.0)
        return lengths.unsqueeze(1) * directed - weight


@dataclass(frozen=True, eq=False)
class Adapter:
    """An adapter that agrees with its own metadata; its values are still on disk."""

    path: Path
    metadata: AdapterMetadata
    projections: dict[str, Factors]
    file_hash: str
    num_bytes: int
    shapes: Shapes = field(repr=False)

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.resolve().name


def read_adapter(path: str | Path) -> Adapter:
    """An adapter from our file or from a folder that peft wrote.

    Raises:
        CheckpointError: it is missing, damaged, no adapter, or its tensors are not those that its metadata imply.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise CheckpointError(f"there is no adapter {path}; check the path")
    if place.is_dir():
        return _read_peft_folder(place)
    weights = read_safetensors(place)
    return _checked(place, (place,), _metadata(place), weights)


def may_be_adapter(path: Path) -> bool:
    """Whether a file or folder announces an adapter, or is a safetensors file that is too damaged to tell."""
    if path.is_dir():
        return (path / PEFT_CONFIG).is_file()
    if path.suffix != ".safetensors":
        return False
    header = _header(path)
    return header is None or KEY in header


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
            return f"{name!r} is {_sizes(found[name])}, not {_sizes(shape)}"
    return next((f"{name!r:.120} is unexpected" for name in found if name not in expected), None)


def _checked(
    path: Path, files: tuple[Path, ...], metadata: AdapterMetadata, weights: Weights
) -> Adapter:
    config, shapes = metadata.config, {name: tensor.shape for name, tensor in weights.items()}
    _require(path, shapes, _own_shapes(shapes, config))
    for name, tensor in weights.items():
        if tensor.dtype not in FLOATING:
            raise CheckpointError(f"{path}: {name!r} is {tensor.dtype}, not floating point")
    projections = {
        name: Factors(
            weights[name + A],
            weights[name + B],
            weights.get(name + MAGNITUDE),
            config.alpha / config.rank,
        )
        for name in _modules(shapes)
    }
    num_bytes = sum(file.stat().st_size for file in files)
    return Adapter(path, metadata, projections, sha256_of(files), num_bytes, shapes)


def _require(path: str | Path, found: Shapes, expected: Shapes) -> None:
    problem = first_difference(found, expected) if found else "it holds no tensors"
    if problem:
        raise CheckpointError(f"{path} is no whole adapter: {problem}; get the file again")


def _own_shapes(found: Shapes, config: AdapterConfig) -> Shapes:
    """What the tensors must be, given the projections that they name."""
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


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _header(path: Path) -> dict[str, str] | None:
    """The texts in a file's header; None if it can't be read."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (safetensors.SafetensorError, OSError):
        return None


def _metadata(path: Path) -> AdapterMetadata:
    text = (_header(path) or {}).get(KEY)
    if text is None:
        raise CheckpointError(
            f"{path} is no adapter: its header has no {KEY}; adapters of other programs can be used as the "
            f"folder that peft writes, with {PEFT_CONFIG}"
        )
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        raise CheckpointError(f"{path} is damaged: {KEY} is not JSON; get the file again") from None
    if not isinstance(data, dict) or data.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has another adapter format than {FORMAT_VERSION}; it needs another version of auralith"
        )
    try:
        return build_settings(AdapterMetadata, data)
    except InvalidRequest as error:
        raise CheckpointError(f"{path} has unusable metadata: {error}") from error


def _read_peft_folder(folder: Path) -> Adapter:
    """`adapter_config.json` and `adapter_model.safetensors`, as peft saves a model that wraps our `DiT`."""
    files = (folder / PEFT_WEIGHTS, folder / PEFT_CONFIG)
    if not files[1].is_file():
        raise CheckpointError(f"{folder} holds no adapter: {PEFT_CONFIG} is missing; name a file")
    weights = {
        name.removeprefix(PEFT_PREFIX): tensor
        for name, tensor in read_safetensors(files[0]).items()
    }
    targets = tuple(_modules({name: tensor.shape for name, tensor in weights.items()}))
    config = _peft_config(files[1], targets)
    return _checked(folder, files, AdapterMetadata(config, auralith_version=""), weights)


def _peft_config(path: Path, targets: tuple[str, ...]) -> AdapterConfig:
    data = read_json(path)
    if data.get("peft_type") != "LORA":
        raise CheckpointError(f"{path}: {data.get('peft_type')} adapters can't be used, only LORA")
    strange = [key for key, value in data.items() if value and key not in PEFT_KEYS]
    if data.get("bias", "none") != "none":
        strange.append("bias")
    if data.get("init_lora_weights", True) not in (True, False, "gaussian"):
        strange.append("init_lora_weights")
    if strange:
        raise CheckpointError(f"{path}: adapters with {strange[0]} can't be used")
    try:
        return _lora_config(data, targets)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is no usable LoRA config: {error}") from error


def _lora_config(data: Mapping[str, Any], targets: tuple[str, ...]) -> AdapterConfig:
    """peft scales by α/r, and by α/√r where it is told to."""
    rank, alpha = int(data["r"]), float(data["lora_alpha"])
    if data.get("use_rslora"):
        alpha *= math.sqrt(rank)
    return AdapterConfig("dora" if data.get("use_dora") else "lora", rank, alpha, targets)
