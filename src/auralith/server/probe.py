"""Decode one upload in a process of its own, under limits: `python -m auralith.server.probe PATH LIMITS`.

Decoders are native code that reads bytes of strangers: what makes one crash, spin or unpack gigabytes ends this process and
nothing else. One line of JSON goes out: what was found, or why the file is no sound that is taken.
"""

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from auralith.errors import AudioError
from auralith.settings import build_settings
from auralith.sound.stream import SoundStream, open_sound

try:
    import resource
except ImportError:  # Windows
    resource = None

NAME = "the upload"
MOST_CODEC = 40
"""Most characters of the name of a codec."""
OUTPUT_BYTES = 2**16
"""Most bytes that the process writes."""


@dataclass(frozen=True)
class ProbeLimits:
    """Limits of an upload, and of the process that reads it."""

    seconds: float
    values: int
    """Most samples times channels."""
    channels: int = 8
    cpu_seconds: int = 60
    memory_bytes: int = 2**30
    """Bytes beyond those that the process has before it opens the file; where the system can't limit them, there is no limit."""


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
        resource.RLIMIT_FSIZE: OUTPUT_BYTES,
        resource.RLIMIT_CORE: 0,
    }
    mapped = Path("/proc/self/statm")
    if mapped.exists():
        pages = int(mapped.read_text().split()[0])
        sizes[resource.RLIMIT_AS] = pages * resource.getpagesize() + limits.memory_bytes
    for name, size in sizes.items():
        with suppress(ValueError, OSError):  # a lower limit is set already
            resource.setrlimit(name, (size, size))


def main() -> None:
    """Probe the file of the first argument under the limits of the second."""
    limits = build_settings(ProbeLimits, json.loads(sys.argv[2]))
    _limit(limits)
    try:
        found = {"probed": asdict(probe(Path(sys.argv[1]), limits))}
    except AudioError as error:
        found = {"error": str(error), "reason_code": error.reason_code}
    except MemoryError:
        found = {
            "error": f"{NAME} takes too much memory to read; send less",
            "reason_code": "too_large",
        }
    print(json.dumps(found), flush=True)
    os._exit(0)  # what a damaged file did to a decoder's memory is not to be tidied up


if __name__ == "__main__":
    main()
