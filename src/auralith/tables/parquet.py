"""Parquet, a batch of rows at a time.

Sounds inside of the table (a struct of `bytes` and `path`, as datasets on the Hugging Face Hub have it, or bytes in a
column that is named like a sound file) are not read with the rows: a row gets a `SoundCell`, which reads its own.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auralith.errors import InvalidRequest, shown
from auralith.escaping import one_line
from auralith.extras import LazyModule
from auralith.tables.cells import named_file
from auralith.tables.names import NAMES, plain
from auralith.tables.row import Row, require_columns, require_distinct

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
    import pyarrow.types as types
else:
    pa, pq = LazyModule("pyarrow", "train"), LazyModule("pyarrow.parquet", "train")
    types = LazyModule("pyarrow.types", "train")
pc = LazyModule("pyarrow.compute", "train")

_MOST_ROWS = 8_192
_BATCH_BYTES = 64 << 20
LONGEST_CELL = 131_072
"""Characters of a text, or of all in a list or struct; the limit that Python's reader of CSV has."""
_LARGEST_GROUP = 1 << 30
_LARGEST_RATIO = 200
"""A row group is not unpacked beyond this size if it grows by more than this factor."""
_VALUE_ERRORS = (ValueError, OverflowError, KeyError, TypeError, ImportError)
"""Exceptions of Arrow for a value without a Python equivalent; time zones raise KeyError and ImportError."""
_INDEX = "__index_level_"
"""Prefix that pandas gives to the name of an unnamed index."""


@dataclass(frozen=True, slots=True)
class SoundCell:
    """A sound file inside of a Parquet table."""

    table: Path
    column: str
    group: int
    """Row group."""
    row: int
    """Row in its group."""
    path: str | None
    """The name that the table gives it."""

    def read(self) -> bytes | None:
        """The bytes of the sound file; None if the table has only its name.

        Raises:
            InvalidRequest: the table is damaged or has changed.
        """
        cells = _group_column(self.table, self.table.stat().st_mtime_ns, self.column, self.group)
        return cells[self.row].as_py()

    @property
    def file(self) -> Path | None:
        """The file beside the table that it names, for a sound that is not inside."""
        return None if self.path is None else named_file(self.table.parent, self.path)


def parquet_rows(path: Path, required: Sequence[str]) -> Iterator[Row]:
    """A row for each of the table's; columns of pandas' unnamed index are left out.

    Raises:
        InvalidRequest: the file is not a whole Parquet file, or lacks a column.
        MissingExtra: pyarrow is not installed.
    """
    try:
        with pq.ParquetFile(path) as plain_file:
            schema, texts = plain_file.schema_arrow, _texts(plain_file)
        require_distinct(path, schema.names)
        require_columns(path, schema.names, required)
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            yield from _rows(path, file, schema)
    except OSError as error:
        reason = error.strerror or str(error)[:200]
        raise InvalidRequest(f"{path} can't be read ({reason}); name a Parquet file") from error
    except (pa.ArrowException, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, InvalidRequest):
            raise
        raise InvalidRequest(
            f"{path} can't be read: it is not a whole Parquet file ({' '.join(str(error).split())[:200]})"
        ) from error


def _rows(path: Path, file: "pq.ParquetFile", schema: "pa.Schema") -> Iterator[Row]:
    sounds = {name: _leaf(schema.field(name)) for name in schema.names if _is_sound(schema, name)}
    plain_columns = [n for n in schema.names if n not in sounds and not n.startswith(_INDEX)]
    names = [f"{name}.path" for name, leaf in sounds.items() if leaf != name]
    number = 0
    for group in range(file.num_row_groups):
        facts = file.metadata.row_group(group)
        start = 0
        _require_moderate(path, facts)
        for batch in _batches(file, group, facts, [*plain_columns, *names]):
            columns = [_cells(batch.column(name)) for name in plain_columns]
            paths = {name: _paths(batch, name) for name in sounds}
            for row in range(batch.num_rows):
                cells = {
                    name: values[row] for name, values in zip(plain_columns, columns, strict=True)
                }
                for name, leaf in sounds.items():
                    cells[name] = SoundCell(path, leaf, group, start + row, paths[name][row])
                number += 1
                yield _row(path.name, number, cells)
            start += batch.num_rows


