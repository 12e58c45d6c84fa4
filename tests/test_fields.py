"""Options take type, choices, default and help from fields: what is read in the source is what the classes have."""

import importlib
import inspect
import pkgutil
import types
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest

import auralith.cli
from auralith.cli.fields import Options, Sets, shell_command
from auralith.documented import documented

OWN_DEFAULT = {"optimizer.learning_rate"}
"""Fields whose default is no literal."""


def all_options() -> Iterator[Options]:
    for module in pkgutil.walk_packages(auralith.cli.__path__, "auralith.cli."):
        for verb in vars(importlib.import_module(module.name)).values():
            if inspect.isfunction(verb) and verb.__module__ == module.name:
                for hint in inspect.get_annotations(verb).values():
                    yield from (one for one in get_args(hint) if isinstance(one, Options))


PATHS = sorted({(one.schema, sets.field) for one in all_options() for sets in one.sets.values()})


def actual(schema: str, path: str) -> tuple[Any, Any]:
    """The annotation and the default of a field, by importing its class."""
    module, _, name = schema.rpartition(".")
    cls: Any = getattr(importlib.import_module(module), name)
    instance: Any = None
    for part in path.split("."):
        field = next(one for one in fields(cls) if one.name == part)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        instance = default if instance is None else getattr(instance, part)
        cls = field.type
    return cls, instance


def shell_type(annotation: Any) -> Any:
    """What an option can take of a type."""
    if get_origin(annotation) in (Union, types.UnionType):
        return shell_type(get_args(annotation)[0])
    if annotation in (int, float, bool, str, Path) or get_origin(annotation) is Literal:
        return annotation
    if get_origin(annotation) is tuple and get_args(annotation)[1:] == (...,):
        return list[shell_type(get_args(annotation)[0])]  # pyright: ignore[reportInvalidTypeForm]
    return str


def test_all_commands_with_settings_have_fields_as_options() -> None:
    schemas = {schema.rpartition(".")[2] for schema, _ in PATHS}
    assert schemas >= {"GenerationRequest", "FinetuneSettings", "EncodeOptions", "MemorySettings"}
    assert schemas >= {"CurationSettings", "SetSettings", "Variation", "Extension", "Loop"}
    assert len(PATHS) > 70


@pytest.mark.parametrize(("schema", "path"), PATHS)
def test_the_source_says_what_the_class_has(schema: str, path: str) -> None:
    found, (annotation, default) = documented(schema, path), actual(schema, path)
    assert found.type == shell_type(annotation)
    assert found.default == (None if path in OWN_DEFAULT or default in ({}, MISSING) else default)
    assert found.doc.endswith((".", "…")) and found.doc == found.doc.strip()


def test_an_option_has_all_of_its_field() -> None:
    switched = Sets("decay_vectors", False, "Leave vectors alone.")
    options = Options(
        "auralith.training.optimizers.OptimizerSettings",
        *("kind", "betas", "decay_vectors", "warmup_steps"),
        plain=switched,
    )

    def verb(chosen: Annotated[dict[str, Any], options]) -> None:
        seen.append(chosen)

    seen: list[dict[str, Any]] = []
    verb.__annotations__["chosen"] = Annotated[dict[str, Any], options]
    command = shell_command(verb)
    parameters = inspect.signature(command).parameters
    assert list(parameters) == ["kind", "betas", "decay_vectors", "warmup_steps", "plain"]
    kind, sets, option = get_args(parameters["kind"].annotation)
    assert (kind, sets, option.metavar) == (str | None, Sets("kind"), "<adamw|adamw8bit>")
    assert option.help.endswith("  [default: adamw]")
    number, _, option = get_args(parameters["warmup_steps"].annotation)
    assert number == int | None and option.help.endswith("  [default: 50]")
    both, _, option = get_args(parameters["decay_vectors"].annotation)
    assert both == bool | None and option.help.endswith("  [default: decay-vectors]")
    flag, sets, option = get_args(parameters["plain"].annotation)
    assert (flag, sets, option.help) == (bool | None, switched, "Leave vectors alone.")
    nothing = dict.fromkeys(parameters)
    for given, fields_set in (
        ({}, {}),
        ({"kind": "adamw8bit", "warmup_steps": 0}, {"kind": "adamw8bit", "warmup_steps": 0}),
        ({"decay_vectors": False}, {"decay_vectors": False}),
        ({"plain": True}, {"decay_vectors": False}),
    ):
        command(**nothing | given)
        assert seen.pop() == fields_set


def test_a_help_names_options_in_place_of_fields() -> None:
    options = Options("auralith.edits.Loop", "bpm", tact="bars", length="seconds")
    helps = [get_args(one.annotation)[2].help for one in options.parameters()]
    assert helps[0] == "Tempo in beats per minute; with --tact in place of --length."
