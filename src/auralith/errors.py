"""Errors a user can act on: each message is one line that says what is wrong, the limit, and the remedy.

The command line prints the message and exits with code 2; an HTTP server answers with a 4xx status. Anything that
is not an `AuralithError` is a defect of this package.
"""

import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from auralith.escaping import printable


class Field(str):
    """The name of a setting within a message, which a caller can replace by the name that its own users know."""

    __slots__ = ()


class AuralithError(Exception):
    """Base of every error that is the input's fault or the machine's, never the package's.

    The message is given in one or more parts. A part that is a `Field` names a setting as Python does; `rename` turns
    it into an option, a column or a key. `limit` is what the first field may be, for programs, in the words of JSON Schema:
    minimum, maximum, exclusiveMinimum, exclusiveMaximum, enum, maxItems, maxLength.
    """

    limit: Mapping[str, Any] | None = None

    def __init__(self, *parts: str, limit: Mapping[str, Any] | None = None) -> None:
        super().__init__(*parts)
        self.limit = limit

    def __str__(self) -> str:
        return "".join(self.args)

    def rename(self, name_of: Callable[[Field], str]) -> None:
        """Call each field of the message what `name_of` returns for it. Only a name that is again a `Field` can change later."""
        self.args = tuple(name_of(part) if isinstance(part, Field) else part for part in self.args)


class InvalidRequest(AuralithError, ValueError):
    """A value that was asked for is out of its range, of the wrong kind, or unknown."""


class CheckpointError(AuralithError):
    """A checkpoint is missing, damaged, of another architecture, or not safe to read."""


class AudioError(AuralithError):
    """A sound file can't be read or written, or the audio itself is not usable.

    `reason_code` is one word for it, as the evidence of a curation has it ("truncated", "not_audio", ...).
    """

    def __init__(self, message: str, reason_code: str = "unusable") -> None:
        super().__init__(message)
        self.reason_code = reason_code


class ResourceError(AuralithError):
    """Memory, disk space or a device is missing; the message says how much is needed."""


class NonFiniteError(AuralithError, ArithmeticError):
    """NaN or infinity appeared; the message names the step."""


class Interrupted(KeyboardInterrupt):
    """A signal ended the work: Ctrl-C, or SIGTERM and SIGHUP where they are taken care of.

    The text says what was kept, if anything was; `signal_number` decides the exit code (128 more).
    """

    def __init__(self, signal_number: int, message: str = "") -> None:
        super().__init__(message)
        self.signal_number = signal_number


class MissingExtra(AuralithError, ImportError):
    """An optional library is not installed; the message says which extra brings it."""


_SHORT_OF_MEMORY = re.compile(
    "out of memory|not enough memory|can't allocate memory|bad_alloc|can't start new thread"
)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is short, as Python, NumPy and torch (a RuntimeError) say it."""
    if isinstance(error, RuntimeError):
        return _SHORT_OF_MEMORY.search(str(error)) is not None
    return isinstance(error, MemoryError)


def shown(value: object, limit: int = 60) -> str:
    """A value for a message: quoted if it is text, at most about `limit` characters, controls and broken bytes escaped.

    Of an array or tensor the type and the shape are shown, of a number of many digits how many they are.
    """
    if isinstance(value, int) and not -(10**18) < value < 10**18:
        return f"a number of about {int(value.bit_length() * 0.30103) + 1:,} digits"
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and shape and dtype is not None:
        return f"{str(dtype).removeprefix('torch.')} of shape {tuple(shape)}"
    text = value if isinstance(value, str) else _representation(value)
    short = printable(text if len(text) <= limit else text[: limit - 1] + "…")
    return f"'{short}'" if isinstance(value, str) else short


def _representation(value: object) -> str:
    """`repr` that costs no more than a few words: long members of long collections are left out."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 80
    try:
        return short.repr(value)
    except ValueError:  # an integer of more digits than Python writes
        return f"a {type(value).__name__}"
