"""JSON tables: one object in each line, or one array (or object) of objects, which is read a member at a time.

NaN and infinity, which Python and pandas write, are missing values. A key that stands twice in an object, a number of
thousands of digits and nesting beyond `DEEPEST` make a row unreadable.
"""

import json
from collections.abc import Iterator, Sequence
from io import TextIOBase
from pathlib import Path
from typing import Any

from auralith.errors import InvalidRequest, shown
from auralith.foreign import JSON_ERRORS
from auralith.tables.row import Row
from auralith.tables.text import opened_text

DEEPEST = 50
_LONGEST_NUMBER = 1_000
_CHUNK = 1 << 20
"""Characters of JSON read at a time."""
LONGEST_VALUE = 1 << 26
"""Characters of one line or member."""
_WHY = {RecursionError: "nested too deeply", MemoryError: "larger than the memory"}


def json_lines(path: Path, _required: Sequence[str]) -> Iterator[Row]:
    """A row for each line that isn't blank."""
    with opened_text(path) as file:
        number = 0
        while line := file.readline(LONGEST_VALUE):
            number += 1
            if line.strip(" \t\r\n\ufeff"):
                yield _of_line(path.name, number, line)


def json_members(path: Path, _required: Sequence[str]) -> Iterator[Row]:
    """A row for each member of the array; those of an object have its keys as `id`."""
    with opened_text(path) as file:
        for number, (key, value) in enumerate(_members(path, file), 1):
            if key is not None and isinstance(value, dict):
                value = {"id": key, **value}
            yield _object(path.name, number, value, "row")


def load_json(text: str) -> Any:
    """Return one JSON value, NaN as None; raise ValueError, whose text is short, if it is invalid or nested too deeply."""
    try:
        value = _DECODER.decode(text)
    except (RecursionError, MemoryError) as error:
        raise ValueError(_WHY[type(error)]) from error
    if isinstance(value, dict | list) and _is_deep(value):
        raise ValueError("nested too deeply")
    return value


def _of_line(name: str, number: int, line: str) -> Row:
    if len(line) == LONGEST_VALUE and not line.endswith("\n"):
        reason = f"is longer than {LONGEST_VALUE:,} characters; shorten it"
        return Row(name, number, shown(line), "row_unreadable", reason)
    try:
        return _object(name, number, load_json(line.strip(" \t\r\n\ufeff")), "line")
    except ValueError as error:
        text = line.rstrip("\r\n")
        return Row(name, number, text, "row_unreadable", f"is not JSON ({error}); correct it")


def _object(name: str, number: int, value: object, unit: str) -> Row:
    """A row of JSON; objects may leave out what is empty, so only their kind is looked at."""
    if not isinstance(value, dict):
        reason = "is not one JSON object; write one with its fields"
        return Row(name, number, value, "row_unreadable", reason, unit)
    if _is_deep(value):
        reason = "is nested too deeply; write its fields as text or lists"
        return Row(name, number, shown(value), "row_unreadable", reason, unit)
    return Row(name, number, value, unit=unit)


def _is_deep(value: object) -> bool:
    """Return whether containers lie within each other more than `DEEPEST` times."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these members; raise ValueError if a key stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {shown(twice)} stands twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(digits):,} digits")
    return int(digits)


_DECODER = json.JSONDecoder(
    object_pairs_hook=distinct, parse_constant=lambda _: None, parse_int=_integer
)


def _members(path: Path, file: TextIOBase) -> Iterator[tuple[str | None, Any]]:
    """The members of one JSON array or object, without holding more than one of them."""
    window = _Window(file)
    opening = window.next_sign("\ufeff")
    if opening not in ("[", "{"):
        raise InvalidRequest(f"{path} is neither a JSON array nor an object; give rows of objects")
    closing = "]" if opening == "[" else "}"
    window.position += 1
    while (sign := window.next_sign(",")) != closing:
        try:
            key = window.decode() if opening == "{" and sign else None
            window.next_sign(":")
            yield (None if key is None else str(key)), window.decode()
        except JSON_ERRORS as error:
            why = _WHY.get(type(error), error)
            raise InvalidRequest(
                f"{path} can't be read: damaged JSON or cut short ({why})"
            ) from error


class _Window:
    """A growing and moving part of a JSON file."""

    def __init__(self, file: TextIOBase) -> None:
        self.file, self.text, self.position = file, "", 0

    def next_sign(self, skipped: str) -> str:
        """The next character that is neither space nor one of `skipped`; "" at the end."""
        while True:
            while self.position < len(self.text):
                sign = self.text[self.position]
                if not sign.isspace() and sign not in skipped:
                    return sign
                self.position += 1
            if not self._grow():
                return ""

    def decode(self) -> Any:
        """Return the value here; raise ValueError if the rest of the file does not complete one."""
        self.next_sign("")
        while True:
            try:
                value, end = _DECODER.raw_decode(self.text, self.position)
                length = end - self.position
                if end < len(self.text) or not self._grow():  # else a number may go on
                    self.position += length
                    return value
            except json.JSONDecodeError:
                if len(self.text) - self.position > LONGEST_VALUE or not self._grow():
                    raise

    def _grow(self) -> bool:
        """Drop what was read and read as much again as is left, so that a long value costs linear time."""
        rest = self.text[self.position :]
        more = self.file.read(max(_CHUNK, len(rest)))
        self.text, self.position = rest + more, 0
        return bool(more)
