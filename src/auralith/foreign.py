"""What is read from others is parsed here, or with the errors that are listed here.

A library raises whatever its author thought of; a reader has one error that names the file. So each kind of library has
its tuple of exceptions, and JSON and TOML have a function that raises nothing but ValueError.
"""

import json
import pickle
import struct
import tomllib
import zipfile
from collections.abc import Callable
from types import TracebackType
from typing import Any

JSON_ERRORS = (ValueError, RecursionError, MemoryError)
"""UnicodeError and numbers of thousands of digits are ValueErrors."""
SHAPE_ERRORS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""What code raises that takes a parsed text for what it should be: keys, kinds and sizes are others."""
PICKLE_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,  # also RecursionError and NotImplementedError
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    OSError,
    struct.error,
    zipfile.BadZipFile,
)
"""What torch's restricted unpickler and its zip reader raise on damaged or foreign bytes."""
MOST_TOML_CHARACTERS = 1_000_000


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; raises ValueError, whose text is short, for anything else."""
    try:
        return json.loads(text)
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table of a TOML text; raises ValueError for anything else, and beyond a million characters."""
    if len(text) > MOST_TOML_CHARACTERS:
        raise ValueError(f"it is longer than {MOST_TOML_CHARACTERS:,} characters")
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


class RustErrors:
    """A block in which the tokenizers library's errors, a bare Exception or a panic, become what `reason` makes of them.

    A panic of Rust is no Exception; neither has a class that could be named in an `except`.
    """

    def __init__(self, reason: Callable[[str], Exception]) -> None:
        self._reason = reason

    def __enter__(self) -> None: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if kind is Exception or (kind is not None and kind.__module__ == "pyo3_runtime"):
            raise self._reason(str(error).partition("\n")[0]) from None
