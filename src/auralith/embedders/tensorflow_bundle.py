"""Checkpoints of TensorFlow ("tensor bundles") read without TensorFlow: names, shapes, and raw numbers.

`PREFIX.index` is a sorted table of LevelDB's form: blocks of keys with shared prefixes, then an index of the blocks, then 48
bytes that say where that lies. A value is a small protocol buffer: format, shape, place and length in
`PREFIX.data-00000-of-00001`. Sources: LevelDB's doc/table_format.md; tensorflow/core/protobuf/tensor_bundle.proto. Nothing
in it can be executed. Blocks with compression and data in several files are refused; TensorFlow writes neither by default.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from auralith.errors import CheckpointError
from auralith.foreign import SHAPE_ERRORS

INDEX_NAME, DATA_NAME = ".index", ".data-00000-of-00001"
MOST_INDEX_BYTES = 10_000_000
_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_RESTART_BYTES = 4
_FLOAT32 = 1
"""DT_FLOAT in tensorflow/core/framework/types.proto."""


@dataclass(frozen=True)
class _Place:
    """Place of a tensor's numbers in the file of data."""

    shape: tuple[int, ...]
    offset: int
    size: int


def read_bundle(folder: Path) -> dict[str, Tensor]:
    """Return the float32 tensors of the checkpoint in a folder, whose prefix is the folder's own path and a slash.

    Raises:
        CheckpointError: a file is missing, damaged, or of a form that is not read.
    """
    try:
        index = _bytes(folder / INDEX_NAME, MOST_INDEX_BYTES)
        places = dict(_entries(index))
        data = np.memmap(folder / DATA_NAME, np.uint8, "r")
        return {name: _tensor(data, place) for name, place in places.items()}
    except OSError as error:
        raise CheckpointError(
            f"{error.filename or folder} can't be read ({error.strerror}); get the checkpoint again"
        ) from None
    except (struct.error, *SHAPE_ERRORS) as error:
        raise CheckpointError(
            f"{folder} holds no checkpoint of TensorFlow that can be read ({error}); get it again"
        ) from None


def _bytes(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise ValueError(f"{path.name} has more than {most:,} bytes")
    return content


def _entries(table: bytes) -> Iterator[tuple[str, _Place]]:
    """Yield names and places of the float32 tensors."""
    if len(table) < _FOOTER_BYTES or struct.unpack("<Q", table[-8:])[0] != _MAGIC:
        raise ValueError("its index does not end as a table does")
    footer = _Reader(table[-_FOOTER_BYTES:])
    for _ in range(2):  # of the block of meta data, which is empty
        footer.varint()
    for _, handle in _block(table, footer.varint(), footer.varint()):
        reader = _Reader(handle)
        for name, value in _block(table, reader.varint(), reader.varint()):
            place = _place(value) if name else None  # the first entry describes the whole
            if place is not None:
                yield name.decode(), place


def _block(table: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of one block; a key repeats the beginning of the one before."""
    block = table[offset : offset + size]
    if len(block) < size or table[offset + size] != 0:
        raise ValueError("its index is cut short, or compressed")
    count = struct.unpack("<I", block[-_RESTART_BYTES:])[0]
    reader = _Reader(block[: size - _RESTART_BYTES * (count + 1)])
    key = b""
    while not reader.is_done:
        shared, own, length = reader.varint(), reader.varint(), reader.varint()
        key = key[:shared] + reader.take(own)
        yield key, reader.take(length)


def _place(message: bytes) -> _Place | None:
    """Return the place of a tensor (BundleEntryProto); None if it is not of float32."""
    fields = dict(_fields(message))
    if fields.get(1, 0) != _FLOAT32:
        return None
    if fields.get(3, 0) != 0 or 7 in fields:
        raise ValueError("its data lie in several files or slices")
    dimensions = [value for number, value in _fields(_message(fields, 2)) if number == 2]
    sizes = [dict(_fields(value)) for value in dimensions if isinstance(value, bytes)]
    shape = tuple(_number(size, 1) for size in sizes)
    return _Place(shape, _number(fields, 4), _number(fields, 5))


def _message(fields: dict[int, int | bytes], number: int) -> bytes:
    """Return a message within another; nothing stands for an empty one."""
    value = fields.get(number, b"")
    if not isinstance(value, bytes):
        raise ValueError(f"its field {number} is a number")
    return value


def _number(fields: dict[int, int | bytes], number: int) -> int:
    """Return a number; nothing stands for 0."""
    value = fields.get(number, 0)
    if not isinstance(value, int):
        raise ValueError(f"its field {number} is not a number")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield field numbers and values of a protocol buffer."""
    reader = _Reader(message)
    while not reader.is_done:
        number, kind = divmod(reader.varint(), 8)
        match kind:
            case 0:
                yield number, reader.varint()
            case 1:
                yield number, reader.take(8)
            case 2:
                yield number, reader.take(reader.varint())
            case 5:
                yield number, reader.take(4)
            case _:
                raise ValueError("a field has no known kind")


def _tensor(data: np.ndarray, place: _Place) -> Tensor:
    if place.size != 4 * prod(place.shape) or not 0 <= place.offset <= len(data) - place.size:
        raise ValueError("its data are shorter than its index says")
    values = data[place.offset : place.offset + place.size].view("<f4")
    return torch.from_numpy(values.astype(np.float32).reshape(place.shape))


class _Reader:
    """Reads numbers and bytes one after another."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    @property
    def is_done(self) -> bool:
        return self._at >= len(self._content)

    def take(self, size: int) -> bytes:
        part = self._content[self._at : self._at + size]
        if len(part) != size:
            raise ValueError("an entry is cut short")
        self._at += size
        return part

    def varint(self) -> int:
        """Return a number of base 128, least part first; at most 64 bits."""
        number = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return number
        raise ValueError("a number has more than 64 bits")
