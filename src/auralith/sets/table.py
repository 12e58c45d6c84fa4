"""Tables of prompts: any that `auralith.tables` reads, or .txt with a prompt in each line.

A column is a field of `GenerationRequest`, under its own name or as the command line calls it, or one of a set's own:
`n` (how many seeds), `init_audio` (a sound to vary, from the table's folder), `strength` and `init_noise_level`; or the
id of a number that the model is conditioned on. An empty cell is not given. What makes the table unreadable stops here; what is wrong with one row is a `Problem` of it.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from auralith.errors import Field, InvalidRequest, shown
from auralith.request import GenerationRequest
from auralith.request_text import (
    parse_condition,
    parse_conditions,
    parse_interval,
    parse_mix,
    parse_sigmas,
)
from auralith.tables import SUFFIXES, Row, strict_rows
from auralith.tables.cells import captions, require_text
from auralith.tables.names import plain
from auralith.tables.row import listed
from auralith.tables.text import opened_text

OWN_COLUMNS = ("n", "init_audio", "strength", "init_noise_level")
COLUMNS = (*(field.name for field in fields(GenerationRequest)), *OWN_COLUMNS)
SHORT_NAMES: Mapping[str, str] = {
    "seconds": "seconds_total",
    "start": "seconds_start",
    "output_seconds": "seconds_output",
    "negative": "negative_prompt",
    "cfg": "cfg_scale",
    "rescale": "cfg_rescale",
    "interval": "cfg_interval",
    "condition": "conditions",
    "text": "prompt",
    "caption": "prompt",
}
"""Further names of columns: the options of the command line, and the names of prompts in data sets."""
_TEXTS = ("prompt", "negative_prompt", "sampler", "schedule", "window", "noise", "init_audio")
_INTEGERS = ("steps", "fast", "seed", "n")
_WHOLE = re.compile(r"[.,]0*$")
"""Form in which pandas writes whole numbers of a column that has a missing value: 2.0."""


@dataclass(frozen=True)
class PromptRow:
    """One row: its number from 1, where it stands, its cells that are not empty, and the columns' names, by field."""

    number: int
    place: str
    values: Mapping[str, Any]
    columns: Mapping[str, str]

    def rename(self, error: InvalidRequest) -> None:
        """Call the fields of an error that this row gives as their columns are called."""
        error.rename(lambda name: self.columns[name] if name in self.values else name)


class UnknownColumn(InvalidRequest):
    """Raised for a column that is not a field of a request; it may be a condition of the model."""


@dataclass(frozen=True)
class Problem:
    """A mistake in a row: nothing was made of it, or not all."""

    row: int
    place: str
    reason: str
    is_made: bool = False
    """Nothing is missing all the same: another row asks for this sound."""

    def __str__(self) -> str:
        return f"row {self.row} ({self.place}) {self.reason}"


@dataclass(frozen=True)
class PromptTable:
    """Rows that can be used, and the others."""

    path: Path
    rows: tuple[PromptRow, ...]
    problems: tuple[Problem, ...]


def read_rows(path: str | Path, condition_ids: Sequence[str] = ()) -> PromptTable:
    """The rows of a table of prompts; a column called like one of `condition_ids` adds to a row's `conditions`.

    Raises:
        InvalidRequest: it can't be read, is empty, lacks a column for prompts, or has an unknown one
            (`UnknownColumn`).
    """
    path = Path(path)
    found = _cells(path)
    if not found:
        raise InvalidRequest(f"{path} has no rows; write a prompt for each sound")
    columns = list(dict.fromkeys(name for row in found for name in row.cells))
    names = _named(path, columns, condition_ids)
    rows, problems = [], []
    columns_of = {name: column for column, name in names.items()}
    for number, row in enumerate(found, 1):
        place = row.place
        try:
            values = _values(row.cells, names)
        except InvalidRequest as error:
            error.rename(lambda name: columns_of.get(name, name))
            problems.append(Problem(number, place, f"can't be used: {error}"))
            continue
        if str(values.get("prompt", "")).strip():
            rows.append(PromptRow(number, place, values, columns_of))
        else:
            problems.append(Problem(number, place, "has no prompt"))
    return PromptTable(path, tuple(rows), tuple(problems))


