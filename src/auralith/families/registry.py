"""The list of families, and what depends on a model's family: its networks, its names of tensors, which were never trained."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from auralith.config import AutoencoderConfig, Condition, ModelConfig
from auralith.errors import CheckpointError
from auralith.families.embedded import EMBEDDED
from auralith.families.family import (
    AutoencoderForm,
    Column,
    ConditionKind,
    Family,
    NameRow,
    Prefixes,
    Spec,
    nest,
)
from auralith.families.sections import Section
from auralith.families.stable_audio_1 import STABLE_AUDIO_1
from auralith.families.stable_audio_3 import STABLE_AUDIO_3
from auralith.models.autoencoder import Autoencoder
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.lazy_tensor import Weights, meta_device
from auralith.text.encoder import TextEncoderKind

AUTOENCODER = "pretransform.model"
FAMILIES = (EMBEDDED, STABLE_AUDIO_3, STABLE_AUDIO_1)


def described_family(autoencoder: Section) -> Family:
    """Return the family of a config's autoencoder: Stable Audio Open where no other knows it."""
    return next(f for f in FAMILIES if f.autoencoder.describes(autoencoder.data))


def family_of(autoencoder: AutoencoderConfig) -> Family:
    """Return the family of models with this autoencoder."""
    return next(f for f in FAMILIES if type(autoencoder) is f.autoencoder.config)


def autoencoder_forms() -> tuple[AutoencoderForm[Any], ...]:
    """Return the forms of autoencoders alone in diffusers' layout."""
    forms = (family.autoencoder.diffusers for family in FAMILIES)
    return tuple(dict.fromkeys(form for form in forms if form is not None))


def condition_kind(config: ModelConfig, condition: Condition) -> ConditionKind:
    return family_of(config.autoencoder).conditions[condition.kind]


def text_encoder_kind(config: ModelConfig) -> TextEncoderKind:
    """Return the kind of text encoder that a conditional model needs."""
    kind = condition_kind(config, config.text).text
    assert kind is not None  # a text condition has one
    return kind


def text_folder(config: ModelConfig) -> str:
    """Return the name of the text encoder's folder beside a single file of the model."""
    return config.text.subfolder or text_encoder_kind(config).subfolder


def text_patterns() -> tuple[str, ...]:
    """Return patterns of the files of text encoders that lie in folders beside single files."""
    kinds = (kind.text for family in FAMILIES for kind in family.conditions.values())
    return tuple(dict.fromkeys(name for kind in kinds if kind for name in kind.beside))


def prefixes(spec: Spec, source: Column, target: Column) -> Prefixes:
    """Return the beginnings of a model's tensor names in one layout with those in another.

    Ours begin with `autoencoder.`, `dit.` or `numbers.`.
    """
    pairs = ((getattr(row, source), getattr(row, target)) for row in _rows(spec))
    return {a: b for a, b in pairs if a is not None and b is not None}


def _rows(spec: Spec) -> Iterator[NameRow]:
    family, model = family_of(spec.autoencoder), spec.model
    inside = family.autoencoder.rows(spec.autoencoder)
    yield from nest(NameRow("autoencoder", AUTOENCODER, "vae"), inside)
    if model is not None:
        for condition in model.conditions:
            yield from condition_kind(model, condition).rows(condition)
        inside = family.transformer.rows(model.dit)
        yield from nest(NameRow("dit", "model.model", "transformer"), inside)


def is_untrained(name: str, spec: Spec) -> bool:
    """Return whether a published tensor is saved without ever being trained."""
    model, family = spec.model, family_of(spec.autoencoder)
    if name.startswith(f"{AUTOENCODER}."):
        inside = name.removeprefix(f"{AUTOENCODER}.")
        return family.autoencoder.is_untrained(spec.autoencoder, inside)
    return model is not None and family.transformer.is_untrained(model.dit, name)


def block_order(name: str, spec: Spec) -> tuple[int, ...] | None:
    """Return the places, in a published tensor, of the equal blocks of rows that diffusers has; None if in the same order."""
    model, family = spec.model, family_of(spec.autoencoder)
    if name.startswith(f"{AUTOENCODER}."):
        orders = family.autoencoder.block_orders
    else:
        orders = {} if model is None else family.transformer.block_orders(model.dit)
    return next((order for end, order in orders.items() if name.endswith(end)), None)


def is_column(name: str, spec: Spec) -> bool:
    """Return whether a single file stores a vector as a matrix of one column."""
    model, family = spec.model, family_of(spec.autoencoder)
    return model is not None and name in family.transformer.columns


def with_buffers(published: Weights, spec: Spec) -> Weights:
    """Return published tensors with the untrained ones that they lack."""
    family = family_of(spec.autoencoder)
    made = family.autoencoder.buffers(spec.autoencoder)
    weights = {f"{AUTOENCODER}.{name}": tensor for name, tensor in made.items()} | published
    if spec.model is not None:
        weights |= family.transformer.buffers(spec.model.dit, published)
    return weights


def may_be_missing(name: str) -> bool:
    """Return whether files of some family may lack a tensor."""
    inside = name.removeprefix(f"{AUTOENCODER}.")
    return any(
        family.transformer.optional.fullmatch(name)
        or (family.autoencoder.optional and family.autoencoder.optional.fullmatch(inside))
        for family in FAMILIES
    )


class Networks(nn.Module):
    """All networks of a checkpoint; `dit` and `numbers` only of a whole model."""

    autoencoder: Autoencoder
    dit: DiffusionTransformer[Any]
    numbers: nn.ModuleDict

    def __init__(self, spec: Spec) -> None:
        super().__init__()
        family = family_of(spec.autoencoder)
        self.autoencoder = family.autoencoder.build(spec.autoencoder)
        if spec.model is not None:
            self.dit = transformer_network(spec.model)
            self.numbers = condition_networks(spec.model)


def transformer_network(config: ModelConfig) -> DiffusionTransformer[Any]:
    """Return a new transformer of a model."""
    return family_of(config.autoencoder).transformer.build(config.dit)


def condition_networks(config: ModelConfig) -> nn.ModuleDict:
    """Return new networks of a model's conditions by id: an embedder of every number, a layer for projected text."""
    texts = [config.text] if config.is_conditional else []
    networks = {
        c.id: condition_kind(config, c).build(c, config.condition_dim)
        for c in (*config.numbers, *texts)
    }
    return nn.ModuleDict({name: network for name, network in networks.items() if network})


def without_memory(spec: Spec, dtype: torch.dtype = torch.float32) -> Networks:
    """Return the networks on the meta device: names, shapes and dtypes, to be filled from a file.

    A network of another `dtype` holds what must stay exact in float32.

    Raises:
        CheckpointError: they would be larger than any tensor can be.
    """
    try:
        with meta_device():
            return Networks(spec).to(dtype)
    except (RuntimeError, OverflowError, ValueError, MemoryError) as error:
        first = str(error).partition("\n")[0]
        raise CheckpointError(f"the config's networks can't be built: {first:.200}") from error
