"""Description of a family: its kinds of networks and conditions, its sampling, its form in diffusers' layout.

Each kind is a value whose fields are functions: `read` and `to_json` translate its config, `build` makes the network,
`rows` names its tensors.

Tensor names are ours, those of the published single file, and those of the diffusers folder: one table, read both ways.
A row pairs the dotted beginnings of names; the longest row that fits a name is used and the rest of the name is kept.
Rows are nested like the modules they name. `None` means that the column has no such tensor. Two things are finer than
names: diffusers keeps queries, keys and values apart (`FUSED`), and published autoencoders may store weight norm
(`weight_g`, `weight_v`) where ours has the folded `weight`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from torch import nn

from auralith.config import (
    AudioFormat,
    AutoencoderConfig,
    Condition,
    ModelConfig,
    NumberCondition,
    ObjectiveName,
    SamplingDefaults,
    TransformerConfig,
)
from auralith.families.sections import Section
from auralith.foreign import Json
from auralith.models.autoencoder import Autoencoder
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.lazy_tensor import Weights
from auralith.text.encoder import TextEncoderKind


@dataclass(frozen=True)
class Spec:
    """Contents of a checkpoint: a whole model, or only an autoencoder (`model` is None)."""

    audio: AudioFormat
    autoencoder: AutoencoderConfig
    model: ModelConfig | None = None

    @staticmethod
    def of(config: ModelConfig) -> "Spec":
        return Spec(config.audio, config.autoencoder, config)

    @property
    def numbers(self) -> tuple[NumberCondition, ...]:
        return self.model.numbers if self.model else ()


class NameRow(NamedTuple):
    ours: str | None
    single_file: str | None
    diffusers: str | None


Inputs = Literal["input_concat", "local_add_cond"]
Column = Literal["ours", "single_file", "diffusers"]
Prefixes = dict[str, str]

# ends of diffusers names that hold the rows of one of our tensors
FUSED = {
    "to_qkv.weight": ("to_q.weight", "to_k.weight", "to_v.weight"),
    "to_kv.weight": ("to_k.weight", "to_v.weight"),
}


def nest(outer: NameRow, rows: tuple[NameRow, ...]) -> tuple[NameRow, ...]:
    """Return the rows below a module that has the names in `outer`; an empty name is the module's own."""
    return tuple(NameRow(*map(_joined, outer, row)) for row in rows)


def _joined(outer: str | None, name: str | None) -> str | None:
    if outer is None or name is None:
        return None
    return f"{outer}.{name}" if name else outer


def rename(name: str, table: Prefixes) -> str | None:
    """The name in the table's target column, or None if it has no such tensor."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        prefix = table.get(".".join(parts[:cut]))
        if prefix is not None:
            return ".".join((prefix, *parts[cut:]))
    return None


Config = TypeVar("Config", bound=AutoencoderConfig)
Transformer = TypeVar("Transformer", bound=TransformerConfig)


@dataclass(frozen=True)
class AutoencoderForm(Generic[Config]):
    """The form of an autoencoder in diffusers' layout: a folder with a config and weights."""

    class_name: str
    read: Callable[[Section], tuple[AudioFormat, Config]]
    to_json: Callable[[AudioFormat, Config], Json]
    refusals: Callable[[Config], list[str]]
    """Names everything in an autoencoder that the form can't express."""


@dataclass(frozen=True)
class AutoencoderKind(Generic[Config]):
    """A kind of autoencoder. Its rows pair names below the module itself."""

    title: str
    """Its name in messages, with an article."""
    config: type[Config]
    describes: Callable[[Json], bool]
    """Tells whether its object in `model_config.json` is of this kind."""
    read: Callable[[Section], Config]
    to_json: Callable[[Config], Json]
    build: Callable[[Config], Autoencoder]
    rows: Callable[[Config], tuple[NameRow, ...]]
    weight_norm: bool = False
    """Says whether published files store weight norm for its convolutions (weights of three dimensions)."""
    map_vectors: tuple[str, ...] = ()
    """Ends of published names of vectors that diffusers stores with the three axes of a map."""
    block_orders: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """Ends of published names of weights whose rows diffusers keeps in another order of equal blocks: the places, in the
    published file, of its blocks."""
    is_untrained: Callable[[Config, str], bool] = lambda _config, _name: False
    """Tells whether a tensor of published files carries no information."""
    buffers: Callable[[Config], Weights] = lambda _config: {}
    """Makes all such tensors."""
    optional: re.Pattern[str] | None = None
    """Their names, which a file may lack."""
    diffusers: AutoencoderForm[Config] | None = None
    """The form of one alone."""


