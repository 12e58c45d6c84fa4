"""The rows that every reader gives, and the checks of their columns."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from auralith.errors import InvalidRequest, shown

_NAMED_COLUMNS = 12


class Row(NamedTuple):
    """One row, where it stands, and what is wrong with it if something is."""

    file: str
    """Name of the file, without its folder."""
    line: int
    """Line of the row's end, from 1; in JSON and Parquet the number of the row."""
    cells: Any
    """Mapping of column to value, NaN as None; for a damaged row whatever was read."""
    problem: str | None = None
    """Reason code of a damaged row: row_shape or row_unreadable."""
    reason: str = ""
    """The problem in words, to follow "line 3 "."""
    unit: str = "line"

    @property
    def place(self) -> str:
        """Return where the row stands, such as "prompts.csv, line 3"."""
        return f"{self.file}, {self.unit} {self.line}"


def require_columns(path: Path, columns: Collection[str], required: Sequence[str]) -> None:
    """Raise `InvalidRequest` unless the table has the required columns."""
    if missing := [name for name in required if name not in columns]:
        wanted = " and no column ".join(map(repr, missing))
        raise InvalidRequest(
            f"{path} has no column {wanted} (it has {listed(columns)}); add it or name another"
        )


def require_distinct(path: Path, columns: Sequence[str]) -> None:
    """Raise `InvalidRequest` where two columns have one name, in whatever case: names are understood in any."""
    folded = [name.casefold() for name in columns]
    for name in columns:
        if folded.count(name.casefold()) > 1:
            raise InvalidRequest(
                f"{path} has the column {shown(name)} twice; rename or remove one of the two columns"
                f" {shown(name)}"
            )


def listed(columns: Collection[str]) -> str:
    """The names of columns for a message, the first dozen of them."""
    names = [shown(name, 40) if name != name.strip() else shown(name, 40)[1:-1] for name in columns]
    more = len(names) - _NAMED_COLUMNS
    return ", ".join(names[:_NAMED_COLUMNS]) + (f" and {more} more" if more > 0 else "")
