"""The JSON schema of a request, made of the annotations of the classes that say what is valid."""

import types
from dataclasses import fields
from typing import Any, Literal, Union, get_args, get_origin

from auralith.jobs.orders import EDITS, NAMES, AdapterChoice, Making
from auralith.request import GenerationRequest

_KINDS = {bool: "boolean", int: "integer", float: "number", str: "string"}


def order_schema() -> dict[str, Any]:
    """Return the schema of a request of any task. Ranges are in no schema: what breaks one is refused with a line."""
    properties: dict[str, Any] = {}
    for schema in (GenerationRequest, *EDITS.values(), Making):
        for field in fields(schema):
            if field.name != "kind":
                properties.setdefault(NAMES.get(field.name, field.name), _of(field.type))
    properties["seed"] = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^[0-9]+$"}]}
    for name in ("prompt", "negative_prompt", "sampler"):
        properties[name] = {"type": "string"}
    return {
        "type": "object",
        "properties": dict(sorted(properties.items())),
        "required": ["prompt"],
    }


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
