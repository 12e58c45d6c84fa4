"""Sounds, windows and weights that the tests of musicnn and the script of its golden make alike, by numpy alone."""

import struct
from pathlib import Path

import numpy as np

SAMPLE_RATE = 16_000
TINY = "tiny_bundle"
"""Folder of a checkpoint that TensorFlow wrote, with the tensors of `tiny_tensors`."""


def sound() -> np.ndarray:
    """Return 7 s of sound at 16 kHz, loud enough that mel powers exceed what float16 could be multiplied with."""
    time = np.arange(7 * SAMPLE_RATE) / SAMPLE_RATE
    notes = sum(np.sin(2 * np.pi * f * time) for f in (110.0, 261.63, 1_318.5)) / 6
    noise = np.random.RandomState(1).standard_normal(len(time)) * np.exp(-4 * (time % 0.5)) / 10
    return ((notes + noise) * np.minimum(1, time)).astype(np.float32)


def windows() -> np.ndarray:
    """Return two windows of values as log-mel spectrograms have."""
    return (5 * np.random.RandomState(2).uniform(size=(2, 187, 96)) ** 3).astype(np.float32)


def random_tensors(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return values for tensors of musicnn, by TensorFlow's names; batch norms scale up, down and turn signs round."""
    random = np.random.RandomState(3)
    values = {}
    for name in sorted(shapes):
        shape = shapes[name]
        match name.rpartition("/")[2]:
            case "kernel":
                drawn = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
            case "moving_variance":
                drawn = random.uniform(0.3, 2, shape)
            case "gamma":
                drawn = random.uniform(0.5, 1.5, shape) * random.choice([-1, 1], shape)
            case _:
                drawn = random.standard_normal(shape) / 5
        values[name] = drawn.astype(np.float32)
    return values


def shapes() -> dict[str, tuple[int, ...]]:
    """TensorFlow's names and shapes, from the architecture (Pons and Serra 2019) alone."""
    kernels = [(7, 38, 1, 204), (7, 67, 1, 204), *((n, 1, 1, 51) for n in (128, 64, 32))]
    kernels += [(7, 561, 1, 64), (7, 64, 1, 64), (7, 64, 1, 64)]
    norms = [1, 204, 204, 51, 51, 51, 64, 64, 64, 1_506, 200]
    found: dict[str, tuple[int, ...]] = {}
    for i, kernel in enumerate(kernels):
        name = f"conv2d_{i}" if i else "conv2d"
        found |= {f"{name}/kernel": kernel, f"{name}/bias": kernel[-1:]}
    for i, count in enumerate(norms):
        name = f"batch_normalization_{i}" if i else "batch_normalization"
        for part in ("beta", "gamma", "moving_mean", "moving_variance"):
            found[f"{name}/{part}"] = (count,)
    found |= {"dense/kernel": (1_506, 200), "dense/bias": (200,)}
    return found | {"dense_1/kernel": (200, 50), "dense_1/bias": (50,)}


def tiny_tensors() -> dict[str, np.ndarray]:
    """Return tensors of several ranks, so many that their index has more than one block."""
    random = np.random.RandomState(4)
    many = {f"layer_{i}/with/a/long/name/to/fill/blocks_{i}": (i % 5,) for i in range(100)}
    shapes = {"scalar": (), "matrix": (3, 4), "kernel": (2, 3, 4, 5), **many}
    return {n: random.standard_normal(shape).astype(np.float32) for n, shape in shapes.items()}


def write_bundle(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    """Write a checkpoint as TensorFlow does, in one block whose keys share nothing."""
    folder.mkdir(parents=True)
    entries, data = [(b"", b"\x08\x01")], b""
    for name in sorted(tensors):
        values = tensors[name].astype("<f4")
        shape = b"".join(_field(2, _varint(8) + _varint(size)) for size in values.shape)
        place = _varint(32) + _varint(len(data)) + _varint(40) + _varint(values.nbytes)
        entries.append((name.encode(), b"\x08\x01" + _field(2, shape) + place))
        data += values.tobytes()
    block = b"".join(
        _varint(0) + _varint(len(key)) + _varint(len(value)) + key + value for key, value in entries
    )
    blocks = [block, b""]  # and that of meta data
    table, handles = b"", []
    for content in blocks:
        handles.append(_varint(len(table)) + _varint(len(content) + 8))
        table += content + struct.pack("<II", 0, 1) + bytes(5)
    index = _varint(0) + _varint(1) + _varint(len(handles[0])) + b"z" + handles[0]
    footer = handles[1] + _varint(len(table)) + _varint(len(index) + 8)
    table += index + struct.pack("<II", 0, 1) + bytes(5)
    table += footer.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)
    (folder / ".index").write_bytes(table)
    (folder / ".data-00000-of-00001").write_bytes(data)


def _field(number: int, content: bytes) -> bytes:
    return _varint(8 * number + 2) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    parts = []
    while number >= 128:
        parts.append(number % 128 + 128)
        number //= 128
    return bytes([*parts, number])
