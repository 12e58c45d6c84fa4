"""The field that each option sets: values go from options to fields, and in errors the names go back.

A parameter of a command sets the field of its own name, or the one that `Sets` in its annotation says. So an error about
`cfg_scale` or `loop.steps` names `--cfg` or `--steps`, wherever the error was found.
"""

import inspect
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperOption

from auralith.errors import AuralithError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True)
class Sets:
    """The field of a request, or the path of a setting, that an option sets; a switch sets it to `value`."""

    field: str
    value: Any = True


def given(options: "DataclassInstance") -> dict[str, Any]:
    """Return the fields that a group of options sets, with their values, but for what was left out."""
    found: dict[str, Any] = {}
    for option in fields(options):
        value = getattr(options, option.name)
        if value is None or value is False:
            continue
        sets = _sets(option.name, option.type)
        found[sets.field] = sets.value if value is True else value
    return found


class FieldCommand(TyperCommand):
    """A command whose errors name its options and arguments in place of the fields that they set."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except AuralithError as error:
            names = _names(ctx)
            error.rename(lambda field: names.get(field.partition("[")[0], field))
            raise


def _names(context: Any) -> dict[str, str]:
    """Return what people call each field: the long name of an option of the command, or of the groups around it, or an
    argument as the usage has it."""
    names: dict[str, str] = _names(context.parent) if context.parent else {}
    callback = context.command.callback
    parameters = inspect.signature(callback).parameters if callback else {}
    for parameter in context.command.params:
        if parameter.name in parameters:  # --help is not
            is_option = isinstance(parameter, TyperOption)
            metavar = parameter.metavar or parameter.name.upper()
            name = max(parameter.opts, key=len) if is_option else metavar
            sets = _sets(parameter.name, parameters[parameter.name].annotation)
            names |= {parameter.name: name, sets.field: name}
    return names


def name_options(app: typer.Typer) -> None:
    """Make all commands of an application, and of the groups within, name their options in errors."""
    for command in app.registered_commands:
        command.cls = FieldCommand
    for group in app.registered_groups:
        if group.typer_instance is not None:
            name_options(group.typer_instance)


def _sets(name: str, annotation: Any) -> Sets:
    metadata = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((one for one in metadata if isinstance(one, Sets)), Sets(name))
