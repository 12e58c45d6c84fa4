"""Adapters as other programs write them: LoRAW, Stable Audio 3, peft, diffusers, and kohya's scripts.

A file is recognized by the endings of its tensors' names, and its settings are read where that program puts them: in
`adapter_config.json`, in the header of the safetensors file, in tensors named `alpha`, or in the `lora` section of a model config. What this reader does not know it refuses by name, because a part
that is left out gives another sound without an error.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors

from auralith.checkpoints.adapter_changes import Change, flat_shape
from auralith.errors import CheckpointError, shown
from auralith.foreign import SHAPE_ERRORS, parse_json, read_json
from auralith.models.lazy_tensor import FLOATING, LazyTensor, Weights
from auralith.tensor_files import PICKLE_SUFFIXES, read_tensor_file

PEFT_CONFIG = "adapter_config.json"
PEFT_WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")
DIFFUSERS_WEIGHTS = ("pytorch_lora_weights.safetensors", "pytorch_lora_weights.bin")
DIFFUSERS_KEY, SA3_KEY, KOHYA_ALPHA = "lora_adapter_metadata", "lora_config", "ss_network_alpha"
# keys of peft's config that say nothing about what the tensors mean, or are understood below
PEFT_KEYS = frozenset(
    "auto_mapping base_model_name_or_path inference_mode revision task_type"
    " peft_type peft_version megatron_core qalora_group_size runtime_config"
    " target_modules exclude_modules layers_to_transform layers_pattern"
    " r lora_alpha lora_dropout use_dora use_rslora init_lora_weights bias"
    " rank_pattern alpha_pattern ensure_weight_tying".split()
)
# starting values that leave the base weights as they are
PLAIN_STARTS = (True, False, "gaussian", "orthogonal")

FORMS = {
    "Stable Audio 3": r"(.+)\.parametrizations\.weight\.0\.(lora_A|lora_B|M_xs|magnitude|magnitude_r|magnitude_c)",
    "LoRAW": r"(.+)/(lora_down|lora_up|dora_mag)\.(?:weight|bias)",
    "peft": r"((?:(?!\.parametrizations\.).)+)\.(lora_A|lora_B|lora_magnitude_vector)(?:\.(?!weight|bias)[^.]+)?(?:\.weight)?",
    "diffusers": r"(.+?)[._]lora(?:_linear_layer)?\.(down|up|alpha)(?:\.weight)?",
    "kohya": r"(.+)\.(lora_down|lora_up|alpha|dora_scale)(?:\.weight)?",
}
PATTERNS = {program: re.compile(form) for program, form in FORMS.items()}
SLOTS = {
    **dict.fromkeys(("lora_A", "lora_down", "down"), "a"),
    **dict.fromkeys(("lora_B", "lora_up", "up"), "b"),
    **dict.fromkeys(("lora_magnitude_vector", "dora_mag", "magnitude_r"), "rows"),
    **dict.fromkeys(("magnitude", "dora_scale"), "lengths"),
    "magnitude_c": "columns",
    "M_xs": "core",
    "alpha": "alpha",
}
FACTORS = {"a", "b", "core"}
# parts of names → what they belong to
STRANGE = {
    "hada_": "LoHa",
    "lokr_": "LoKr",
    "oft_": "OFT",
    "lora_mid": "a LoRA with a middle factor (Tucker)",
    "lora_embedding_": "a LoRA of an embedding",
    ".parametrizations.weight.": "a second adapter on the same weight; save each in its own file",
    ".diff": "whole differences of weights",
    ".bias": "a bias trained beside the LoRA (bias or lora_bias)",
    ".weight": "a weight trained as a whole beside the LoRA (modules_to_save)",
}

Slots = dict[str, LazyTensor]


@dataclass(frozen=True)
class Settings:
    """Settings that a program wrote beside its adapter; None where it says nothing."""

    rank: int | None = None
    alpha: float | None = None
    root: bool = False
    """α is divided by √r, not by r."""
    kind: str | None = None
    ranks: Mapping[str, Any] = field(default_factory=dict)
    alphas: Mapping[str, Any] = field(default_factory=dict)
    """By the ends of modules' names, as peft's patterns."""
    fixed_scale: float | None = None
    """α/r whatever the rank of a module is, as LoRAW computes it from its config."""


@dataclass(frozen=True, eq=False)
class Foreign:
    """An adapter of another program: its changes by the module names in the file, and what the reader had to assume."""

    program: str
    changes: dict[str, Change]
    notes: tuple[str, ...]


def foreign_files(folder: Path) -> tuple[Path, ...] | None:
    """Return the files of an adapter that is a folder, weights first; None for any other folder."""
    names = PEFT_WEIGHTS if (folder / PEFT_CONFIG).is_file() else DIFFUSERS_WEIGHTS
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if (folder / PEFT_CONFIG).is_file():
        return (found or folder / PEFT_WEIGHTS[0], folder / PEFT_CONFIG)
    return None if found is None else (found,)


def read_foreign(path: Path) -> tuple[Foreign, Weights, tuple[Path, ...]] | None:
    """Return the adapter in a weights file, its tensors and the files read; None if the file does not hold an adapter.

    Raises CheckpointError: it is damaged, or holds something that this reader does not know.
    """
    file = read_tensor_file(path)
    program, modules, rest = _sorted_out(path, file.weights)
    if not any(FACTORS & slots.keys() for slots in modules.values()):
        return None
    if rest:
        raise CheckpointError(f"{path}: {rest[0]!r:.120} can't be used: {_why_strange(rest[0])}")
    if program == "Stable Audio 3" and path.suffix in PICKLE_SUFFIXES:
        raise CheckpointError(
            f"{path} is a pickle; adapters of Stable Audio 3 are read from .safetensors alone, which that program "
            "writes, too"
        )
    settings, beside = _settings(path, program)
    reader = _ChangeReader(path, program, settings)
    changes = {name: reader.change(name, slots) for name, slots in modules.items()}
    files = (path,) if beside is None else (path, beside)
    return Foreign(program, changes, tuple(dict.fromkeys(reader.notes))), file.weights, files


def looks_like_adapter(names: Iterable[str]) -> bool:
    """Return whether tensors of these names could be an adapter of another program."""
    return any(SLOTS[part] in FACTORS for _, _, part in map(_recognized, names) if part)


def _sorted_out(path: Path, weights: Weights) -> tuple[str, dict[str, Slots], list[str]]:
    """The program, the tensors of each module by their role, and the names that no form explains."""
    modules: dict[str, Slots] = {}
    programs: list[str] = []
    rest = []
    for name, tensor in weights.items():
        program, module, part = _recognized(name)
        if not part:
            rest.append(name)
        elif not name.endswith("/dora_mag.bias"):  # LoRAW stores it, but never uses it
            programs.append(program)
            slots = modules.setdefault(module, {})
            if SLOTS[part] in slots:
                raise CheckpointError(f"{path} holds several adapters of {module!r:.120}; use one")
            slots[SLOTS[part]] = tensor
    named = [program for program in PATTERNS if program in programs]
    return " and ".join(named), modules, rest


def _recognized(name: str) -> tuple[str, str, str]:
    for program, pattern in PATTERNS.items():
        match = pattern.fullmatch(name)
        if match:
            return program, match[1], match[2]
    return "", "", ""


def _why_strange(name: str) -> str:
    found = next((what for part, what in STRANGE.items() if part in name), None)
    return found or "it is no part of a LoRA that Auralith knows"


@dataclass
class _ChangeReader:
    """Makes changes out of tensors, with the settings of one file."""

    path: Path
    program: str
    settings: Settings
    notes: list[str] = field(default_factory=list)

    def change(self, name: str, slots: Slots) -> Change:
        alpha = slots.pop("alpha", None)
        for tensor in slots.values():
            if tensor.dtype not in FLOATING:
                raise self._error(name, f"is {tensor.dtype}, not floating point")
        rank = self._rank(name, slots)
        stated = self._alpha(name, alpha)
        if stated is None:
            self.notes.append("alpha is not stated; it was taken as the rank, so the scale is 1")
        value = float(rank) if stated is None else stated
        scale = self.settings.fixed_scale
        if scale is None:
            scale = value / (math.sqrt(rank) if self.settings.root else rank)
        change = Change(rank, value, scale, slots.get("a"), slots.get("b"), slots.get("core"))
        return self._with_lengths(name, change, slots)

    def _rank(self, name: str, slots: Slots) -> int:
        if "core" in slots:
            rank = flat_shape(slots["core"].shape)[0]
        elif {"a", "b"} <= slots.keys():
            rank = flat_shape(slots["a"].shape)[0]
            if flat_shape(slots["b"].shape)[1] != rank:
                raise self._error(name, "has factors A and B of different ranks")
        else:
            raise self._error(name, "lacks one of its two factors, A (down) and B (up)")
        wanted = _by_pattern(name, self.settings.ranks, self.settings.rank)
        exact = self.settings.fixed_scale is None and self.program == "peft"
        if rank < 1 or (exact and wanted is not None and wanted != rank):
            raise self._error(name, f"has rank {rank}, but the config says {wanted}")
        return rank

    def _alpha(self, name: str, stored: LazyTensor | None) -> float | None:
        if stored is not None and stored.numel == 1:
            value = float(stored.read())
        elif stored is None:
            found = _by_pattern(name, self.settings.alphas, self.settings.alpha)
            if found is None:
                return None
            value = float(found)
        else:
            raise self._error(name, f"has an alpha of {stored.numel} numbers")
        if not math.isfinite(value):
            raise self._error(name, f"has an alpha of {value}")
        return value or None  # 0 means the rank to the programs that write it

    def _with_lengths(self, name: str, change: Change, slots: Slots) -> Change:
        lengths = slots.get("lengths")
        axis = None if lengths is None else self._axis(change, lengths)
        stacks = self.program == "Stable Audio 3"
        change = replace(
            change,
            rows=lengths if axis == "rows" else slots.get("rows"),
            columns=lengths if axis == "columns" else slots.get("columns"),
            stacks=stacks,
            scales_bias=self.program == "LoRAW",
        )
        kind = self.settings.kind
        if kind is not None and change.kind != kind:
            raise self._error(name, f"is {change.kind}, but the config says {kind}")
        return change

    def _axis(self, change: Change, lengths: LazyTensor) -> str:
        """Return what the lengths belong to: as stated, or by their shape, or rows."""
        if self.settings.kind is not None:
            return "columns" if self.settings.kind.startswith("dora-cols") else "rows"
        if len(lengths.shape) >= 2:
            return "columns" if lengths.shape[0] == 1 else "rows"
        out = change.b.shape[0] if change.b is not None else lengths.numel
        return "rows" if lengths.numel == out else "columns"

    def _error(self, name: str, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {name!r:.120} {what}; get the file again")


def _by_pattern(name: str, patterns: Mapping[str, Any], default: Any) -> Any:
    """The value of the first pattern that is the name or its end; peft allows more, which is refused before."""
    for pattern, value in patterns.items():
        plain = pattern.removeprefix("^")
        if name == plain or (plain == pattern and name.endswith(f".{plain}")):
            return value
    return default


def _settings(path: Path, program: str) -> tuple[Settings, Path | None]:
    """The settings of a file, and the file beside it in which they were found."""
    header = header_of(path) or {}
    config = path.with_name(PEFT_CONFIG)
    try:
        if path.name in PEFT_WEIGHTS and config.is_file():
            return _peft_settings(read_json(config), config), config
        if DIFFUSERS_KEY in header:
            data = _object(header[DIFFUSERS_KEY], path)
            plain = {name.rpartition("transformer.")[2]: value for name, value in data.items()}
            return _peft_settings({"peft_type": "LORA", **plain}, path), None
        if program == "Stable Audio 3":
            data = _object(header[SA3_KEY], path) if SA3_KEY in header else {}
            return _sa3_settings(data), None
        if program == "LoRAW":
            return _loraw_settings(path)
        return Settings(alpha=float(header[KOHYA_ALPHA]) if KOHYA_ALPHA in header else None), None
    except SHAPE_ERRORS as error:
        raise CheckpointError(f"{path}: unusable LoRA config: {error!s:.120}") from error


def _peft_settings(data: Mapping[str, Any], path: Path) -> Settings:
    if data.get("peft_type") != "LORA":
        kind = shown(data.get("peft_type"))
        raise CheckpointError(f"{path}: adapters of the type {kind} can't be used, only LORA")
    strange = [key for key, value in data.items() if value and key not in PEFT_KEYS]
    if data.get("bias", "none") != "none":
        strange.append("bias")
    if data.get("init_lora_weights", True) not in PLAIN_STARTS:
        strange.append("init_lora_weights")
    ranks, alphas = data.get("rank_pattern") or {}, data.get("alpha_pattern") or {}
    for name, patterns in (("rank_pattern", ranks), ("alpha_pattern", alphas)):
        plain = isinstance(patterns, dict) and all(re.fullmatch(r"\^?[\w.]+", p) for p in patterns)
        strange += [] if plain else [f"regular expressions in {name}"]
    if strange:
        raise CheckpointError(f"{path}: adapters with {strange[0]:.80} can't be used")
    return Settings(
        rank=int(data["r"]),
        alpha=float(data["lora_alpha"]) if "lora_alpha" in data else None,
        root=bool(data.get("use_rslora")),
        kind="dora" if data.get("use_dora") else "lora",
        ranks={pattern: int(rank) for pattern, rank in ranks.items()},
        alphas={pattern: float(alpha) for pattern, alpha in alphas.items()},
    )


def _sa3_settings(data: Mapping[str, Any]) -> Settings:
    alpha, kind = data.get("alpha"), data.get("adapter_type")
    if kind is not None:
        names = {"dora": None, "dora-rows": "dora", "dora-rows-xs": "dora-xs"}
        kind = names.get(str(kind), str(kind))
    return Settings(alpha=None if alpha is None else float(alpha), kind=kind)


def _loraw_settings(path: Path) -> tuple[Settings, Path | None]:
    """The `lora` section of the model config that LoRAW was trained with, if it lies beside the adapter."""
    for config in (path.with_suffix(".json"), path.with_name("model_config.json")):
        section = read_json(config).get("lora") if config.is_file() else None
        if isinstance(section, dict) and "rank" in section:
            rank, alpha = int(section["rank"]), float(section.get("alpha") or section["rank"])
            return Settings(rank=rank, alpha=alpha, fixed_scale=alpha / rank), config
    return Settings(), None


def _object(text: str, path: Path) -> dict[str, Any]:
    try:
        data = parse_json(text)
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise CheckpointError(
            f"{path} is damaged: the settings in its header are not JSON; get the file again"
        )
    return data


def header_of(path: Path) -> dict[str, str] | None:
    """The texts in a safetensors file's header; None if it can't be read."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except (safetensors.SafetensorError, OSError):
        return None
