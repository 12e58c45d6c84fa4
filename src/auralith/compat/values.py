"""The numbers that programs pass in: of any library, or written as text."""

import math

from auralith.errors import InvalidRequest, shown
from auralith.numbers import plain_number


def real_number(name: str, value: object) -> float:
    """The value as a finite float. Raises InvalidRequest for what is none."""
    number = _number(value)
    if number is None or not math.isfinite(number):
        raise InvalidRequest(f"{name} is {shown(value)}; give a finite number")
    return float(number)


def whole_number(name: str, value: object, least: int | None = 1) -> int:
    """The value as an integer. Raises InvalidRequest for what is none, and below `least`."""
    number = _number(value)
    if number is None or not math.isfinite(number) or number != int(number):
        raise InvalidRequest(f"{name} is {shown(value)}; give a whole number")
    if least is not None and number < least:
        raise InvalidRequest(
            f"{name} is {shown(value)}; it must be a whole number, at least {least}"
        )
    return int(number)


def _number(value: object) -> int | float | None:
    if not isinstance(value, str):
        return plain_number(value)
    try:
        return float(value)
    except ValueError:
        return None
