"""The field that each option sets: an option takes type, choices, default and help from it, values go there, and in errors
the names go back.

A command names its options and their fields once, as an `Options` in the annotation of a parameter, and is called with the
fields that were given. An error about `cfg_scale` or `loop.steps` then names `--cfg` or `--steps`, wherever it was found.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperOption

from auralith.documented import documented
from auralith.errors import AuralithError

Given = dict[str, Any]
"""Values by the path of their field, without those that were left out."""


@dataclass(frozen=True)
class Sets:
    """The field of a request, or the path of a setting, that an option sets."""

    field: str
    value: Any = None
    """Makes the option a switch, which sets the field to this; `help` then says what it does."""
    help: str = ""
    metavar: str | None = None
    """Form of a text that the command itself takes apart."""
    repeated: bool = False


class Options:
    """Options that set fields of one class of settings: `same` are called as their fields, `others` as they say.

    `schema` is the path of the class, which is not imported.
    """

    def __init__(self, schema: str, *same: str, **others: str | Sets) -> None:
        named = {name: name for name in same} | others
        self.schema = schema
        self.sets = {k: Sets(v) if isinstance(v, str) else v for k, v in named.items()}

    def parameters(self) -> Iterator[inspect.Parameter]:
        """Yield each option as a parameter that typer understands."""
        names = {sets.field: _flag(name) for name, sets in self.sets.items()}
        for name, sets in self.sets.items():
            kind, default, doc = documented(self.schema, sets.field)
            metavar, shown = sets.metavar, default
            three = kind is bool and default is None  # on, off, or what else decides
            toggles = (default is True or three) and sets.value is None  # --name/--no-name
            if get_origin(kind) is Literal:
                choices = get_args(kind)
                kind, metavar = type(choices[0]), f"<{'|'.join(map(str, choices))}>"
            if kind is bool or sets.value is not None:
                kind, shown = bool, name.replace("_", "-") if toggles and default else None
            elif sets.metavar:
                kind, shown = list[str] if sets.repeated else str, None
            text = re.sub(r"`(\w+)`", lambda at: names.get(at[1], at[1]), sets.help or doc)
            flags = [] if toggles else [_flag(name)]
            option = typer.Option(*flags, help=_with_default(text, shown), metavar=metavar)
            yield _parameter(name, Annotated[kind | None, sets, option], None)

    def given(self, values: Mapping[str, Any]) -> Given:
        """Return what was given, by fields."""
        return {
            sets.field: values[name] if sets.value is None else sets.value
            for name, sets in self.sets.items()
            if values[name] is not None
        }


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _with_default(text: str, default: Any) -> str:
    if default is None or default is False or default in ("", ()):
        return text
    shown = ", ".join(map(str, default)) if isinstance(default, tuple) else default
    return f"{text}  [default: {shown}]"


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=default, annotation=annotation)


def shell_command(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb as typer should see it: with options in place of each parameter that is `Options`, or a dataclass of options."""
    hints = get_type_hints(verb, include_extras=True)
    groups: dict[str, list[inspect.Parameter]] = {}
    for name, hint in hints.items():
        if options := _options(hint):
            groups[name] = list(options.parameters())
        elif is_dataclass(hint):
            groups[name] = [_parameter(one.name, one.type, one.default) for one in fields(hint)]

    def command(**given: Any) -> None:
        for name, parameters in groups.items():
            own = {one.name: given.pop(one.name) for one in parameters}
            options = _options(hints[name])
            given[name] = options.given(own) if options else hints[name](**own)
        verb(**given)

    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(verb).parameters.items():
        own = _parameter(name, hints[name], parameter.default)
        parameters += groups.get(name, [own])
    command.__dict__["__signature__"] = inspect.Signature(parameters)
    command.__annotations__ = {item.name: item.annotation for item in parameters}
    command.__name__, command.__doc__ = verb.__name__, verb.__doc__
    return command


def _options(hint: Any) -> Options | None:
    return _marked(hint, Options)


def _marked(annotation: Any, kind: type) -> Any:
    metadata = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((one for one in metadata if isinstance(one, kind)), None)


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
            sets = _marked(parameters[parameter.name].annotation, Sets) or Sets(parameter.name)
            names |= {parameter.name: name, sets.field: name}
    return names


def name_options(app: typer.Typer) -> None:
    """Give all commands of an application, and of the groups within, the options of their fields, and their names in errors."""
    for command in app.registered_commands:
        if command.cls is not FieldCommand and command.callback is not None:
            command.cls, command.callback = FieldCommand, shell_command(command.callback)
    for group in app.registered_groups:
        if group.typer_instance is not None:
            name_options(group.typer_instance)