@dataclass(frozen=True)
class TransformerKind(Generic[Transformer]):
    """A kind of transformer. Its rows pair names below the module itself; everything else has whole published names."""

    read: Callable[[Section, bool], Transformer]
    """The second argument says whether the model is conditional."""
    to_json: Callable[[Transformer], Json]
    build: Callable[[Transformer], DiffusionTransformer[Any]]
    rows: Callable[[Transformer], tuple[NameRow, ...]]
    is_untrained: Callable[[Transformer, str], bool]
    """Tells whether a tensor of published files carries no information."""
    check_untrained: Callable[[Transformer, Weights], None]
    """Raises CheckpointError if such a tensor has values that only training gives."""
    buffers: Callable[[Transformer, Weights], Weights]
    """Makes those that the given tensors lack."""
    columns: tuple[str, ...]
    """Published names of vectors that a single file stores as matrices of one column."""
    optional: re.Pattern[str]
    """Names that a file may lack, in diffusers' layout as well."""
    as_stored: Callable[[Transformer, Weights], Transformer]
    """Adds to a config what only the tensors tell."""
    is_split: bool = True
    """Says whether diffusers keeps its queries, keys and values apart (`FUSED`)."""
    block_orders: Callable[[Transformer], Mapping[str, tuple[int, ...]]] = lambda _config: {}
    """Makes what `AutoencoderKind.block_orders` is."""
    has_lengths: bool = False
    """Says whether it can be trained on sounds of their own lengths, as two keys of the object `diffusion` tell."""
    inputs: Inputs = "input_concat"
    """Says how channels beside the latents come in, as `model_config.json` has it: its keys `…_ids` and `…_dim`."""


@dataclass(frozen=True)
class ConditionKind:
    """A kind of condition, known by its `type` in `model_config.json`. Its rows have whole names."""

    read: Callable[[str, Section, int], Condition]
    """Takes the condition's id, its `config`, and the width of the conditions."""
    to_json: Callable[[Condition], Json]
    build: Callable[[Condition, int], nn.Module | None]
    """Makes the network between a value and its rows of the context; None where there is nothing to learn."""
    rows: Callable[[Condition], tuple[NameRow, ...]]
    text: TextEncoderKind | None = None
    """The text encoder of a text condition."""
    as_stored: Callable[[Condition, Weights, int], Condition] = lambda condition, _weights, _dim: (
        condition
    )
    """Adds to a condition what only the tensors tell; takes the width of the conditions, too."""


@dataclass(frozen=True)
class DiffusersForm:
    """The form of a family's models in diffusers' layout: a folder per component, each with a config of its own."""

    pipeline: str
    components: Mapping[str, tuple[str, str]]
    """Library and class of each component."""
    weighted: tuple[str, ...]
    """The components whose tensors are the family's own, not those of a text encoder."""
    read: Callable[[Callable[[str], Section | None], int], ModelConfig]
    """Takes a function that opens a component's config, and the tokenizer's limit in tokens; only the scheduler's config
    may be missing."""
    to_json: Callable[[ModelConfig], dict[str, Json]]
    """Makes the config of each component that has one of its own."""
    refusals: Callable[[ModelConfig], list[str]]
    """Names everything in a model that the form can't express."""
    buffers: Callable[[ModelConfig], Weights] = lambda _config: {}
    """Makes the tensors that this form alone has."""


@dataclass(frozen=True)
class Family:
    """Parts that the models of a family are made of, and the way they are sampled."""

    autoencoder: AutoencoderKind[Any]
    transformer: TransformerKind[Any]
    conditions: Mapping[str, ConditionKind]
    sampling: Mapping[ObjectiveName, SamplingDefaults]
    """The published way to sample, by objective."""
    training: Json = field(default_factory=dict[str, Any])
    """The published way to train, as the object `training` of a `model_config.json` says it, for files without one."""
    diffusers: DiffusersForm | None = None
