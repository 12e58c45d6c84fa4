"""Requests over HTTP: one JSON object whose members are fields of a `GenerationRequest`, of an edit and of `Making`.

Those classes say what is valid; here are only names. Each field has one name in JSON; names that other programs use for the
same are taken too, but not two at once. A resolved order is written with `to_json`, and read again, unchanged.
"""

import difflib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args, no_type_check

from auralith.adapter_effect import AdapterEffect
from auralith.editing import longest_clip
from auralith.editing.looping import require_fit
from auralith.editing.timeline import without_seconds
from auralith.edits import EDITS, Edit, Extension, Inpainting, Loop
from auralith.errors import AuralithError, Field, InvalidRequest, shown
from auralith.foreign import JSON_ERRORS
from auralith.jobs.names import ALIASES, NAMES, SPANS, Format
from auralith.numbers import check_integer, limit_of
from auralith.request import GenerationRequest
from auralith.resolution import Resolver, known
from auralith.settings import build_settings
from auralith.sound.extent import SoundInfo
from auralith.tables.json_rows import distinct

Task = Literal["text", "vary", "inpaint", "extend", "loop"]
MOST_SOUNDS = 16
MOST_ADAPTERS = 8
LONGEST_LABEL = 200
"""Characters."""
LONGEST_SECONDS = 600.0
"""Longest sound that is made by extending one."""


class Malformed(InvalidRequest):
    """A body is not JSON."""


@dataclass(frozen=True)
class AdapterChoice:
    """An adapter of the server's folder."""

    id: str
    strength: float = 1.0
    levels: tuple[float, float] = (0.0, 1.0)
    skip: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "strength", self.effect.strength)
        object.__setattr__(self, "levels", self.effect.levels)

    @classmethod
    def of(cls, id: str, effect: AdapterEffect) -> "AdapterChoice":
        """Return the choice of an adapter with this effect."""
        return cls(id, effect.strength, effect.levels, effect.skip)

    @property
    def effect(self) -> AdapterEffect:
        """Return its effect. Raise InvalidRequest for values out of range."""
        return AdapterEffect(self.strength, self.levels, self.skip)


@no_type_check  # values come from JSON: the checks below are for any type
@dataclass(frozen=True)
class Making:
    """Members of an order besides the request and the edit.

    Raises:
        InvalidRequest: a value is out of its range.
    """

    task: Task = "text"
    model: str | None = None
    """Name of a model of the server; its first one if left out."""
    n: int = 1
    """Number of sounds, of the seed and the ones after it."""
    source: str | None = None
    """Id of an upload, or of a sound that was made: what an edit starts from."""
    adapters: tuple[AdapterChoice, ...] = ()
    format: Format = "wav"
    webhook: str | None = None
    """URL that is told when the job has ended, of those that the server allows."""
    label: str | None = None
    """Name of what the job belongs to, such as a set of prompts; a search finds it."""

    def __post_init__(self) -> None:
        check_integer(self, "n", 1, MOST_SOUNDS)
        if self.label is not None and not 1 <= len(self.label) <= LONGEST_LABEL:
            raise InvalidRequest(
                Field("label"),
                f" has {len(self.label)} characters; give 1 to {LONGEST_LABEL}",
                limit={"minLength": 1, "maxLength": LONGEST_LABEL},
            )
        ids = [one.id for one in self.adapters]
        if len(ids) > MOST_ADAPTERS or len(set(ids)) < len(ids):
            raise InvalidRequest(
                Field("adapters"),
                f" name {len(ids)} adapters; give at most {MOST_ADAPTERS}, each once",
                limit={"maxItems": MOST_ADAPTERS, "uniqueItems": True},
            )
        takes_source = self.task in ("vary", "inpaint", "extend")
        if takes_source and self.source is None:
            raise InvalidRequest(
                Field("source"), f" is missing; {self.task} starts from a sound: give its id"
            )
        if self.source is not None and not takes_source:
            raise InvalidRequest(
                Field("source"), f" is set; {self.task} starts from no sound: leave it out"
            )


