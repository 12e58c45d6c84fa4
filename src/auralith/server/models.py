"""Description of a model for clients that let people choose: its settings with their defaults, limits and choices."""

import re
from dataclasses import fields
from typing import Any

from auralith.config import ModelConfig
from auralith.diffusion import OBJECTIVES
from auralith.edits import EDITS
from auralith.fast import LEVELS, level_of
from auralith.jobs.names import NAMES
from auralith.jobs.orders import TASKS
from auralith.jobs.records import Json
from auralith.request import GenerationRequest
from auralith.resolution import Resolver
from auralith.samplers import SAMPLERS, sampler_names
from auralith.server.schema import field_schemas

_ABOUT_DEFAULTS = r"[.;] (?:Default|the model's default)\b"
"""Beginning of what a docstring says of the defaults of models, which is told for the one that it is about."""


def view_model(name: str, model: Resolver) -> Json:
    """Return what a model makes.

    `settings` and, by task, `edits` are JSON schemas by the name of a field; their `default` is what the model takes
    where the field is left out, if that is one value.
    """
    config = model.config
    return {
        "id": name,
        "sample_rate": config.audio.sample_rate,
        "channels": config.audio.channels,
        "seconds_max": config.audio.seconds(config.window_samples),
        "tasks": list(TASKS),
        "settings": _settings(config, model.is_export),
        "edits": {task: _with_defaults(schema, {}) for task, schema in EDITS.items()},
    }


def _settings(config: ModelConfig, is_export: bool) -> Json:
    names = sampler_names(OBJECTIVES[config.objective])
    usual = vars(level_of(None, config.objective, config.sampling))
    found = _with_defaults(GenerationRequest, vars(config.sampling) | usual)
    if is_export or config.objective not in LEVELS:
        del found["fast"]
    if is_export:
        del found["cache_threshold"]
    found["sampler"]["enum"] = names
    known = dict.fromkeys(name for one in names for name in SAMPLERS[one].schedules)
    found["schedule"]["enum"] = list(known)
    ids = {condition.id for condition in config.numbers}
    if "seconds_start" not in ids:
        del found["seconds_start"]
    numbers = {
        one.id: {"type": "number", "minimum": one.minimum, "maximum": one.maximum}
        for one in config.given_numbers
    }
    found["conditions"] |= {"properties": numbers, "required": list(numbers)}
    return found


def _with_defaults(schema: type, own: dict[str, Any]) -> Json:
    """Return the schemas of fields with their defaults: those of the class, else `own` by the name of a field."""
    found = field_schemas(schema)
    for field in fields(schema):
        default = field.default if isinstance(field.default, int | float | str) else None
        if isinstance(field.default, tuple) and field.default:
            default = list(field.default)
        value = own.get(field.name) if default is None else default
        if value is not None and field.name != "kind":
            one = found[NAMES.get(field.name, field.name)]
            one["default"] = value
            one["description"] = re.split(_ABOUT_DEFAULTS, one["description"])[0].rstrip(".") + "."
    return found
