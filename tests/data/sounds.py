"""Sound files that the tests of `auralith.data` write."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import soundfile

RATE = 8_000


def tone(
    seconds: float = 1.0, channels: int = 1, rate: int = RATE, hz: float = 440.0
) -> np.ndarray:
    """A chirp, (sample, channel), that is different at every time and in every channel."""
    time = np.arange(round(seconds * rate)) / rate
    shapes = [np.sin(2 * np.pi * (hz + 60 * c + 20 * time) * time) for c in range(channels)]
    return (0.5 * np.stack(shapes, axis=1)).astype(np.float32)


def write_sound(path: Path, samples: np.ndarray | None = None, rate: int = RATE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    subtype = "FLOAT" if path.suffix == ".wav" else None
    soundfile.write(path, tone() if samples is None else samples, rate, subtype=subtype)
    return path


def sound_bytes(samples: np.ndarray | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone() if samples is None else samples, RATE, format="FLAC")
    return buffer.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # pyright: ignore[reportCallIssue, reportArgumentType]
        for name, data in members.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))
    return path