@dataclass(frozen=True)
class Order:
    """Order: settings, perhaps an edit, and how many of it in which form."""

    settings: GenerationRequest
    edit: Edit | None
    making: Making

    def to_json(self) -> dict[str, Any]:
        """Return the members that `read_order` makes this order of."""
        parts = [asdict(self.making), _members(self.settings)]
        if self.edit is not None:
            parts.append(_members(self.edit))
        found = {
            NAMES.get(name, name): value
            for part in parts
            for name, value in part.items()
            if value is not None and name != "kind"
        }
        if "init_noise_level" in found:  # in place of the strength
            del found["strength"]
        return found

    def numbered(self) -> Iterator[GenerationRequest]:
        """Yield the settings of each sound of a resolved order."""
        for index in range(self.making.n):
            yield replace(self.settings, seed=known(self.settings.seed) + index)


def parse_body(data: bytes) -> Any:
    """Return the value of a JSON text. Raise `Malformed` for anything else, and for a name that stands twice."""
    try:
        return json.loads(data, object_pairs_hook=distinct)
    except UnicodeDecodeError as error:
        raise Malformed("the body is not UTF-8; send JSON in UTF-8") from error
    except JSON_ERRORS as error:
        why = str(error) if isinstance(error, ValueError) else "it is nested too deeply"
        raise Malformed(f"the body is not JSON ({why:.100}); send one JSON object") from error


def read_order(body: Any) -> Order:
    """Return the order of a parsed body.

    Raises:
        InvalidRequest: a name is unknown, a value is of another type or out of its range, or two names say the same. Fields in
            the message have their names in JSON.
    """
    if not isinstance(body, dict):
        raise InvalidRequest(f"the body is {shown(body)}; send one JSON object")
    try:
        return _read(_canonical(body))
    except InvalidRequest as error:
        rename(error)
        raise


def rename(error: AuralithError) -> None:
    """Call the fields of a message as they are called in JSON."""
    error.rename(lambda field: Field(NAMES.get(field, field)))


def resolved(order: Order, model: Resolver, source: SoundInfo | None) -> Order:
    """Return the order with every default of a model filled in, and the seed drawn.

    `source` is the sound that an edit starts from. Raises `InvalidRequest` for what the model can't do with it.
    """
    try:
        if order.edit is None:
            settings = model.resolve(order.settings)
        else:
            settings = without_seconds(model, order.settings, f"{order.making.task} has its own")
            _check_edit(order.edit, model, source)
        done = replace(order, settings=settings)
        for _ in done.numbered():  # the last seed may be too large
            pass
        return done
    except InvalidRequest as error:
        rename(error)
        raise


def cost(order: Order, model: Resolver, source: SoundInfo | None) -> float:
    """Return steps times seconds of sound that a resolved order takes."""
    match order.edit:
        case Extension() as edit:
            seconds = edit.seconds_total
        case Loop() as edit:
            seconds = model.config.audio.seconds(edit.num_samples(model.config.audio.sample_rate))
        case _:
            seconds = order.settings.seconds_output or (source.seconds if source else 1.0)
    return float(order.making.n * known(order.settings.steps) * seconds)


def _check_edit(edit: Edit, model: Resolver, source: SoundInfo | None) -> None:
    if isinstance(edit, Loop):
        require_fit(model, edit.num_samples(model.config.audio.sample_rate))
        return
    assert source is not None  # `Making` asks for it
    longest = longest_clip(edit, model)
    if isinstance(edit, Extension):
        longest = LONGEST_SECONDS
        edit.require_longer(source.num_samples, source.sample_rate)
        if edit.seconds_total > longest:
            raise InvalidRequest(
                Field("seconds_total"),
                f" is {edit.seconds_total:g} s; it must be at most {longest:g} s",
                limit=limit_of(most=longest),
            )
    if isinstance(edit, Inpainting):
        edit.require_inside(source.seconds)
    if longest is not None and source.seconds > longest:
        raise InvalidRequest(
            Field("source"),
            f" is {source.seconds:.2f} s long; this takes at most {longest:.2f} s; cut it",
            limit=limit_of(most=longest),
        )


