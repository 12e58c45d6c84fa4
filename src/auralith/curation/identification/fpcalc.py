"""Chromaprint fingerprints of sound files, made by the program fpcalc (algorithm 2).

The program is optional and comes with Chromaprint. We decode and resample the sound ourselves and hand it a plain WAV
file at its own rate: so it reads what the other backends read, and no demuxer of its gets to see a stranger's file.
Its answer counts only if it has as many items as the sound must have. That matters because version 1.5.1 ends with
status 3 after decoding all of a WAV file. Fingerprints of others are never decoded, so its version doesn't matter.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile

from auralith.curation.identification.programs import Ended, find_program, run_program
from auralith.errors import AudioError, ResourceError
from auralith.foreign import parse_json
from auralith.sound.mono import Mono, open_mono
from auralith.sound.resampling import resampled

SAMPLE_RATE = 11_025
_ITEM_FRAMES = 20
"""Five frames in the smoothing, sixteen of those in the widest filter."""
_REMEDY = "install Chromaprint's command-line tools, or say where it is (identifier.fpcalc)"
_BASE_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class _Heard:
    """A sound, as it was written for the program."""

    seconds: float
    """Of all of it."""
    num_items: int
    """That the program must find in what was written."""


class Fpcalc:
    """The program. Raises `InvalidRequest` if it isn't there."""

    def __init__(self, program: str = "fpcalc", timeout_s: float = _BASE_TIMEOUT_S) -> None:
        """`timeout_s` is for each sound, with a tenth of its length on top."""
        self._program, self._timeout_s = find_program(program, _REMEDY), timeout_s

    def compressed(self, path: Path, longest_s: float) -> tuple[str, float]:
        """The fingerprint of the first `longest_s` as text, as AcoustID takes it, and the seconds of the whole sound;
        empty if it is shorter than an item takes.

        Raises:
            AudioError: as `open_mono` and its blocks do; "fpcalc_failed", "fpcalc_timeout".
        """
        heard, found = self._run(path, longest_s)
        if not heard.num_items:
            return "", heard.seconds
        if not isinstance(found, str) or _num_items_in(found) != heard.num_items:
            raise _failed(path)
        return found, heard.seconds

    def _run(self, path: Path, longest_s: float) -> tuple[_Heard, Any]:
        """How long the sound is, and what the program calls its fingerprint; None if there can't be one."""
        with TemporaryDirectory(prefix="auralith-") as folder:
            wav = Path(folder) / "sound.wav"
            heard = _write(path, wav, longest_s)
            if not heard.num_items:
                return heard, None
            arguments = [self._program, "-json", "-algorithm", "2", "-length", "0"]
            timeout_s = self._timeout_s + heard.seconds / 10
            ended = run_program([*arguments, str(wav)], timeout_s)
        return heard, _fingerprint(ended, path)


def _write(path: Path, wav: Path, longest_s: float) -> _Heard:
    """Write a sound, or its beginning, as 16-bit mono at the program's rate."""
    num_samples = written = 0

    def kept(sound: Mono) -> Iterator[np.ndarray]:
        nonlocal num_samples
        most = round(longest_s * sound.sample_rate)
        for block in sound.blocks:
            part = block[: max(0, most - num_samples)]
            num_samples += len(block)
            yield part[:, None]

    try:
        with (
            open_mono(path) as sound,
            soundfile.SoundFile(str(wav), "w", SAMPLE_RATE, 1, "PCM_16") as file,
        ):
            rate = sound.sample_rate
            for part in resampled(kept(sound), rate, SAMPLE_RATE, 1):
                file.write(np.clip(part, -1, 1))
                written += len(part)
    except (OSError, soundfile.LibsndfileError) as error:
        raise ResourceError(f"{wav} can't be written ({error}); make room for it") from error
    return _Heard(num_samples / rate, _num_items(written))


def _num_items(num_samples: int) -> int:
    frames = 1 + (num_samples - 4_096) // 1_365
    return max(0, frames - _ITEM_FRAMES + 1)


def _fingerprint(ended: Ended, path: Path) -> Any:
    if ended.code is None:
        raise AudioError(f"fpcalc takes too long for {path}", "fpcalc_timeout")
    if ended.code not in (0, 3):
        raise _failed(path)
    try:
        return parse_json(ended.output)["fingerprint"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _failed(path) from error


def _num_items_in(compressed: str) -> int:
    """The number of items that a compressed fingerprint says it has: three bytes after the algorithm's number."""
    try:
        head = base64.b64decode(compressed[:8], altchars=b"-_", validate=True)
    except ValueError:
        return -1
    return int.from_bytes(head[1:4]) if len(head) >= 4 else -1


def _failed(path: Path) -> AudioError:
    return AudioError(f"fpcalc makes no whole fingerprint of {path}", "fpcalc_failed")
