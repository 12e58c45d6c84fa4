"""The tables of a curation: a folder for each table, with one Parquet file for each finished slice of work.

A slice is written under a temporary name and renamed, so each file is whole, and the rows in it are finished. Tables only
grow: nothing is edited, and other settings of a stage add rows under another `params_hash`. Names of slices are
numbered, so that reading always gives the rows in the order in which they were written.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from auralith.errors import ResourceError
from auralith.escaping import one_line
from auralith.extras import require
from auralith.files import make_folder, whole_file
from auralith.foreign import SHAPE_ERRORS

compute = require("pyarrow.compute", "curate")
"""Functions of Arrow, whose names its type stubs lack."""

RECORDINGS = pa.schema(
    [
        ("rec_id", pa.string()),  # "<source>:<source_id>"
        ("source", pa.string()),
        ("source_id", pa.string()),
        ("path", pa.string()),  # relative to the folder of the sounds; null if there is no sound
        ("url", pa.string()),
        ("title", pa.string()),
        ("author", pa.string()),
        ("author_url", pa.string()),
        ("tags", pa.list_(pa.string())),
        ("description", pa.string()),
        ("album", pa.string()),
        ("genres", pa.list_(pa.string())),
        ("year", pa.int32()),
        ("created", pa.string()),
        ("license_raw", pa.string()),
        ("license_url_raw", pa.string()),
        ("gen_ai_preference", pa.string()),
        ("is_remix", pa.bool_()),
        ("parents", pa.list_(pa.string())),
        ("category_code", pa.string()),
        ("duration_s", pa.float64()),  # as the source states it
        ("ingest_batch", pa.string()),
        ("retrieved_at", pa.string()),
    ]
)
EVIDENCE = pa.schema(
    [
        ("rec_id", pa.string()),
        ("stage", pa.string()),
        ("provider", pa.string()),
        ("provider_version", pa.string()),
        ("params_hash", pa.string()),
        ("status", pa.string()),
        ("verdict", pa.string()),
        ("reason_code", pa.string()),
        ("score", pa.float64()),
        ("at", pa.string()),  # UTC, ISO 8601
    ]
)
"""First columns of every table of evidence; the stage's own columns follow."""


@dataclass(frozen=True)
class EvidenceKey:
    """Identity of a stage's rows that count: those of this provider, version and settings."""

    provider: str
    provider_version: str
    params_hash: str

    def __str__(self) -> str:
        """Return the name that the review gives to this evidence."""
        return f"{self.provider}/{self.provider_version}/{self.params_hash}"


@dataclass(frozen=True)
class Store:
    """The tables in the folder of one curation."""

    folder: Path

    def read(
        self, name: str, columns: Sequence[str] | None = None, key: EvidenceKey | None = None
    ) -> pa.Table:
        """Return a table in the order of writing; before anything is written, one without rows and with the usual columns.

        Columns that nothing was written to have the type null. `key` selects the rows of one provider, version and settings.

        Raises:
            ResourceError: a file of the table is damaged or can't be read.
        """
        wanted = (
            None
            if columns is None
            else list(dict.fromkeys([*columns, *(vars(key) if key else ())]))
        )
        parts = [read_slice(path, wanted) for path in self.slices(name)]
        if name == "recordings" or not parts:
            usual = RECORDINGS if name == "recordings" else EVIDENCE
            parts.insert(0, usual.empty_table())
        table = pa.concat_tables(parts, promote_options="permissive")
        if key is not None:
            table = table.filter(_matches(table, key))
        return table if columns is None else with_columns(table, columns)

    def parts(
        self, name: str, columns: Sequence[str], key: EvidenceKey, rows: int
    ) -> Iterator[pa.Table]:
        """Yield what `read` returns, about so many rows at a time, for tables that don't fit into memory."""
        wanted = list(dict.fromkeys([*columns, *vars(key)]))
        waiting: list[pa.Table] = []
        for path in self.slices(name):
            table = read_slice(path, wanted)
            waiting.append(with_columns(table.filter(_matches(table, key)), columns))
            if sum(part.num_rows for part in waiting) >= rows:
                yield pa.concat_tables(waiting, promote_options="permissive")
                waiting = []
        if waiting:
            yield pa.concat_tables(waiting, promote_options="permissive")

    def recordings(self, columns: Sequence[str]) -> pa.Table:
        """Return recordings sorted by rec_id, which must be among the columns; of each id the row that was written first."""
        table = self.read("recordings", columns)
        table = table.take(compute.sort_indices(table["rec_id"])).combine_chunks()  # a stable sort
        if table.num_rows < 2:
            return table
        ids = table["rec_id"]
        is_new = compute.not_equal(ids.slice(1), ids.slice(0, table.num_rows - 1))
        return table.filter(pa.chunked_array([[True], *is_new.chunks]))

    def append(self, name: str, table: pa.Table, slice_id: str) -> None:
        """Add rows as one file, whole or not at all. It replaces a slice of the same name, which must hold the same rows.

        Raises:
            ResourceError: the file can't be written.
        """
        folder = self.folder / name
        make_folder(folder)
        with whole_file(folder / f"{slice_id}.parquet") as file:
            parquet.write_table(table, file, compression="zstd")

    def next_slice(self, name: str) -> int:
        """Return the number of the next slice of a table."""
        taken = [int(path.stem) for path in self.slices(name) if path.stem.isdigit()]
        return max(taken, default=-1) + 1

    def finished(self, name: str, key: EvidenceKey) -> pa.ChunkedArray:
        """Return the ids of the recordings with evidence under a key."""
        return self.read(name, ["rec_id"], key)["rec_id"]

    def slices(self, name: str) -> list[Path]:
        """Return the files of a table, in order."""
        return sorted((self.folder / name).glob("[!.]*.parquet"))


def batches(table: pa.Table, size: int) -> Iterator[pa.Table]:
    """Yield a table in parts of `size` rows; the last one may be shorter."""
    for start in range(0, table.num_rows, size):
        yield table.slice(start, size)


def with_columns(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Return these columns of a table; those that it lacks are null."""
    for name in columns:
        if name not in table.column_names:
            table = table.append_column(name, pa.nulls(table.num_rows))
    return table.select(list(columns))


def _matches(table: pa.Table, key: EvidenceKey) -> pa.ChunkedArray:
    kept = [compute.equal(table[name], value) for name, value in vars(key).items()]
    return compute.and_(compute.and_(kept[0], kept[1]), kept[2])


def read_slice(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a file of a table, or those of the named columns that it has; raise `ResourceError` if it is damaged."""
    with opened_parquet(path, "remove it to have its rows made again") as file:
        present = file.schema_arrow.names
        wanted = None if columns is None else [name for name in columns if name in present]
        return whole_table(file, wanted)


@contextmanager
def opened_parquet(path: Path, remedy: str) -> Iterator[parquet.ParquetFile]:
    """Give a Parquet file; errors of a damaged one within the block become a `ResourceError` with the remedy."""
    try:
        with parquet.ParquetFile(path) as file:
            yield file
    except (pa.ArrowException, OSError, *SHAPE_ERRORS) as error:
        reason = one_line(str(error), 200)
        raise ResourceError(f"{path} can't be read ({reason}); {remedy}") from error


def whole_table(file: parquet.ParquetFile, columns: Sequence[str] | None) -> pa.Table:
    """Return columns of a Parquet file with all that pyarrow checks only when a value is taken: texts, places in lists."""
    table = file.read(None if columns is None else list(columns), use_threads=False)
    table.validate(full=True)
    return table
