"""Settings files: TOML and `--set a.b=c` into a frozen dataclass, strictly.

The dataclass is the schema: its fields name the keys, its annotations the types, its defaults what a file leaves
out. Understood are bool, int, float, str, Path, Literal, tuples, dicts, optional values and nested dataclasses.
Anything else in a file is an `InvalidRequest` that names the key: an unknown one with the nearest known, a wrong type with
the expected one, and a setting that was removed with its remedy (the schema's class variable `REMOVED`).
"""

import difflib
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from dataclasses import Field as DataclassField
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from auralith.errors import Field, InvalidRequest, shown
from auralith.foreign import parse_toml
from auralith.numbers import is_finite

Settings = TypeVar("Settings")


def load_settings(
    schema: type[Settings],
    path: str | Path | None = None,
    overrides: Sequence[str] = (),
    base: Settings | None = None,
    options: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings of a TOML file (all defaults without one), changed by `options`, then by `a.b=c` overrides in order.

    What none of them names is taken from `base`, or from the schema's defaults without one. `options` are values by path,
    such as {"loop.steps": 100}. The right side of an override is a TOML value; what isn't one, or isn't one that fits, is
    taken as a string (`name=tiny`, and `name=1` where names are text).

    Raises:
        InvalidRequest: a value is unknown, of another type or out of its range. Its name in the message says where it was
            given: `loop.steps in FILE`, `--set loop.steps`, or, as a `Field`, the path of an option or a default.
    """
    table: dict[str, Any] = {} if path is None else read_toml(path)
    places = [_FieldPlace(key, "", f" in {path}") for key in _leaves(table)]
    try:
        for key, value in (options or {}).items():
            places.append(_FieldPlace(key))
            _set(table, key, value)
        for override in overrides:
            key, value = _parsed(override)
            places.append(_FieldPlace(key, "--set "))
            _set(table, key, value)
        return _build(schema, table, "", base)
    except InvalidRequest as error:
        error.rename(lambda field: _named(field, places))
        raise


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


@dataclass(frozen=True)
class _FieldPlace:
    """Place where a value was given, as the words around its path in a message; none for an option."""

    path: str
    before: str = ""
    after: str = ""

    def concerns(self, field: str) -> bool:
        """Return whether a field is what was given here, a part of it, or a section around it."""
        own, other = f"{self.path}.", f"{field.partition('[')[0]}."
        return own.startswith(other) or other.startswith(own)


def _named(field: Field, places: Sequence[_FieldPlace]) -> str:
    """Return a field with the place where it was given, the last one where there are several."""
    place = next((place for place in reversed(places) if place.concerns(field)), _FieldPlace(field))
    if not (place.before or place.after):
        return field
    return f"{place.before}{field}{place.after}"


def _leaves(table: Mapping[str, Any], where: str = "") -> Iterator[str]:
    for key, value in table.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{where}{key}.")
        else:
            yield f"{where}{key}"


@dataclass(frozen=True)
class _Override:
    """The right side of an override, where the field decides whether its TOML value or its text is meant."""

    text: str
    value: Any
    """Holds the value that the text has in TOML."""


def _parsed(override: str) -> tuple[str, Any]:
    """Return the path and the value of an `a.b=c` override."""
    key, equals, text = (part.strip() for part in override.partition("="))
    if not equals or not all(key.split(".")):
        raise InvalidRequest(
            f"--set {shown(override)} is not a setting with its value; write --set section.key=value"
        )
    try:
        table = parse_toml(f"value = {text}")
    except ValueError:
        return key, text
    value = table["value"]
    if len(table) > 1:  # more lines, with keys of their own
        return key, text
    return key, value if isinstance(value, str) else _Override(text, value)


def _set(table: dict[str, Any], path: str, value: Any) -> None:
    """Set what is at a path of a table; its sections are made, or copied, on the way."""
    *parents, last = path.split(".")
    for i, parent in enumerate(parents, 1):
        section = table.get(parent, {})
        section = section.value if isinstance(section, _Override) else section
        if not isinstance(section, dict):
            outer = ".".join(parents[:i])
            raise InvalidRequest(Field(path), f" can't be set: {outer} is a value, not a section")
        table[parent] = dict(section)
        table = table[parent]
    table[last] = value


def _build(
    schema: type[Settings], table: Mapping[str, Any], where: str, base: Settings | None = None
) -> Settings:
    """An instance of `schema`; what the table leaves out comes from `base`, else from the schema."""
    assert is_dataclass(schema)
    known = {field.name: field for field in fields(schema) if field.init}
    for key in table:
        if key not in known:
            raise _unknown(f"{where}{key}", key, schema)
    values = {
        key: _convert(known[key].type, table[key], f"{where}{key}", _default(known[key], base))
        for key in table
    }
    for name, field in known.items():
        required = field.default is MISSING and field.default_factory is MISSING
        if required and base is None and name not in values:
            raise InvalidRequest(Field(f"{where}{name}"), " is missing; it has no default")
    if base is not None:
        values = {name: getattr(base, name) for name in known} | values
    try:
        return schema(**values)
    except InvalidRequest as error:
        error.rename(lambda field: Field(f"{where}{field}"))
        raise


def _default(field: DataclassField[Any], base: object) -> Any:
    if base is not None:
        return getattr(base, field.name)
    if field.default_factory is not MISSING:
        return field.default_factory()
    return field.default


def _unknown(path: str, key: str, schema: type) -> InvalidRequest:
    name = Field(shown(path)[1:-1])
    removed: Mapping[str, str] = getattr(schema, "REMOVED", {})
    if key in removed:
        return InvalidRequest(name, f" is no longer a setting: {removed[key]}")
    known = [field.name for field in fields(schema) if field.init]
    near = difflib.get_close_matches(key[:60], known, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"
    return InvalidRequest(name, f" is not a setting; {hint}")


def _convert(annotation: Any, value: Any, where: str, default: Any = None) -> Any:
    """`value` as `annotation` wants it, or `InvalidRequest`. An int is a float; nothing else is cast."""
    if isinstance(value, _Override):
        return _convert_written(annotation, value, where, default)
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
    if origin is Literal and (type(value), value) in [(type(one), one) for one in arguments]:
        return value
    if annotation is float and type(value) is int and is_finite(value):
        return float(value)
    if annotation is Path and isinstance(value, str | Path):
        return Path(value)
    if isinstance(annotation, type) and type(value) is annotation:
        return value
    raise _mismatch(annotation, value, where)


def _convert_written(annotation: Any, written: _Override, where: str, default: Any) -> Any:
    """The TOML value if it fits, else the text: a column may be called 1, true or 2026-03-31."""
    try:
        return _convert(annotation, written.value, where, default)
    except InvalidRequest:
        try:
            return _convert(annotation, written.text, where, default)
        except InvalidRequest:
            pass
        raise


def _convert_union(annotation: Any, value: Any, where: str, default: Any) -> Any:
    """Convert a value by the first member that fits.

    TOML lacks null: "none" stands for it, unless the field may be text.
    """
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


_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
}
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
"""Types in the words of JSON Schema."""


def _mismatch(annotation: Any, value: Any, where: str) -> InvalidRequest:
    if is_dataclass(annotation):
        expected = "a section"
    elif get_origin(annotation) is Literal:
        expected = " or ".join(repr(choice) for choice in get_args(annotation))
    elif isinstance(annotation, type) and not get_args(annotation):
        expected = _KINDS.get(annotation, annotation.__name__)
    else:
        expected = str(annotation).replace("typing.", "")
    limit = {"type": _TYPES[annotation]} if annotation in _TYPES else None
    if get_origin(annotation) is Literal:
        limit = {"enum": list(get_args(annotation))}
    return InvalidRequest(Field(where), f" must be {expected}, not {shown(value)}", limit=limit)