def _batches(
    file: "pq.ParquetFile", group: int, facts: Any, columns: Sequence[str]
) -> Iterator["pa.RecordBatch"]:
    """The rows of a group, in parts of some megabytes."""
    if not facts.num_rows:
        return
    width = max(1, facts.total_byte_size // facts.num_rows) if columns else 1
    size = max(1, min(_MOST_ROWS, _BATCH_BYTES // width))
    for batch in file.iter_batches(
        batch_size=size, row_groups=[group], columns=list(columns), use_threads=False
    ):
        yield from _small(batch)


def _small(batch: "pa.RecordBatch") -> Iterator["pa.RecordBatch"]:
    """A batch in parts that stay small when its dictionaries are written out."""
    if batch.num_rows < 2 or sum(map(_written_out, batch.columns)) <= _BATCH_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _small(batch.slice(0, half))
    yield from _small(batch.slice(half))


def _written_out(array: "pa.Array") -> int:
    """Bytes of an array's texts where each stands for itself, not as a number in a dictionary."""
    kind = array.type
    if types.is_dictionary(kind) and not types.is_nested(kind.value_type):
        if not (types.is_string(kind.value_type) or _is_bytes(kind.value_type)):
            return 0
        lengths = pc.binary_length(array.dictionary)
        return pc.sum(lengths.take(array.indices)).as_py() or 0
    if types.is_map(kind):
        return _written_out(array.keys) + _written_out(array.items)
    if types.is_struct(kind) or types.is_list(kind) or types.is_large_list(kind):
        return sum(
            map(_written_out, array.flatten() if types.is_struct(kind) else [array.flatten()])
        )
    return 0


def _texts(file: "pq.ParquetFile") -> list[str]:
    """The leaves that hold texts: they are read as dictionaries, since a few bytes may repeat a text a million times."""
    leaves = (file.schema.column(place) for place in range(len(file.schema)))
    return [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]


def _require_moderate(path: Path, facts: Any) -> None:
    """Raise `InvalidRequest` where a row group would be unpacked to far more than the file is.

    Its columns are not asked: pyarrow ends the process where a damaged file lacks what it states of one.
    """
    size, packed = facts.total_byte_size, path.stat().st_size
    if size > _LARGEST_GROUP and size > _LARGEST_RATIO * packed:
        raise InvalidRequest(
            f"{path} can't be read: {packed:,} bytes unpack to {size:,}; write it in smaller row groups"
        )


def _row(name: str, number: int, cells: dict[str, Any]) -> Row:
    for column, value in cells.items():
        if isinstance(value, _Unreadable):
            reason = (
                f"has a value in {shown(column)} that {value.reason}; correct it or leave it empty"
            )
            return Row(name, number, {"error": reason}, "row_unreadable", reason, "row")
        if (length := _length(value)) > LONGEST_CELL:
            reason = (
                f"has {length:,} characters in {shown(column)}; at most {LONGEST_CELL:,} are read"
            )
            return Row(name, number, {"error": reason}, "row_unreadable", reason, "row")
    return Row(name, number, cells, unit="row")


def _length(value: Any) -> int:
    """Characters of a text, or of all that a list or struct holds; other values count as one."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_length, value.values()))
    return sum(map(_length, value)) if isinstance(value, list) else 1


def _is_sound(schema: "pa.Schema", name: str) -> bool:
    return _leaf(schema.field(name)) is not None


def _leaf(field: "pa.Field") -> Any:
    """The column that holds the bytes of sound files; None if this one has none."""
    kind = field.type
    if types.is_struct(kind):
        inner = {one.name: one.type for one in kind}
        is_audio = "bytes" in inner and "path" in inner and _is_bytes(inner["bytes"])
        return f"{field.name}.bytes" if is_audio else None
    return (
        field.name if _is_bytes(kind) and plain(field.name) in (*NAMES["path"], "bytes") else None
    )


def _is_bytes(kind: "pa.DataType") -> bool:
    return types.is_binary(kind) or types.is_large_binary(kind)


def _paths(batch: "pa.RecordBatch", name: str) -> list[str | None]:
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    return batch.column(name).field("path").to_pylist()


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Stands for a value that Python has none for: a time beyond the year 9999 or in an unknown zone, a broken text."""

    reason: str
    """In words, to follow "a value that"."""


def _cells(column: "pa.Array") -> list[Any]:
    """Python values, NaN as None."""
    try:
        values = column.to_pylist()
    except (*_VALUE_ERRORS, pa.ArrowException):
        values = [_cell(one) for one in column]
    return [_plain_value(value) for value in values]


def _cell(value: Any) -> Any:
    try:
        return value.as_py()
    except UnicodeDecodeError:
        return _Unreadable("is not UTF-8")
    except (*_VALUE_ERRORS, pa.ArrowException):
        return _Unreadable(f"is out of range ({one_line(str(value.type), 60)})")


def _plain_value(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return None
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value


@lru_cache(maxsize=2)
def _group_column(table: Path, _modified: int, column: str, group: int) -> Any:
    """One column of a row group: neighbors are read together. `_modified` tells versions of a file apart."""
    try:
        with pq.ParquetFile(table) as file:
            _require_moderate(table, file.metadata.row_group(group))
            found = file.read_row_group(group, columns=[column], use_threads=False).column(0)
    except (pa.ArrowException, OSError) as error:
        raise InvalidRequest(f"{table} can't be read (row group {group}); replace it") from error
    parts = found.combine_chunks()
    if column.endswith(".bytes"):
        parts = parts.field("bytes")
    return parts