def _cells(path: Path) -> list[Row]:
    suffix = path.suffix.lower()
    if suffix not in (*SUFFIXES, ".txt"):
        raise InvalidRequest(
            f"{path} is no table of prompts; give a .csv, .jsonl or .txt file (or .tsv, .json,"
            " .parquet)"
        )
    rows = list(_lines(path) if suffix == ".txt" else strict_rows(path))
    for row in rows:
        for name, cell in row.cells.items():
            if isinstance(cell, str) and _canonical(name) != "init_audio":
                require_text(cell, f"{path}, {row.unit} {row.line}")
    return rows


def _lines(path: Path) -> Iterator[Row]:
    with opened_text(path) as file:
        for number, line in enumerate(file, 1):
            if text := line.strip(" \t\r\n\ufeff"):
                yield Row(path.name, number, {"prompt": text})


def _named(path: Path, columns: Sequence[str], condition_ids: Sequence[str]) -> dict[str, str]:
    """Return the meaning of each column; every one must be known, none there twice, and one be the prompt."""
    ids = {_canonical(name): name for name in condition_ids}
    names = {column: _canonical(column) for column in columns}
    names = {c: name if name in COLUMNS else ids.get(name, name) for c, name in names.items()}
    known = (*COLUMNS, *SHORT_NAMES, *condition_ids)
    for column, name in names.items():
        if name not in COLUMNS and name not in condition_ids:
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0)[0]
            raise UnknownColumn(
                f"{path} has an unknown column {shown(column)}; did you mean {nearest!r}? Rename it or take it out"
            )
    for name in names.values():
        alike = [column for column in columns if names[column] == name]
        if len(alike) > 1:
            raise InvalidRequest(
                f"{path} has {' and '.join(map(shown, alike))}, which are the same; keep one of them"
            )
    if "prompt" not in names.values():
        raise InvalidRequest(f"{path} has no column 'prompt' (it has {listed(columns)}); add it")
    return names


def _values(cells: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The cells of a row that are given, by field; those of conditions are gathered under `conditions`."""
    values: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for column, cell in _given(cells):
        name = names[column]
        if name in COLUMNS:
            values[name] = _value(name, cell)
        else:
            own[name] = parse_condition(name, cell) if isinstance(cell, str) else cell
    if own:
        gathered = values.get("conditions", {})
        values["conditions"] = {**gathered, **own} if isinstance(gathered, Mapping) else gathered
    return values


def _canonical(column: str) -> str:
    name = plain(column.strip().lstrip("-"))
    return SHORT_NAMES.get(name, name)


def _given(cells: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, cell in cells.items():
        if cell is not None and not (isinstance(cell, str) and not cell.strip()):
            yield name, cell


def _value(name: str, cell: Any) -> Any:
    """A cell as its field wants it; numbers of JSON and Parquet are left to the field's own check."""
    if name == "prompt":
        return _prompt(cell)
    if isinstance(cell, float) and name in _INTEGERS and cell.is_integer():
        return int(cell)  # a whole number in a column that has a missing value
    if not isinstance(cell, str):
        return tuple(cell) if isinstance(cell, list) else cell
    text = cell.strip()
    if name in _TEXTS:
        return text if name != "init_audio" else cell
    if name == "cfg_interval":
        return parse_interval(text)
    if name == "conditions":
        return parse_conditions(text.split(","))
    if name == "sigmas":
        return parse_sigmas(text)
    if name == "normalize":
        return _truth(name, text)
    if name == "mix":
        return parse_mix([text])
    try:
        return int(_WHOLE.sub("", text)) if name in _INTEGERS else float(_with_point(text))
    except ValueError as error:
        wanted = "a whole number" if name in _INTEGERS else "a number"
        raise InvalidRequest(Field(name), f" is {shown(text)}; give {wanted}") from error


def _truth(name: str, text: str) -> bool:
    """Return a truth value as programs and spreadsheets write it."""
    found = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    if text.lower() not in found:
        raise InvalidRequest(Field(name), f" is {shown(text)}; write true or false")
    return found[text.lower()]


def _prompt(cell: Any) -> str:
    """The text of a prompt's cell; raises `InvalidRequest` for several captions, since a row is one prompt."""
    found = captions(cell, "the prompt") or ()
    if len(found) > 1:
        raise InvalidRequest(f"its prompt is a list, {shown(cell)}; write a row for each")
    return "".join(found)


def _with_point(text: str) -> str:
    """A number with its decimal comma, which spreadsheets of many languages write, as a point."""
    return text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
