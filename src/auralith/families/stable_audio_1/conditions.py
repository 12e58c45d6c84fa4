"""The conditions of Stable Audio Open: text by T5, numbers by Fourier features, whole numbers by a table."""

from torch import nn

from auralith.config import Condition, NumberCondition, TextCondition
from auralith.families.family import ConditionKind, NameRow, nest
from auralith.families.sections import Section
from auralith.foreign import Json
from auralith.models.embedders import IntegerEmbedder, NumberEmbedder, TextProjection
from auralith.models.lazy_tensor import Weights
from auralith.text import t5
from auralith.text.tokenizer_files import MOST_TOKENS

T5_WIDTHS = {
    "t5-small": 512,
    "t5-base": 768,
    "t5-large": 1024,
    "t5-3b": 1024,
    "t5-11b": 1024,
    "google/flan-t5-small": 512,
    "google/flan-t5-base": 768,
    "google/flan-t5-large": 1024,
    "google/flan-t5-3b": 1024,
    "google/flan-t5-11b": 1024,
    "google/flan-t5-xl": 2048,
    "google/flan-t5-xxl": 4096,
    "google/t5-v1_1-xl": 2048,
    "google/t5-v1_1-xxl": 4096,
}
"""Widths of the text encoders that the reference knows by name."""
# ids of the number embedders → the projection model's names in diffusers
PROJECTIONS = {
    "seconds_start": "projection_model.start_number_conditioner.time_positional_embedding",
    "seconds_total": "projection_model.end_number_conditioner.time_positional_embedding",
}
TEXT_PROJECTION = "projection_model.text_projection"


def _read_text(name: str, section: Section, width: int) -> TextCondition:
    section.expect("enable_grad", False, False)
    encoder = section.text("t5_model_name", "t5-base")
    limit = section.integer("max_length", 128, maximum=MOST_TOKENS)
    known = T5_WIDTHS.get(encoder, width)
    projected = section.flag("project_out", False) or known != width
    return TextCondition(name, encoder, limit, known if projected else None)


def _text_json(condition: Condition) -> Json:
    assert isinstance(condition, TextCondition)
    config: Json = {"t5_model_name": condition.encoder, "max_length": condition.max_tokens}
    return config if condition.projected_from is None else config | {"project_out": True}


def _text_network(condition: Condition, width: int) -> nn.Module | None:
    assert isinstance(condition, TextCondition)
    source = condition.projected_from
    return None if source is None else TextProjection(source, width)


def _text_rows(condition: Condition) -> tuple[NameRow, ...]:
    ours, published = _names(condition)
    return (NameRow(ours, f"{published}.proj_out", TEXT_PROJECTION),)


def _text_as_stored(condition: Condition, published: Weights, width: int) -> Condition:
    """Return the condition with the width that its stored layer projects from."""
    assert isinstance(condition, TextCondition)
    layer = published.get(f"{_names(condition)[1]}.proj_out.weight")
    source = layer.shape[-1] if layer is not None and layer.shape else width
    return condition.projecting(source, width)


def _read_number(name: str, section: Section, width: int) -> NumberCondition:
    condition = NumberCondition(name, section.number("min_val", 0), section.number("max_val", 1))
    if not condition.minimum < condition.maximum:
        raise section.error("max_val", "must be above min_val")
    return condition


def _read_integer(name: str, section: Section, width: int) -> NumberCondition:
    # the reference looks a value up in its table without subtracting the minimum
    section.expect("min_val", 0, 0)
    return NumberCondition(name, 0.0, float(section.integer("max_val", 512)), "int")


def _number_json(condition: Condition) -> Json:
    assert isinstance(condition, NumberCondition)
    return {"min_val": condition.minimum, "max_val": condition.maximum}


def _integer_json(condition: Condition) -> Json:
    return {name: int(value) for name, value in _number_json(condition).items()}


def _number_network(condition: Condition, width: int) -> nn.Module:
    assert isinstance(condition, NumberCondition)
    return NumberEmbedder(condition, width)


def _integer_network(condition: Condition, width: int) -> nn.Module:
    assert isinstance(condition, NumberCondition)
    return IntegerEmbedder(condition, width)


def _number_rows(condition: Condition) -> tuple[NameRow, ...]:
    ours, published = _names(condition)
    inside = (NameRow("frequencies", "0.weights", "0.weights"), NameRow("linear", "1", "1"))
    return nest(
        NameRow(ours, f"{published}.embedder.embedding", PROJECTIONS.get(condition.id)), inside
    )


def _integer_rows(condition: Condition) -> tuple[NameRow, ...]:
    ours, published = _names(condition)
    return (NameRow(f"{ours}.table", f"{published}.int_embedder", None),)


def _names(condition: Condition) -> tuple[str, str]:
    """Return where the names of a condition's network begin, ours and published."""
    return f"numbers.{condition.id}", f"conditioner.conditioners.{condition.id}"


T5 = ConditionKind(_read_text, _text_json, _text_network, _text_rows, t5.T5, _text_as_stored)
NUMBER = ConditionKind(_read_number, _number_json, _number_network, _number_rows)
INTEGER = ConditionKind(_read_integer, _integer_json, _integer_network, _integer_rows)
