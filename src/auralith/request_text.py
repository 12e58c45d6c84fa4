"""Settings of a request as people write them: on a command line, and in the cells of a table."""

from collections.abc import Iterable

from auralith.errors import Field, InvalidRequest, shown


def parse_interval(text: str) -> tuple[float, float]:
    """The `cfg_interval` of a text such as "0.2-0.8"; raises `InvalidRequest` for any other."""
    low, _, high = text.partition("-")
    try:
        return float(low), float(high)
    except ValueError as error:
        raise InvalidRequest(
            Field("cfg_interval"), f" is {shown(text)}; write two numbers as 0.2-0.8"
        ) from error


def parse_sigmas(text: str) -> tuple[float, ...]:
    """Return the `sigmas` of a text such as "80,40,20,0"; raise `InvalidRequest` for any other."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidRequest(
            Field("sigmas"),
            f": {shown(text)} are no noise levels; write falling numbers as 80,40,20,0",
        ) from error


def parse_mix(texts: Iterable[str]) -> tuple[tuple[float, str], ...]:
    """Return the `mix` of texts such as "0.3:thunder"; raise `InvalidRequest` for any other."""
    found = []
    for text in texts:
        weight, _, prompt = text.partition(":")
        try:
            found.append((float(weight), prompt.strip()))
        except ValueError as error:
            raise InvalidRequest(
                Field("mix"), f" {shown(text)} has no weight; write 0.3:thunder"
            ) from error
    return tuple(found)


def parse_conditions(texts: Iterable[str]) -> dict[str, float]:
    """Return the `conditions` of texts such as "bpm=128"; raise `InvalidRequest` for any other, or an id given twice."""
    found: dict[str, float] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals):
            raise InvalidRequest(Field("condition"), f" {shown(text)} has no number; write bpm=128")
        if name in found:
            raise InvalidRequest(
                Field("condition"), f" {name!r:.80} is given twice; keep one of them"
            )
        found[name] = parse_condition(name, value)
    return found


def parse_condition(name: str, text: str) -> float:
    """Return the number in a text; raise `InvalidRequest` for any other text."""
    try:
        return float(text)
    except ValueError as error:
        raise InvalidRequest(
            Field("condition"),
            f" {name!r:.80} is {text!r:.80}, not a number; give one, such as 128",
        ) from error
