"""Decode sounds of strangers in a process of its own, under limits: `python -m auralith.server.probe ASKED`.

Decoders are native code that reads bytes of strangers: what makes one crash, spin or unpack gigabytes ends this process and
nothing else. One line of JSON goes out: what was found, or why the file is no sound that is taken; after that of a stretch
its samples, float32.
"""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from auralith.errors import AudioError
from auralith.settings import build_settings
from auralith.sound.peaks import read_outline
from auralith.sound.stream import SoundStream, open_sound
from auralith.sound.stretch import read_stretch

try:
    import resource
except ImportError:  # Windows
    resource = None

NAME = "the upload"
MOST_CODEC = 40
"""Most characters of the name of a codec."""


@dataclass(frozen=True)
class ProbeLimits:
    """Limits of an upload, and of the process that reads it."""

    seconds: float
    values: int
    """Most samples times channels."""
    channels: int = 8
    cpu_seconds: int = 60
    output_bytes: int = 2**16
    """Most bytes that the process writes."""
    memory_bytes: int = 2**30
    """Bytes beyond those that the process has before it opens the file; where the system can't limit them, there is no limit."""


@dataclass(frozen=True)
class Asked:
    """Question about files: all that an upload must be, lengths, an outline, or a stretch of samples."""

    kind: Literal["probe", "lengths", "outline", "stretch"]
    paths: tuple[str, ...]
    """Several for lengths, else one."""
    limits: ProbeLimits
    name: str = NAME
    """Stands for the file in messages."""
    count: int = 1
    """Stretches of an outline."""
    start: float = 0.0
    """Start of a stretch in seconds."""
    seconds: float = 1.0
    """Length of a stretch."""


@dataclass(frozen=True)
class Probed:
    """A sound that decodes."""

    num_samples: int
    sample_rate: int
    channels: int
    codec: str

    @property
    def seconds(self) -> float:
        """Return how long it is."""
        return self.num_samples / self.sample_rate

    def fits(self, limits: ProbeLimits) -> bool:
        """Return whether it is a sound within the limits, whoever says what it is."""
        is_sound = min(self.num_samples, self.channels, self.sample_rate) > 0
        is_short = is_sound and self.seconds <= limits.seconds
        return is_short and self.channels <= limits.channels and len(self.codec) <= MOST_CODEC


def probe(path: Path, limits: ProbeLimits) -> Probed:
    """Return what a file holds, all of it decoded. Raises `AudioError` for what is no sound, damaged or too long."""
    with open_sound(path, NAME) as stream:
        form = stream.format
        if form.channels > limits.channels:
            raise AudioError(f"{NAME} has {form.channels} channels; send at most {limits.channels}")
        seconds = min(limits.seconds, limits.values / form.channels / form.sample_rate)
        most = int(seconds * form.sample_rate)
        length = _length(stream, most) if (stream.samples_there or 0) <= most else most + 1
        if length > most:
            raise AudioError(f"{NAME} is longer than {seconds:.0f} s; send less", "too_long")
    return Probed(length, form.sample_rate, form.channels, form.codec)


def _length(stream: SoundStream, most: int) -> int:
    """Return the samples that decode, at most one more than `most`."""
    length = 0
    for block in stream.blocks(stop=most + 1):
        if not np.isfinite(block).all():
            raise AudioError(f"{NAME} holds NaN or infinity; mend it", "nan_samples")
        length += len(block)
    if not length:
        raise AudioError(f"{NAME} holds no samples; send a sound", "no_samples")
    return length


def _limit(limits: ProbeLimits) -> None:
    if resource is None:
        return
    sizes = {
        resource.RLIMIT_CPU: limits.cpu_seconds,
        resource.RLIMIT_FSIZE: limits.output_bytes,
        resource.RLIMIT_CORE: 0,
    }
    mapped = Path("/proc/self/statm")
    if mapped.exists():
        pages = int(mapped.read_text().split()[0])
        sizes[resource.RLIMIT_AS] = pages * resource.getpagesize() + limits.memory_bytes
    for name, size in sizes.items():
        with suppress(ValueError, OSError):  # a lower limit is set already
            resource.setrlimit(name, (size, size))


def length(path: Path) -> float | None:
    """Return the length of a sound in seconds, as far as its header says; None for one that can't be opened."""
    try:
        with open_sound(path) as stream:
            found = stream.samples_there or stream.format.header_samples
            return found / stream.format.sample_rate if found else None
    except AudioError:
        return None


def answer(asked: Asked) -> tuple[Any, bytes]:
    """Return what is asked for, and the samples of a stretch. Raises `AudioError`."""
    path = Path(asked.paths[0])
    match asked.kind:
        case "probe":
            return asdict(probe(path, asked.limits)), b""
        case "lengths":
            return [length(Path(one)) for one in asked.paths], b""
        case "outline":
            info, low, high = read_outline(path, asked.count, name=asked.name, allow_cut=True)
            return [asdict(info), low, high], b""
        case "stretch":
            one = read_stretch(path, asked.start, asked.seconds, name=asked.name)
            return [one.first, one.sample_rate, one.samples.shape[1]], one.samples.tobytes()


def main() -> None:
    """Answer what the argument asks for."""
    asked = build_settings(Asked, json.loads(sys.argv[1]))
    _limit(asked.limits)
    data = b""
    try:
        value, data = answer(asked)
        found = {"found": value}
    except AudioError as error:
        found = {"error": str(error), "reason_code": error.reason_code}
    except MemoryError:
        found = {
            "error": f"{asked.name} takes too much memory to read; send less",
            "reason_code": "too_large",
        }
    sys.stdout.buffer.write(json.dumps(found).encode() + b"\n" + data)
    sys.stdout.buffer.flush()
    os._exit(0)  # what a damaged file did to a decoder's memory is not to be tidied up


if __name__ == "__main__":
    main()
