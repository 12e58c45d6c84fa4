"""Numbers that people and programs give: of any library, finite, and within the bounds of the field they are for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real

from auralith.errors import Field, InvalidRequest, shown


@dataclass(frozen=True)
class Range:
    """Bounds of a number, in a unit."""

    unit: str = ""
    least: int | float | None = None
    above: int | float | None = None
    most: int | float | None = None
    is_whole: bool = False
    """Take integers only; `least` must be set."""

    def check(self, settings: object, name: str) -> None:
        """Check a field as `check_number` or `check_integer` does."""
        if self.is_whole:
            assert isinstance(self.least, int) and isinstance(self.most, int | None)
            check_integer(settings, name, self.least, self.most)
        else:
            check_number(
                settings, name, self.unit, above=self.above, least=self.least, most=self.most
            )


def check_ranges(settings: object, ranges: Mapping[str, Range]) -> None:
    """Check every field of settings that has a range, in the order of the ranges."""
    for name, bounds in ranges.items():
        if hasattr(settings, name):
            bounds.check(settings, name)


def check_number(
    settings: object,
    name: str,
    unit: str = "",
    *,
    above: float | None = None,
    least: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> None:
    """Make the field a number of Python's own, if it is not None.

    Raises `InvalidRequest` unless it is a finite number of any library within these bounds, in `unit`.
    """
    given = getattr(settings, name)
    if given is None:
        return
    value = plain_number(given)
    if value is None:
        raise InvalidRequest(Field(name), f" is {shown(given)}, not a number")
    if not is_finite(value):
        raise InvalidRequest(Field(name), f" is {shown(value)}; give a finite number")
    object.__setattr__(settings, name, value)
    is_value = f" is {value:g}{' ' + unit if unit else ''}"
    problem = None
    if above is not None and value <= above:
        problem = f"above {above:g}"
    elif least is not None and value < least:
        problem = f"at least {least:g}"
    elif most is not None and value > most:
        problem = f"at most {most:g}"
    elif below is not None and value >= below:
        problem = f"below {below:g}"
    if problem is not None:
        limit = limit_of(above=above, least=least, most=most, below=below)
        raise InvalidRequest(Field(name), f"{is_value}; it must be {problem}", limit=limit)


def check_integer(settings: object, name: str, least: int, most: int | None = None) -> None:
    """Make the field an integer of Python's own, if it is not None.

    Raises `InvalidRequest` unless it is a whole number of any library within these bounds.
    """
    given = getattr(settings, name)
    if given is None:
        return
    value = plain_number(given)
    if not isinstance(value, int):
        raise InvalidRequest(Field(name), f" is {shown(given)}; give a whole number")
    if value < least or (most is not None and value > most):
        bounds = f"at least {least}" if most is None else f"from {least} to {most}"
        limit = limit_of(least=least, most=most)
        raise InvalidRequest(Field(name), f" is {shown(value)}; it must be {bounds}", limit=limit)
    object.__setattr__(settings, name, value)


def limit_of(
    *,
    above: int | float | None = None,
    least: int | float | None = None,
    most: int | float | None = None,
    below: int | float | None = None,
) -> dict[str, int | float]:
    """Return bounds in the words of JSON Schema, as errors carry them."""
    bounds = {
        "exclusiveMinimum": above,
        "minimum": least,
        "maximum": most,
        "exclusiveMaximum": below,
    }
    return {word: bound for word, bound in bounds.items() if bound is not None}


def plain_number(value: object) -> int | float | None:
    """Return a number of any library, or an array or tensor without axes, as one of Python's own; None for anything
    else, truth values and text included."""
    item = getattr(value, "item", None)
    if callable(item):  # as numpy's scalars and arrays and torch's tensors have it
        value = item() if getattr(value, "ndim", None) == 0 else None
    if isinstance(value, bool) or not isinstance(value, Real):
        return None
    return int(value) if isinstance(value, Integral) else float(value)


def finite_number(value: object) -> float | None:
    """Return a number of any library as a float; None for anything else, for NaN, and for what no float holds."""
    number = plain_number(value)
    return float(number) if number is not None and is_finite(number) else None


def is_finite(value: int | float) -> bool:
    """Return whether a float holds the number: integers may be larger than any."""
    return abs(value) < 2**1000 if isinstance(value, int) else math.isfinite(value)


def real_number(name: str, value: object) -> float:
    """Return a number of any library, or one written as text, as a float. Raise `InvalidRequest` unless it is finite."""
    number = _number_or_text(value)
    if number is None or not math.isfinite(number):
        raise InvalidRequest(f"{name} is {shown(value)}; give a finite number")
    return float(number)


def whole_number(name: str, value: object, least: int | None = 1) -> int:
    """Return a whole number of any library, or one written as text. Raise `InvalidRequest` for others and below `least`."""
    number = _number_or_text(value)
    if number is None or not math.isfinite(number) or number != int(number):
        raise InvalidRequest(f"{name} is {shown(value)}; give a whole number")
    if least is not None and number < least:
        raise InvalidRequest(
            f"{name} is {shown(value)}; it must be a whole number, at least {least}"
        )
    return int(number)


def _number_or_text(value: object) -> int | float | None:
    if not isinstance(value, str):
        return plain_number(value)
    try:
        return float(value)
    except ValueError:
        return None
