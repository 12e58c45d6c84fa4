"""Decoding of strangers' sounds in a process that is confined (`probe`): its answers are believed no more than the files."""

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from auralith.errors import AudioError, InvalidRequest
from auralith.foreign import JSON_ERRORS, SHAPE_ERRORS, parse_json
from auralith.jobs.orders import LONGEST_SECONDS
from auralith.jobs.process import module_command
from auralith.server.probe import Asked, Probed, ProbeLimits
from auralith.settings import build_settings
from auralith.sound.extent import SoundInfo
from auralith.sound.reading import MOST_VALUES
from auralith.sound.stream import HIGHEST_RATE_HZ, LOWEST_RATE_HZ
from auralith.sound.stretch import Stretch

LIMITS = ProbeLimits(LONGEST_SECONDS, MOST_VALUES)
PROBE = "auralith.server.probe"
OUTLINE_BYTES, STRETCH_BYTES = 2**20, 2**28
"""Most bytes of an answer."""
_KEPT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "LANG")
"""Variables that the process gets: none with a key in it."""
_turns = threading.BoundedSemaphore(2)
"""Files that are read at a time."""
Found = TypeVar("Found")


def probed(path: Path, limits: ProbeLimits = LIMITS) -> Probed:
    """Return what an upload holds, all of it decoded. Raises `AudioError`, also for what is beyond the limits."""

    def read(value: Any, data: bytes) -> Probed:
        sound = build_settings(Probed, value)
        return _believed(sound, sound.fits(limits))

    return _told(Asked("probe", (_absolute(path),), limits), read)


def lengths(paths: Sequence[Path]) -> list[float | None]:
    """Return the length of each sound in seconds, as far as its header says; None for one that can't be opened."""
    if not paths:
        return []

    def read(value: Any, data: bytes) -> list[float | None]:
        found = [None if one is None else float(one) for one in value]
        return _believed(
            found, len(found) == len(paths) and np.isfinite([x or 0.0 for x in found]).all()
        )

    asked = Asked("lengths", tuple(map(_absolute, paths)), LIMITS)
    try:
        return _told(asked, read)
    except AudioError:  # one of them broke the process
        return [None] if len(paths) == 1 else [lengths([path])[0] for path in paths]


def outline(path: Path, count: int, name: str) -> tuple[SoundInfo, list[float], list[float]]:
    """Return extent and outline of a sound, as `read_outline` does; `name` stands for it in messages. Raises `AudioError`."""

    def read(value: Any, data: bytes) -> tuple[SoundInfo, list[float], list[float]]:
        info = build_settings(SoundInfo, value[0])
        low, high = ([float(one) for one in side] for side in value[1:])
        is_whole = len(low) == len(high) == min(count, info.num_samples)
        return _believed((info, low, high), is_whole and np.isfinite([low, high]).all())

    limits = replace(LIMITS, output_bytes=OUTLINE_BYTES)
    return _told(Asked("outline", (_absolute(path),), limits, name, count=count), read)


def stretch(path: Path, start_s: float, seconds: float, name: str) -> Stretch:
    """Return a stretch of a sound, as `read_stretch` does; `name` stands for it in messages. Raises `AudioError`."""

    def read(value: Any, data: bytes) -> Stretch:
        first, rate, channels = map(int, value)
        samples = np.frombuffer(data, np.float32).reshape(-1, channels)
        fits = LOWEST_RATE_HZ <= rate <= HIGHEST_RATE_HZ and channels in (1, 2)
        fits = fits and first == max(0, round(start_s * rate)) and np.isfinite(samples).all()
        return _believed(Stretch(samples, first, rate), fits and len(samples) <= seconds * rate + 1)

    limits = replace(LIMITS, output_bytes=STRETCH_BYTES)
    asked = Asked("stretch", (_absolute(path),), limits, name, start=start_s, seconds=seconds)
    return _told(asked, read)


def _absolute(path: Path) -> str:
    return str(path.absolute())


def _believed(found: Found, fits: object) -> Found:
    """Return what fits; raise ValueError for what no honest process says."""
    if not fits:
        raise ValueError
    return found


def _told(asked: Asked, read: Callable[[Any, bytes], Found]) -> Found:
    """Return what `read` makes of the answer of a process, which the bytes of a stranger may have taken over."""
    line, _, data = _run(asked).partition(b"\n")
    try:
        answer = parse_json(line)
        if "error" in answer:
            raise AudioError(f"{answer['error']:.500}", str(answer["reason_code"]))
        return read(answer["found"], data)
    except (*SHAPE_ERRORS, *JSON_ERRORS, InvalidRequest):
        pass
    raise AudioError(f"{asked.name} can't be read; send another file", "decoder_failed")


def _run(asked: Asked) -> bytes:
    """Return what the process wrote. Raise `AudioError` where it did not end as it should."""
    command, packages = module_command(PROBE)
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment |= {"PYTHONPATH": packages, "OPENBLAS_NUM_THREADS": "1"}
    with _turns, tempfile.TemporaryFile() as out:
        try:
            code = subprocess.run(
                [*command, json.dumps(asdict(asked))],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
                env=environment,
                timeout=2 * asked.limits.cpu_seconds,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = None
        out.seek(0)
        written = out.read(asked.limits.output_bytes)
    if code != 0:
        how = "took too long" if code is None else f"ended with {code}"
        raise AudioError(
            f"{asked.name} can't be read: its decoder {how}; send another file", "decoder_failed"
        )
    return written
