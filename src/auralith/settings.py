"""Settings files: TOML and `--set a.b=c` into a frozen dataclass, strictly.

The dataclass is the schema: its fields name the keys, its annotations the types, its defaults what a file leaves
out. Understood are bool, int, float, str, Path, Literal, tuples, dicts, optional values and nested dataclasses.
Anything else in a file is an `InvalidRequest` that names the key: an unknown one with the nearest known, a wrong type with
the expected one, and a setting that was removed with its remedy (the schema's class variable `REMOVED`).
"""

import difflib
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from auralith.errors import InvalidRequest, shown
from auralith.foreign import parse_toml

Settings = TypeVar("Settings")


def load_settings(
    schema: type[Settings],
    path: str | Path | None = None,
    overrides: Sequence[str] = (),
    base: Settings | None = None,
) -> Settings:
    """The settings of a TOML file (all defaults without one), changed by `a.b=c` overrides in their order.

    What neither names is taken from `base`, or from the schema's defaults without one. The right side of an override is a TOML value; what isn't one is taken as a string (`name=tiny`).
    """
    table: dict[str, Any] = {} if path is None else read_toml(path)
    for override in overrides:
        _set(table, override)
    return _build(schema, table, "", base)


def build_settings(schema: type[Settings], table: Mapping[str, Any]) -> Settings:
    """The settings of a parsed table (TOML or JSON); strict as `load_settings` is."""
    return _build(schema, table, "")


def read_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file as it is; raises InvalidRequest where it is missing or not TOML."""
    try:
        return parse_toml(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidRequest(
            f"{path} can't be read ({error.strerror}); give a TOML file"
        ) from error
    except ValueError as error:
        raise InvalidRequest(f"{path} is not TOML: {error}") from error


def _set(table: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    *parents, last = key.strip().split(".")
    if not equals or not all((*parents, last)):
        raise InvalidRequest(f"'{override}' is not an override; write it as section.key=value")
    for parent in parents:
        table = table.setdefault(parent, {})
        if not isinstance(table, dict):
            raise InvalidRequest(f"'{key}' can't be set: '{parent}' is a value, not a section")
    table[last] = _value(text.strip())


def _value(text: str) -> Any:
    try:
        parsed = parse_toml(f"value = {text}")
    except ValueError:
        return text
    return parsed["value"]


def _build(
    schema: type[Settings], table: Mapping[str, Any], where: str, base: Settings | None = None
) -> Settings:
    """An instance of `schema`; what the table leaves out comes from `base`, else from the schema."""
    assert is_dataclass(schema)
    known = {field.name: field for field in fields(schema) if field.init}
    for key in table:
        if key not in known:
            raise InvalidRequest(_unknown(f"{where}{key}", key, schema))
    values = {
        key: _convert(known[key].type, table[key], f"{where}{key}", _default(known[key], base))
        for key in table
    }
    if base is not None:
        return schema(**({name: getattr(base, name) for name in known} | values))
    for name, field in known.items():
        required = field.default is MISSING and field.default_factory is MISSING
        if required and name not in values:
            raise InvalidRequest(f"'{where}{name}' is missing; it has no default")
    return schema(**values)


def _default(field: Field[Any], base: object) -> Any:
    if base is not None:
        return getattr(base, field.name)
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _unknown(path: str, key: str, schema: type) -> str:
    removed: Mapping[str, str] = getattr(schema, "REMOVED", {})
    if key in removed:
        return f"{path} is no longer a setting: {removed[key]}"
    known = [field.name for field in fields(schema) if field.init]
    near = difflib.get_close_matches(key[:60], known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
    return f"unknown setting {shown(path)}; {hint}"


def _convert(annotation: Any, value: Any, where: str, default: Any = None) -> Any:
    """`value` as `annotation` wants it, or `InvalidRequest`. An int is a float; nothing else is cast."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if is_dataclass(annotation) and isinstance(annotation, type) and isinstance(value, dict):
        base = default if type(default) is annotation else None
        return _build(annotation, value, f"{where}.", base)
    if origin in (Union, types.UnionType):
        return _convert_union(annotation, value, where, default)
    if origin is tuple and isinstance(value, list | tuple):
        return _convert_tuple(annotation, value, where)
    if origin is dict and isinstance(value, dict) and all(type(k) is arguments[0] for k in value):
        return {k: _convert(arguments[1], item, f"{where}.{k}") for k, item in value.items()}
    if origin is Literal and value in arguments:
        return value
    if annotation is float and isinstance(value, int) and not isinstance(value, bool):
        if abs(value) < 2**1000:
            return float(value)
        raise _mismatch(annotation, value, where)
    if annotation is Path and isinstance(value, str):
        return Path(value)
    if isinstance(annotation, type) and type(value) is annotation:
        return value
    raise _mismatch(annotation, value, where)


def _convert_union(annotation: Any, value: Any, where: str, default: Any) -> Any:
    """TOML has no null: "none" stands for it, unless the field may be text. The first member that fits is taken."""
    members = [member for member in get_args(annotation) if member is not type(None)]
    optional = len(members) < len(get_args(annotation))
    if optional and (value is None or (value == "none" and str not in members)):
        return None
    if len(members) == 1:
        return _convert(members[0], value, where, default)
    for member in members:
        try:
            return _convert(member, value, where, default)
        except InvalidRequest:
            continue
    raise _mismatch(annotation, value, where)


def _convert_tuple(annotation: Any, value: Sequence[Any], where: str) -> Any:
    members = get_args(annotation)
    if len(members) == 2 and members[1] is Ellipsis:
        members = (members[0],) * len(value)
    if len(members) != len(value):
        raise _mismatch(annotation, value, where)
    pairs = zip(members, value, strict=True)
    return tuple(_convert(m, item, f"{where}[{i}]") for i, (m, item) in enumerate(pairs))


def _mismatch(annotation: Any, value: Any, where: str) -> InvalidRequest:
    if is_dataclass(annotation):
        expected = "a section"
    elif get_origin(annotation) is Literal:
        expected = " or ".join(repr(choice) for choice in get_args(annotation))
    elif isinstance(annotation, type) and not get_args(annotation):
        expected = annotation.__name__
    else:
        expected = str(annotation).replace("typing.", "")
    return InvalidRequest(f"'{where}' must be {expected}, not {shown(value)}")