def _read(body: dict[str, Any]) -> Order:
    making = build_settings(Making, {k: body[k] for k in _names(Making) & body.keys()})
    schema = EDITS.get(making.task)
    own = set() if schema is None else _names(schema) - {"kind"}
    tables: dict[type | None, dict[str, Any]] = {schema: {}, GenerationRequest: {}}
    for name in body.keys() - _names(Making):
        field = name if name in own else _FIELDS.get(name, name)
        if field in own:
            tables[schema][field] = body[name]
        elif field in _names(GenerationRequest):
            tables[GenerationRequest][field] = body[name]
        else:
            raise _unknown(name, making.task)
    table = tables[GenerationRequest]
    for name in ("prompt", "negative_prompt"):  # in Python it may be an embedding too
        if not isinstance(table.get(name, ""), str | None):
            raise InvalidRequest(Field(name), f" must be text, not {shown(table[name])}")
    settings = build_settings(GenerationRequest, table)
    given = {name for name, value in tables[schema].items() if value is not None}
    if given >= {"strength", "init_noise_level"}:
        raise InvalidRequest(
            Field("strength"),
            " and ",
            Field("init_noise_level"),
            " say the same; give one of them",
        )
    edit = None if schema is None else build_settings(schema, tables[schema])
    return Order(settings, edit, making)


def _canonical(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members under their own names; raise `InvalidRequest` where two say the same."""
    body = dict(body)
    found: dict[str, tuple[str, Any]] = {}
    for first, last in SPANS:
        if first in body or last in body:
            span = [body.pop(first, None), body.pop(last, None)]
            if None in span:
                raise InvalidRequest(Field(first), f" and {last} belong together; give both")
            _put(found, "regions", first, [span])
    for name, value in body.items():
        _put(found, ALIASES.get(name, name), name, value)
    result = {name: value for name, (_, value) in found.items()}
    seed = result.get("seed")
    if isinstance(seed, str) and seed.isascii() and seed.isdigit() and len(seed) <= 20:
        result["seed"] = int(seed)  # JavaScript has integers to 2^53 only
    return result


def _put(found: dict[str, tuple[str, Any]], canonical: str, name: str, value: Any) -> None:
    if canonical in found:
        raise InvalidRequest(
            Field(name), f" and {found[canonical][0]} say the same; give one of them"
        )
    found[canonical] = (name, value)


_FIELDS = {name: field for field, name in NAMES.items()}


def _names(schema: type) -> set[str]:
    return {field.name for field in fields(schema)}


def _members(settings: GenerationRequest | Edit) -> dict[str, Any]:
    """Return the fields of settings as JSON values."""
    return {field.name: _plain(getattr(settings, field.name)) for field in fields(settings)}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    assert not (isinstance(value, float) and not math.isfinite(value))  # requests hold none
    return value


def _unknown(name: str, task: Task) -> InvalidRequest:
    for other, schema in EDITS.items():
        if _FIELDS.get(name, name) in _names(schema) - {"kind"}:
            return InvalidRequest(
                Field(name), f" is not a setting of the task {task}, but of {other}; leave it out"
            )
    names = setting_names(task)
    near = difflib.get_close_matches(name[:60], [*names, *ALIASES], n=1, cutoff=0.4)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(names)}"
    return InvalidRequest(Field(shown(name)[1:-1]), f" is not a setting; {hint}")


def setting_names(task: str) -> list[str]:
    """Return the names that an order of a task may have, sorted."""
    names = {NAMES.get(field, field) for field in _names(GenerationRequest)} | _names(Making)
    if task in EDITS:
        names |= {NAMES.get(field, field) for field in _names(EDITS[task]) - {"kind"}}
    return sorted(names)


TASKS: tuple[str, ...] = get_args(Task)
