"""What the store knows of recordings that come up again, read file by file; and the table of rejected rows."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from auralith.curation.store import Store
from auralith.errors import ResourceError
from auralith.extras import require

pa = require("pyarrow", "curate")

REJECTED = pa.schema(
    [
        ("source", pa.string()),
        ("file", pa.string()),
        ("line", pa.int64()),  # where the row ends in a CSV, its number elsewhere
        ("rec_id", pa.string()),  # null if the row has no usable id
        ("reason_code", pa.string()),
        ("raw", pa.string()),  # JSON of the cells
        ("ingest_batch", pa.string()),
        ("retrieved_at", pa.string()),
    ]
)
"""Rows of a source that became no recording: quarantined, and counted apart."""


class Stored:
    """Which recordings a store has; their content is read only for those that are asked for."""

    def __init__(self, store: Store) -> None:
        self._files = store.slices("recordings")
        self._file_of: dict[str, int] = {}
        for number, path in enumerate(self._files):
            for id in _read(path, ["rec_id"], None).column("rec_id").to_pylist():
                self._file_of[id] = number

    def find(self, ids: set[str], columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Those of the ids that are stored, as rows of these columns."""
        there = sorted(id for id in ids if id in self._file_of)
        for number in sorted({self._file_of[id] for id in there}):
            yield from _read(self._files[number], list(columns), there).to_pylist()


def _read(path: Path, columns: list[str], ids: list[str] | None) -> Any:
    parquet = require("pyarrow.parquet", "curate")
    filters = None if ids is None else [("rec_id", "in", ids)]
    try:
        return parquet.read_table(path, columns=columns, filters=filters, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise ResourceError(
            f"{path} can't be read ({error}); remove it to have its rows made again"
        ) from error
