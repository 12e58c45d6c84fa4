"""The values that programs pass in: numbers of any library, or written as text, and waveforms with their axes."""

import math

from torch import Tensor

from auralith.errors import InvalidRequest, shown
from auralith.request import plain_number

_MOST_CHANNELS = 64


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


def check_axes(name: str, waveform: Tensor) -> None:
    """Raise InvalidRequest for a waveform whose channels must be samples: (sample, channel)."""
    if waveform.dim() > 1 and waveform.shape[-2] > max(_MOST_CHANNELS, waveform.shape[-1]):
        raise InvalidRequest(
            f"{name} has {waveform.shape[-2]:,} channels of {waveform.shape[-1]} samples; give"
            " (channel, sample), such as waveform.T of what soundfile reads"
        )


def _number(value: object) -> int | float | None:
    if not isinstance(value, str):
        return plain_number(value)
    try:
        return float(value)
    except ValueError:
        return None
