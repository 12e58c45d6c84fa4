"""What a source is: rows, each a recording or the reason why it isn't one; and the source that reads tables."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from auralith.curation.sources.records import BadRow, Record
from auralith.errors import InvalidRequest
from auralith.tables import Row, read_rows

SLICE_ROWS = 20_000
"""Rows of one file in the store: what is held in memory at a time."""


class SourceRow(NamedTuple):
    """One row of a source."""

    file: str
    line: int
    raw: Any
    """As it was read, for the table of rejected rows."""
    record: Record | None
    """None exactly where there is a reason."""
    reason_code: str | None = None
    rec_id: str | None = None
    """Of a rejected row, where it is known without a recording."""


@runtime_checkable
class Source(Protocol):
    """Where recordings come from. The same input gives the same rows, in the same order, under the same batch."""

    batch: str
    """Names this input in `ingest_batch` and in the files of the store."""
    name: str
    """For rejected rows whose source isn't known."""
    slice_rows: int
    start: int
    """Rows of this batch that earlier calls have finished and that this one leaves out."""

    def rows(self) -> Iterator[SourceRow]:
        """All rows; raises `AuralithError` where the source as a whole can't be read."""
        ...


Convert = Callable[[Mapping[str, Any]], Record]
"""Cells to a recording; raises `BadRow`."""


@dataclass
class TableSource:
    """One or more tables whose rows become recordings by one rule."""

    batch: str
    name: str
    files: Sequence[Path]
    convert: Convert
    required: Sequence[str] = ()
    header_lines: int = 1
    slice_rows: int = SLICE_ROWS
    start: int = 0
    columns: dict[str, None] = field(default_factory=dict)
    """The columns that the rows so far had, in their order."""

    def rows(self) -> Iterator[SourceRow]:
        """The rows of all files, in their order."""
        for file in self.files:
            for row in read_rows(file, self.required, header_lines=self.header_lines):
                yield self._converted(row)

    def _converted(self, row: Row) -> SourceRow:
        if row.problem:
            return SourceRow(row.file, row.line, row.cells, None, row.problem)
        if row.cells.keys() - self.columns.keys():
            self.columns |= dict.fromkeys(row.cells)
        try:
            return SourceRow(row.file, row.line, row.cells, self.convert(row.cells))
        except BadRow as bad:
            return SourceRow(row.file, row.line, row.cells, None, bad.reason_code)


def batch_of(kind: str, files: Sequence[Path], *settings: str) -> str:
    """A name for these files, from their content and what is done with it.

    Raises:
        InvalidRequest: one can't be read.
    """
    digest = hashlib.sha256("\0".join(settings).encode())
    for path in files:
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise InvalidRequest(
                f"{path} can't be read ({error.strerror or error}); give a table of recordings"
            ) from error
    return f"{kind}-{digest.hexdigest()[:12]}"
