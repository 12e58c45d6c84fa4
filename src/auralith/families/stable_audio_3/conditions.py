"""The conditions of Stable Audio 3: text by T5Gemma with a trained vector for padding, seconds by fixed Fourier features."""

from torch import nn

from auralith.config import Condition, NumberCondition, TextCondition
from auralith.families.family import ConditionKind, NameRow
from auralith.families.sections import Section
from auralith.foreign import Json
from auralith.models.embedders import GeometricNumberEmbedder, LearnedPadding
from auralith.text.t5gemma import SUBFOLDERS, T5GEMMA
from auralith.text.tokenizer_files import MOST_TOKENS

EMBEDDER = "duration_embedder"
PADDING = "transformer.prompt_padding_embedding"
"""Component and tensor in diffusers' layout, which knows one prompt and one number."""


def _read_text(name: str, section: Section, width: int) -> TextCondition:
    section.expect("padding_mode", "learned")
    section.expect("project_out", False, False)
    section.expect("enable_grad", False, False)
    return TextCondition(
        id=name,
        encoder=section.text("repo_id", ""),
        max_tokens=section.integer("max_length", maximum=MOST_TOKENS),
        kind="t5gemma",
        subfolder=section.choice("subfolder", {name: name for name in SUBFOLDERS}, SUBFOLDERS[0]),
    )


def _text_json(condition: Condition) -> Json:
    assert isinstance(condition, TextCondition)
    config: Json = {"max_length": condition.max_tokens, "padding_mode": "learned"}
    if condition.encoder:
        config["repo_id"] = condition.encoder
    return config | {"subfolder": condition.subfolder}


def _text_network(condition: Condition, width: int) -> nn.Module:
    return LearnedPadding(width)


def _text_rows(condition: Condition) -> tuple[NameRow, ...]:
    ours, published = _names(condition)
    return (NameRow(f"{ours}.vector", f"{published}.padding_embedding", PADDING),)


def _read_number(name: str, section: Section, width: int) -> NumberCondition:
    section.expect("fourier_features_type", "expo")
    condition = NumberCondition(name, section.number("min_val", 0), section.number("max_val", 1))
    if not condition.minimum < condition.maximum:
        raise section.error("max_val", "must be above min_val")
    return condition


def _number_json(condition: Condition) -> Json:
    assert isinstance(condition, NumberCondition)
    return {
        "min_val": condition.minimum,
        "max_val": condition.maximum,
        "fourier_features_type": "expo",
    }


def _number_network(condition: Condition, width: int) -> nn.Module:
    assert isinstance(condition, NumberCondition)
    return GeometricNumberEmbedder(condition, width)


def _number_rows(condition: Condition) -> tuple[NameRow, ...]:
    ours, published = _names(condition)
    return (NameRow(f"{ours}.linear", f"{published}.embedder.embedding.1", f"{EMBEDDER}.linear"),)


def _names(condition: Condition) -> tuple[str, str]:
    """Return where the names of a condition's network begin, ours and published."""
    return f"numbers.{condition.id}", f"conditioner.conditioners.{condition.id}"


TEXT = ConditionKind(_read_text, _text_json, _text_network, _text_rows, T5GEMMA)
NUMBER = ConditionKind(_read_number, _number_json, _number_network, _number_rows)
