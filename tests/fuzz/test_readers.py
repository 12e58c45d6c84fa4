"""Every reader of foreign files under seeded damage: it reads, or raises its one error in one line, and writes nothing.

2,000 inputs by default; `make fuzz` sets FUZZ_INPUTS to what takes about an hour, FUZZ_SEED draws others.
"""

import os
import random
import re
import resource
import time
from pathlib import Path

import pytest
from fuzz.reader import Reader
from fuzz.readers import READERS

from auralith.errors import AuralithError

INPUTS = int(os.environ.get("FUZZ_INPUTS", "2000"))
SEED = os.environ.get("FUZZ_SEED", "0")
MOST_SECONDS, MOST_KIB = 10.0, 1 << 20
"""Processor time and growth of memory that one input may cost."""
TEXTS = (".json", ".jsonl", ".toml", ".csv", ".txt", ".pem")
VALUES = (
    *(
        "1000000000",
        "9" * 5000,
        "-1",
        "0",
        "1e999",
        "NaN",
        "null",
        "true",
        "[]",
        "{}",
        '""',
        "[" * 100_000,
    ),
    *(
        '"\\ud800"',
        '"\\u0000"',
        '"\U0001f600"',
        "9999-99-99",
        "1e-320",
        '"' + "a" * 200_000 + '"',
        "'''",
        "\x00",
    ),
)
_VALUE = re.compile(rb'-?\d+(?:\.\d+)?|"[^"\n]{0,60}"|true|false|null')


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.file)
def test_damaged_files_are_read_or_refused(reader: Reader, tmp_path: Path) -> None:
    path = tmp_path / reader.file
    reader.make(path)
    reader.read(path)
    good, there = path.read_bytes(), sorted(tmp_path.rglob("*"))
    for number in range(-(-INPUTS // len(READERS))):
        rng = random.Random(f"{SEED} {reader.file} {number}")
        path.write_bytes(damaged(good, path.suffix, rng))
        reader.seal(path)
        _check(reader, path, f"input {number}")
        assert sorted(tmp_path.rglob("*")) == there, f"input {number} made or removed files"


def _check(reader: Reader, path: Path, what: str) -> None:
    begin, before = time.process_time(), _peak_kib()
    try:
        reader.read(path)
    except AuralithError as error:
        assert str(error), what
        assert len(str(error)) < 2_000, what
    except BaseException as error:
        raise AssertionError(f"{what} of {reader.file} raised {type(error).__name__}") from error
    assert time.process_time() - begin < MOST_SECONDS, what
    assert _peak_kib() - before < MOST_KIB, what


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def damaged(good: bytes, suffix: str, rng: random.Random) -> bytes:
    """A good file with one to four faults; in a text, or in one inside of a binary file, values change as a whole."""
    data = good
    for _ in range(rng.randint(1, 4)):
        as_text = rng.random() < (0.7 if suffix in TEXTS else 0.2)
        data = _with_other_value(data, rng) if as_text else _with_other_bytes(data, rng)
    return data


def _with_other_value(data: bytes, rng: random.Random) -> bytes:
    places = list(_VALUE.finditer(data))
    if not places:
        return _with_other_bytes(data, rng)
    place = rng.choice(places)
    new = rng.choice((rng.choice(VALUES).encode(), rng.choice(places)[0]))
    return data[: place.start()] + new + data[place.end() :]


def _with_other_bytes(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    if rng.random() < 0.3:  # headers decide more than what follows
        place = min(place, rng.randrange(64))
    match rng.randrange(4):
        case 0:
            return data[:place]
        case 1:
            return data[:place] + rng.randbytes(rng.randint(1, 20)) + data[place:]
        case 2:
            return data[:place] + data[place + rng.randint(1, 20) :]
        case _:
            return data[:place] + bytes([rng.randrange(256)]) + data[place + 1 :]
