"""Programs of other projects: a safe way to run them, and Chromaprint's fpcalc.

A program is started from a list of arguments, never by a shell, as the leader of a process group of its own, so that the
processes it starts end with it. Its output goes to a file, since a pipe that a grandchild keeps open would never end.

fpcalc (algorithm 2) makes the fingerprints that AcoustID takes. We decode and resample the sound ourselves and hand it a
plain WAV file: it reads the same files as the other backends, and its demuxers never see an untrusted file. Its answer
counts only if it has as many items as the sound must have, because version 1.5.1 exits with status 3 after decoding all
of a WAV file. Foreign fingerprints are never decoded, so its version doesn't matter.
"""

import base64
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import numpy as np
import soundfile

from auralith.errors import AudioError, InvalidRequest, ResourceError
from auralith.foreign import SHAPE_ERRORS, parse_json
from auralith.sound.resampling import resampled
from auralith.sound.stream import Mono, open_mono

MAX_OUTPUT_BYTES = 16 << 20
"""Largest output that is read."""
SAMPLE_RATE = 11_025
_ITEM_FRAMES = 20
"""Frames that an item covers: five in the smoothing, sixteen of those in the widest filter."""
_FPCALC_REMEDY = "install Chromaprint's command-line tools, or name it as identifier.fpcalc"
_BASE_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Finished:
    """Result of a program."""

    code: int | None
    """Exit status, negative for a signal; None if it was stopped at its time limit."""
    output: bytes
    """Standard output, at most `MAX_OUTPUT_BYTES` of it."""


def find_program(name: str, remedy: str) -> str:
    """Return the absolute path of a program, given by a path or by a name in PATH. Raises `InvalidRequest` if it is missing."""
    found = shutil.which(name)
    if found is None:
        raise InvalidRequest(f"there is no program '{name}'; {remedy}")
    return os.path.abspath(found)


def run_program(arguments: Sequence[str], timeout_s: float) -> Finished:
    """Run a program until it ends or `timeout_s` has passed, and then kill its whole process group.

    Raises:
        ResourceError: the program can't be started.
    """
    with TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                list(arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise ResourceError(f"{arguments[0]} can't be started ({error})") from error
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
        output.seek(0)
        return Finished(code, output.read(MAX_OUTPUT_BYTES))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the process group of a program that still runs, after its time limit or when we are stopped."""
    if process.returncode is None:
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()


class Fpcalc:
    """The program fpcalc."""

    def __init__(self, program: str = "fpcalc", timeout_s: float = _BASE_TIMEOUT_S) -> None:
        """Find the program. `timeout_s` is the limit for each sound, plus a tenth of its duration. Raises `InvalidRequest` if
        the program is missing."""
        self._program, self._timeout_s = find_program(program, _FPCALC_REMEDY), timeout_s

    def compressed(self, path: Path, longest_s: float) -> tuple[str, float]:
        """Return the fingerprint of the first `longest_s` as AcoustID takes it, and the seconds of the whole sound.

        The fingerprint is empty if the sound is shorter than one item.

        Raises:
            AudioError: as `open_mono` and its blocks do; "fpcalc_failed", "fpcalc_timeout".
        """
        with TemporaryDirectory(prefix="auralith-") as folder:
            wav = Path(folder) / "sound.wav"
            seconds, num_items = _write(path, wav, longest_s)
            if not num_items:
                return "", seconds
            arguments = [self._program, "-json", "-algorithm", "2", "-length", "0", str(wav)]
            finished = run_program(arguments, self._timeout_s + seconds / 10)
        found = _fingerprint(finished, path)
        if not isinstance(found, str) or _num_items_in(found) != num_items:
            raise _failed(path)
        return found, seconds


def _write(path: Path, wav: Path, longest_s: float) -> tuple[float, int]:
    """Write the first `longest_s` of a sound as 16-bit mono at fpcalc's rate.

    Return the seconds of the whole sound, and the number of items that fpcalc must find in the written part.
    """
    num_samples = written = 0

    def beginning(sound: Mono) -> Iterator[np.ndarray]:
        nonlocal num_samples
        limit = round(longest_s * sound.sample_rate)
        for block in sound.blocks:
            part = block[: max(0, limit - num_samples)]
            num_samples += len(block)
            yield part[:, None]

    try:
        with (
            open_mono(path) as sound,
            soundfile.SoundFile(str(wav), "w", SAMPLE_RATE, 1, "PCM_16") as file,
        ):
            rate = sound.sample_rate
            for part in resampled(beginning(sound), rate, SAMPLE_RATE, 1):
                file.write(np.clip(part, -1, 1))
                written += len(part)
    except (OSError, soundfile.LibsndfileError) as error:
        raise ResourceError(f"{wav} can't be written ({error}); make room for it") from error
    return num_samples / rate, _num_items(written)


def _num_items(num_samples: int) -> int:
    frames = 1 + (num_samples - 4_096) // 1_365
    return max(0, frames - _ITEM_FRAMES + 1)


def _fingerprint(finished: Finished, path: Path) -> Any:
    if finished.code is None:
        raise AudioError(f"fpcalc took too long for {path}", "fpcalc_timeout")
    if finished.code not in (0, 3):
        raise _failed(path)
    try:
        return parse_json(finished.output)["fingerprint"]
    except SHAPE_ERRORS as error:
        raise _failed(path) from error


def _num_items_in(compressed: str) -> int:
    """Return the number of items in a compressed fingerprint's header: three bytes after the algorithm's number."""
    try:
        head = base64.b64decode(compressed[:8], altchars=b"-_", validate=True)
    except ValueError:
        return -1
    return int.from_bytes(head[1:4]) if len(head) >= 4 else -1


def _failed(path: Path) -> AudioError:
    return AudioError(f"fpcalc made no complete fingerprint of {path}", "fpcalc_failed")
