"""Fields of settings as their source states them: type, default and docstring, without importing the module.

Settings stand beside the networks that they configure, so importing them loads torch, which `--help` can't wait for. Only
the statement that defines a class or a name is parsed, and nothing is executed.
"""

import ast
import pkgutil
import re
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

_PLAIN: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str, "Path": Path}


class Documented(NamedTuple):
    """One field: what an option that sets it has to know."""

    type: Any
    """int, float, bool, str, Path or a Literal; list of one of them for a tuple of any length; else str."""
    default: Any
    """None where there is none, or it isn't written as a literal."""
    doc: str
    """First paragraph of the docstring, as one line."""


def documented(schema: str, path: str) -> Documented:
    """Return a field of a dataclass, such as ("auralith.training.finetune.FinetuneSettings", "loop.steps")."""
    module, _, name = schema.rpartition(".")
    given: dict[str, tuple[str, ast.expr | None]] = {}
    *sections, last = path.split(".")
    for section in sections:
        field = _fields(module, name)[section]
        home, value = given.get(section, (field.module, field.value))
        given = {one.arg: (home, one.value) for one in _keywords(value) if one.arg}
        module, name = field.module, ast.unparse(field.annotation)
    field = _fields(module, name)[last]
    default = _literal(*given.get(last, (field.module, field.value)))
    return Documented(_type(field.module, field.annotation), default, field.doc)


@dataclass(frozen=True)
class _Field:
    module: str
    annotation: ast.expr
    value: ast.expr | None
    doc: str


@cache
def _fields(module: str, name: str) -> dict[str, _Field]:
    module, definition = _definition(module, name)
    assert isinstance(definition, ast.ClassDef)
    found: dict[str, _Field] = {}
    for statement, after in pairwise([*definition.body, ast.Pass()]):
        match statement:
            case ast.AnnAssign(target=ast.Name(id=key), annotation=annotation, value=value):
                found[key] = _Field(module, annotation, value, _first_paragraph(after))
            case _:
                pass
    return found


def _first_paragraph(node: ast.stmt) -> str:
    """Return the first paragraph of a statement that is a docstring, as one line; nothing for any other."""
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return " ".join(text.split("\n\n")[0].split())
        case _:
            return ""


@cache
def _definition(module: str, name: str) -> tuple[str, ast.stmt]:
    """Return the module that defines a name, found by its imports, and the statement there; of a class without methods."""
    text = _source(module)
    imported = rf"from (\S+) import (?:\([^)]*\b{name}\b|[^(\n]*\b{name}\b)"
    found = re.search(
        rf"^(?:class {name}\b|{name}(?:: [^=\n]+)? = |{imported})", text, re.MULTILINE
    )
    assert found, f"{module} defines no {name}"
    if found[1]:
        return _definition(found[1], name)
    lines = re.split(r"\n(?=[^\s)\]}]|    def |    @)", text[found.start() :], maxsplit=1)
    return module, ast.parse(lines[0]).body[0]


@cache
def _source(module: str) -> str:
    package, _, inner = module.partition(".")
    path = inner.replace(".", "/")
    for file in (f"{path}.py", f"{path}/__init__.py"):
        try:
            return (pkgutil.get_data(package, file) or b"").decode()
        except FileNotFoundError:
            continue
    raise AssertionError(f"there is no module {module}")


def _type(module: str, node: ast.expr) -> Any:
    match node:
        case ast.BinOp(left=first):  # a union: the first member that a shell can write
            return _type(module, first)
        case ast.Name(id=name) if name in _PLAIN:
            return _PLAIN[name]
        case ast.Name(id=name):
            home, value = _value(module, name)
            return str if value is None else _type(home, value)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inside):
            parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
            choices = tuple(_literal(module, one) or _type(module, one) for one in parts)
            return Literal[choices]  # pyright: ignore[reportInvalidTypeForm]
        case ast.Subscript(
            value=ast.Name(id="tuple"), slice=ast.Tuple(elts=[member, ast.Constant()])
        ):
            return list[_type(module, member)]  # pyright: ignore[reportInvalidTypeForm]
        case _:
            return str


def _value(module: str, name: str) -> tuple[str, ast.expr | None]:
    """Return the module that assigns a name, and what it assigns; None for a class."""
    module, definition = _definition(module, name)
    is_assigned = isinstance(definition, ast.Assign | ast.AnnAssign)
    return module, definition.value if is_assigned else None


def _literal(module: str, node: ast.expr | None) -> Any:
    if isinstance(node, ast.Name):
        return _literal(*_value(module, node.id))
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None


def _keywords(node: ast.expr | None) -> list[ast.keyword]:
    """Return the arguments of the call that makes a section, which may be within `field(default_factory=lambda: …)`."""
    calls = [one for one in ast.walk(node) if isinstance(one, ast.Call)] if node else []
    return next((one.keywords for one in calls if ast.unparse(one.func) != "field"), [])
