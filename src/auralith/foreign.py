"""Foreign data is parsed here, or with the errors that are listed here.

A library raises whatever its author thought of; a reader has one error that names the file. So each kind of library has
its tuple of exceptions, and JSON and TOML have a function that raises nothing but ValueError.
"""

import json
import os
import pickle
import struct
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

from auralith.errors import CheckpointError

Json = dict[str, Any]
"""An object of a JSON file."""
JSON_ERRORS = (ValueError, RecursionError, MemoryError)
"""UnicodeError and numbers of thousands of digits are ValueErrors."""
SHAPE_ERRORS = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError)
"""Exceptions of code that reads parsed text with other keys, kinds or sizes than expected."""
NPY_ERRORS = (
    OSError,
    EOFError,
    SyntaxError,
    TokenError,
    RecursionError,
    MemoryError,
    *SHAPE_ERRORS,
)
"""numpy raises these on damaged `.npy` files, whose headers are Python literals."""
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
"""Exceptions of torch's restricted unpickler and its zip reader on damaged or foreign bytes."""
CONFIG_ERRORS = (ValueError, TypeError, LookupError, AttributeError, RuntimeError, ArithmeticError)
"""Exceptions of transformers for a config.json of another model."""
MOST_TOML_CHARACTERS = 1_000_000
MOST_JSON_BYTES = 100_000_000
_CODE_KEYS = ("auto_map", "quantization_config", "trust_remote_code")
"""Keys of a config of transformers that name code; those of implementations name kernels, which the Hub may hold."""


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text; raises ValueError, whose text is short, for anything else."""
    try:
        return _parsed(json.loads, text)
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error


def read_json(path: Path) -> Json:
    """Return the object in a JSON file of a checkpoint.

    Raises:
        CheckpointError: the file can't be read, is too large, or holds something else.
    """
    try:
        if path.stat().st_size > MOST_JSON_BYTES:
            raise CheckpointError(f"{path} is larger than {MOST_JSON_BYTES:,} bytes; get it again")
        data = parse_json(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror or error}") from None
    except ValueError:
        raise CheckpointError(f"{path} is not valid JSON; get the file again") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path} must hold a JSON object, not a {type(data).__name__}")
    return data


def parse_toml(text: str) -> dict[str, Any]:
    """Return the table of a TOML text; raises ValueError for anything else, and beyond a million characters."""
    if len(text) > MOST_TOML_CHARACTERS:
        raise ValueError(f"it is longer than {MOST_TOML_CHARACTERS:,} characters")
    return _parsed(tomllib.loads, text)


def without_code(data: Json) -> Json:
    """Return a config of transformers without the keys by which it would fetch or run what others wrote."""
    return {
        name: value
        for name, value in data.items()
        if name not in _CODE_KEYS and "_implementation" not in name
    }


def _parsed(parse: Callable[[Any], Any], text: str | bytes) -> Any:
    """Return what a parser makes of a text; its errors come without Python's advice to programmers."""
    try:
        return parse(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:
        if "set_int_max_str_digits" not in str(error):
            raise
        limit = sys.get_int_max_str_digits()
        raise ValueError(f"a whole number has more than {limit:,} digits") from error


@contextmanager
def rust_errors(reason: Callable[[str], Exception]) -> Iterator[None]:
    """Raise what `reason` makes of an error of the tokenizers library, a bare Exception or a panic, within the block.

    A panic of Rust is a `BaseException`, and pyo3 exports no class for it that an `except` could name. Rust writes a panic to the
    process's stderr, past Python, before it is raised: that text is dropped.
    """
    with _held_stderr() as held:
        try:
            yield
        except BaseException as error:
            if type(error) is not Exception and type(error).__module__ != "pyo3_runtime":
                raise
            held.seek(0)
            held.truncate()
            raise reason(str(error).partition("\n")[0]) from None


@contextmanager
def _held_stderr() -> Iterator[IO[bytes]]:
    """Keep what the process writes to stderr in a file, and write it there at the end of the block."""
    with tempfile.TemporaryFile() as held:
        try:
            stderr = os.dup(2)
        except OSError:  # there is none, as under pythonw
            yield held
            return
        os.dup2(held.fileno(), 2)
        try:
            yield held
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            while text := held.read(1 << 16):
                os.write(2, text)
