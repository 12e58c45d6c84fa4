"""The JSON schema of a request, made of the annotations, ranges and docstrings of the classes that say what is valid."""

import re
import types
from dataclasses import Field, fields
from typing import Any, Literal, Union, get_args, get_origin

from auralith.documented import documented
from auralith.edits import EDITS
from auralith.edits import RANGES as EDIT_RANGES
from auralith.jobs.names import ALIASES, NAMES, SPANS
from auralith.jobs.orders import AdapterChoice, Making
from auralith.numbers import Range, limit_of
from auralith.request import RANGES, GenerationRequest

TEXTS = ("prompt", "negative_prompt", "sampler")
"""Fields that are text in JSON, though Python takes values of its own there too."""
_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}


def order_schema() -> dict[str, Any]:
    """Return the schema of a request of any task."""
    properties: dict[str, Any] = {}
    for schema in (GenerationRequest, *EDITS.values(), Making):
        properties = field_schemas(schema) | properties
    number = properties["seed"]
    text = {"type": "string", "pattern": "^[0-9]+$"}
    for name, own in ALIASES.items():
        properties.setdefault(name, {"description": f"Another name of {own}."})
    for first, last in SPANS:
        for name in (first, last):
            properties[name] = {
                "type": "number",
                "description": f"{first} with {last}: one of regions.",
            }
    properties["seed"] = {"anyOf": [number, text], "description": number.pop("description")}
    return {
        "type": "object",
        "properties": dict(sorted(properties.items())),
        "anyOf": [{"required": [name]} for name in ("prompt", *_other_names("prompt"))],
    }


def _other_names(name: str) -> list[str]:
    """Return the names of other programs for a field."""
    return [alias for alias, own in ALIASES.items() if own == name]


def field_schemas(schema: type) -> dict[str, dict[str, Any]]:
    """Return the schema of each field of a request, an edit or `Making`, by its name in JSON."""
    ranges = RANGES if schema is GenerationRequest else EDIT_RANGES
    return {
        NAMES.get(field.name, field.name): _of_field(schema, field, ranges.get(field.name))
        for field in fields(schema)
        if field.name != "kind"
    }


def _of_field(schema: type, field: "Field[Any]", bounds: Range | None) -> dict[str, Any]:
    found = {"type": "string"} if field.name in TEXTS else _of(field.type)
    if bounds is not None:
        found |= limit_of(above=bounds.above, least=bounds.least, most=bounds.most)
    doc = documented(f"{schema.__module__}.{schema.__qualname__}", field.name).doc
    doc = re.sub(r"`(\w+)`", lambda at: NAMES.get(at[1], at[1]), doc)
    return found | ({"description": doc} if doc and field.name != "prompt" else {})


def _of(annotation: Any) -> dict[str, Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (Union, types.UnionType):
        members = [_of(one) for one in arguments if one is not type(None)]
        return members[0] if len(members) == 1 else {"anyOf": members}
    if origin is tuple:
        return _of_tuple(arguments)
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1])}
    if annotation is AdapterChoice:
        own = {field.name: _of(field.type) for field in fields(AdapterChoice)}
        return {"type": "object", "properties": own, "required": ["id"]}
    return {"type": _KINDS[annotation]} if annotation in _KINDS else {}


def _of_tuple(members: tuple[Any, ...]) -> dict[str, Any]:
    if members[-1] is Ellipsis:
        return {"type": "array", "items": _of(members[0])}
    kinds = [_of(one) for one in members]
    return {
        "type": "array",
        "prefixItems": kinds,
        "minItems": len(kinds),
        "maxItems": len(kinds),
    }
