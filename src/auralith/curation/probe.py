"""The probe: format and content of a file, from one decoding pass in bounded memory.

A file is read twice, first as bytes for its hash, then decoded block by block; every block is added to the hash of the
samples and to all meters. A meter takes blocks (sample, channel) in order by `add`, in constant memory, and has its results
as properties, which do not depend on the cut into blocks. No value is taken from the header alone. An unusable file
becomes a row with its reason: empty_file, not_audio, truncated, too_long, no_samples, nan_samples, silent,
impossible_level, unusual_rate, format_changes, unknown_codec, missing_file, missing_decoder, unsafe_path, unreadable_file; no_path if the recording has no sound.
"""

import hashlib
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float

from auralith.curation.sources.records import safe_path
from auralith.curation.stage import Finding, Row
from auralith.errors import AudioError, InvalidRequest
from auralith.files import file_hash
from auralith.numbers import check_number
from auralith.sound.levels import HIGHEST_DB
from auralith.sound.loudness import LoudnessMeter
from auralith.sound.stream import SoundFormat, SoundStream, open_sound

FRAME_SECONDS = 0.05
"""Length of the frames that count as silent or not."""
CLIP_LEVEL, CLIP_RUN = 0.999, 3
BANDWIDTH_MARGIN_DB = 10.0
HIGH_BAND_HZ = (16_000.0, 20_000.0)
_FFT, _HOP = 4_096, 2_048
_SMOOTHING_BINS = 9
_FLOOR_SHARE = 0.05
_LOWEST_FLOOR_DB = -130.0
"""Level of a bin under 16-bit quantization; below it are only side lobes and rounding."""
_LEAST_POWER = 1e-20
"""Power that digital silence counts as: −200 dB."""

Block = Float[np.ndarray, "sample channel"]
_TYPES = {
    "sha256": "string",
    "pcm_sha256": "string",
    "decoder": "string",
    "codec": "string",
    "sample_rate_hz": "int32",
    "channels": "int32",
    "bits": "int32",
    "num_samples": "int64",
    "duration_s": "float64",
    "header_duration_s": "float64",
    "note": "string",
    "integrated_lufs": "float64",
    "peak_dbfs": "float64",
    "silence_ratio": "float64",
    "clip_ratio": "float64",
    "bandwidth_hz": "float64",
    "high_frequency_db": "float64",
    "full_band": "bool",
}


class LevelMeter:
    """Number of samples and their peak."""

    def __init__(self) -> None:
        self.num_samples = 0
        self._peak = 0.0

    def add(self, block: Block) -> None:
        self.num_samples += len(block)
        self._peak = max(self._peak, float(block.max(initial=0.0)), -float(block.min(initial=0.0)))

    @property
    def peak_dbfs(self) -> float | None:
        """Return the largest magnitude; None for digital silence."""
        return 20 * math.log10(self._peak) if self._peak > 0 else None


class SilenceMeter:
    """Share of frames of 50 ms (the last one may be shorter) whose RMS over all channels is below a level."""

    def __init__(self, sample_rate: int, channels: int, below_dbfs: float) -> None:
        self._size = max(1, round(FRAME_SECONDS * sample_rate))
        self._limit = 10 ** (below_dbfs / 10)
        self._rest = np.zeros((0, channels), np.float32)
        self._frames = self._silent = 0

    def add(self, block: Block) -> None:
        joined = np.concatenate([self._rest, block])
        whole = len(joined) // self._size * self._size
        frames = joined[:whole].reshape(whole // self._size, self._size * joined.shape[1])
        self._frames += len(frames)
        self._silent += int((self._power(frames) < self._limit).sum())
        self._rest = joined[whole:]

    @property
    def ratio(self) -> float:
        """Return the share, 0 … 1; 1 without samples."""
        last = self._rest.reshape(1, -1)
        frames = self._frames + bool(last.size)
        silent = self._silent + bool(last.size and self._power(last)[0] < self._limit)
        return silent / frames if frames else 1.0

    @staticmethod
    def _power(frames: np.ndarray) -> np.ndarray:
        return np.einsum("fs,fs->f", frames, frames, dtype=np.float64) / frames.shape[1]


class ClipMeter:
    """Share of samples in runs of at least three, of one channel, whose magnitude is 0.999 or more."""

    def __init__(self, channels: int) -> None:
        self._count = self._total = 0
        # the last two judged samples, and the two that wait for their successors
        self._tail = np.zeros((4, channels), bool)

    def add(self, block: Block) -> None:
        self._total += block.size
        self._judge(np.abs(block) >= CLIP_LEVEL)

    @property
    def ratio(self) -> float:
        """Return the share, 0 … 1; 0 without samples."""
        waiting = np.concatenate([self._tail, np.zeros((2, self._tail.shape[1]), bool)])
        count = self._count + int(_in_runs(waiting).sum())
        return count / self._total if self._total else 0.0

    def _judge(self, high: np.ndarray) -> None:
        joined = np.concatenate([self._tail, high])
        if joined.any():
            self._count += int(_in_runs(joined).sum())
        self._tail = joined[-4:]


def _in_runs(high: np.ndarray) -> np.ndarray:
    """Return which flags lie in a run of three or more, without the first two and the last two."""
    triple = high[:-2] & high[1:-1] & high[2:]
    return triple[:-2] | triple[1:-1] | triple[2:]


class SpectrumMeter:
    """The long-term average spectrum (Welch: Hann 4,096, half overlapping), summed over channels."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._rate = sample_rate
        self._window = np.hanning(_FFT + 1)[:-1].astype(np.float32)
        self._rest = np.zeros((0, channels), np.float32)
        self._sum = np.zeros(_FFT // 2 + 1)
        self._frames = 0

    def add(self, block: Block) -> None:
        joined = np.concatenate([self._rest, block])
        count = max(0, (len(joined) - _FFT) // _HOP + 1)
        if count:
            self._sum += self._power(joined[: (count - 1) * _HOP + _FFT])
            self._frames += count
        self._rest = joined[count * _HOP :]

    @property
    def power(self) -> Float[np.ndarray, "bin"]:
        """Return the mean power of each bin; a full-scale sine has 1 in its bin. An end shorter than a window is ignored,
        unless it is the whole sound."""
        if self._frames:
            total = self._sum / self._frames
        else:
            before = (_FFT - len(self._rest)) // 2  # in the middle, where the window is largest
            after = _FFT - len(self._rest) - before
            total = self._power(np.pad(self._rest, ((before, after), (0, 0))))
        return total * (2 / float(self._window.sum())) ** 2

    @property
    def bandwidth_hz(self) -> float | None:
        """Return the highest frequency whose level, smoothed over 9 bins, lies more than 10 dB above the floor.

        The floor is the median of the lowest 5 % of the bins, but at least −130 dBFS. The result is half the sample rate
        if no bin exceeds a higher floor (a flat spectrum), and None for silence or if all bins lie below −120 dBFS. A
        spectrum that falls slowly has its floor at the top, so that the result is less than its whole band:
        `high_frequency_db` separates such sounds from band-limited ones.
        """
        power = self.power
        if power.max() <= _LEAST_POWER:
            return None
        ones = np.ones(_SMOOTHING_BINS)
        smooth = np.convolve(power, ones, "same") / np.convolve(np.ones(len(power)), ones, "same")
        level = 10 * np.log10(np.maximum(smooth, _LEAST_POWER))
        floor = float(np.median(np.sort(level)[: math.ceil(_FLOOR_SHARE * len(level))]))
        above = np.flatnonzero(level > max(floor, _LOWEST_FLOOR_DB) + BANDWIDTH_MARGIN_DB)
        if not len(above) and floor <= _LOWEST_FLOOR_DB:
            return None
        return float(above[-1] if len(above) else len(level) - 1) * self._rate / _FFT

    @property
    def high_frequency_db(self) -> float | None:
        """Return the power in 16–20 kHz relative to the total; None for silence, or if the sample rate is too low."""
        power = self.power
        hz = np.arange(len(power)) * self._rate / _FFT
        band = (hz >= HIGH_BAND_HZ[0]) & (hz <= HIGH_BAND_HZ[1])
        if not band.any() or power.max() <= _LEAST_POWER:
            return None
        return 10 * math.log10(max(float(power[band].sum() / power.sum()), _LEAST_POWER))

    def _power(self, samples: np.ndarray) -> np.ndarray:
        frames = np.lib.stride_tricks.sliding_window_view(samples, _FFT, axis=0)[::_HOP]
        spectrum = np.fft.rfft(frames * self._window)
        return (spectrum.real**2 + spectrum.imag**2).sum(axis=(0, 1), dtype=np.float64)


@dataclass(frozen=True)
class ProbeSettings:
    """Limits for too long, silent and full-band recordings."""

    max_hours: float = 24.0
    """Longest usable recording; a longer one is quarantined."""
    silence_dbfs: float = -60.0
    """RMS below which a frame of 50 ms is silent; a recording of only such frames is quarantined."""
    full_band_db: float = -70.0
    """Least power of a full-band recording in 16–20 kHz, relative to its total power."""
    full_band_rate_hz: int = 44_100
    """Least sample rate of a full-band recording. The rule of the published data set is not known."""

    def __post_init__(self) -> None:
        check_number(self, "max_hours", "h", above=0.0)


class Probe:
    """The stage: usable recordings pass, with their measurements in columns."""

    name = "probe"
    provider = "auralith"
    provider_version = "1"
    inputs: tuple[str, ...] = ("path",)

    def __init__(self, settings: ProbeSettings = ProbeSettings()) -> None:
        self.settings = settings

    @property
    def schema(self) -> pa.Schema:
        return probe_schema()

    def process(self, rows: Sequence[Row], root: Path) -> list[Finding]:
        return [self._finding(row, root) for row in rows]

    def _finding(self, row: Row, root: Path) -> Finding:
        if not row["path"]:
            return Finding("skipped", "quarantine", "no_path")
        known: dict[str, Any] = {}
        try:
            path = sound_path(root, row["path"])
            known["sha256"] = file_sha256(path)
            with open_sound(path) as stream:
                known |= _format_columns(stream.format)
                known |= measure(stream, self.settings)
        except AudioError as error:
            return Finding("error", "quarantine", error.reason_code, columns=known)
        if (known["peak_dbfs"] or 0) > HIGHEST_DB:
            return Finding("ok", "quarantine", "impossible_level", columns=known)
        if known["silence_ratio"] == 1.0:
            return Finding("ok", "quarantine", "silent", columns=known)
        return Finding("ok", "pass", columns=known)


def probe_schema() -> pa.Schema:
    """Return the probe's own columns."""
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in _TYPES.items()])


def sound_path(root: Path, relative: str) -> Path:
    """Return the path of a recording's file.

    Raises:
        AudioError: "unsafe_path" if it lies outside the root, or "missing_file".
    """
    try:
        path = safe_path(root, relative)
    except InvalidRequest as error:
        raise AudioError(str(error), "unsafe_path") from error
    if not os.path.isfile(path):  # unlike Path.is_file, false for a name too long to exist
        raise AudioError(f"{relative} is not a file below {root}", "missing_file")
    return path


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file. Raises `AudioError` ("unreadable_file") if it can't be read."""
    try:
        return file_hash(path)
    except OSError as error:
        reason = f"{path} can't be read ({error.strerror}); look at its permissions and its disk"
        raise AudioError(reason, "unreadable_file") from error


def measure(stream: SoundStream, settings: ProbeSettings) -> Mapping[str, Any]:
    """Return the columns that need the samples.

    Raises:
        AudioError: "too_long", "no_samples", "nan_samples", "truncated".
    """
    form = stream.format
    longest = settings.max_hours * 3_600 * form.sample_rate
    meters = _Meters(stream, settings)
    for block in stream.finite_blocks():
        meters.add(block)
        if meters.levels.num_samples > longest:
            raise _too_long(settings)
    if not meters.levels.num_samples:
        raise AudioError("the file holds no samples; leave it out", "no_samples")
    return meters.columns(settings)


def _too_long(settings: ProbeSettings) -> AudioError:
    limit = f"longer than {settings.max_hours:g} h; cut it or set max_hours"
    return AudioError(f"the sound is {limit}", "too_long")


def _format_columns(form: SoundFormat) -> dict[str, Any]:
    header = None if form.header_samples is None else form.header_samples / form.sample_rate
    return {
        "decoder": form.decoder,
        "codec": form.codec,
        "sample_rate_hz": form.sample_rate,
        "channels": form.channels,
        "bits": form.bits,
        "header_duration_s": header,
    }


class _Meters:
    """All meters of a stream, which get the same blocks."""

    def __init__(self, stream: SoundStream, settings: ProbeSettings) -> None:
        self._stream, self._form = stream, stream.format
        rate, channels = self._form.sample_rate, self._form.channels
        self._pcm = hashlib.sha256(f"{rate},{channels}\n".encode())
        self.levels = LevelMeter()
        self._loudness = LoudnessMeter(rate, channels)
        self._silence = SilenceMeter(rate, channels, settings.silence_dbfs)
        self._clipping = ClipMeter(channels)
        self._spectrum = SpectrumMeter(rate, channels)

    def add(self, block: Float[np.ndarray, "sample channel"]) -> None:
        self._pcm.update(np.ascontiguousarray(block, "<f4").data)
        self.levels.add(block)
        for meter in (self._loudness, self._silence, self._clipping, self._spectrum):
            meter.add(block)

    def columns(self, settings: ProbeSettings) -> dict[str, Any]:
        high = self._spectrum.high_frequency_db
        full_rate = self._form.sample_rate >= settings.full_band_rate_hz
        return {
            "pcm_sha256": self._pcm.hexdigest(),
            **self._length(),
            "integrated_lufs": self._loudness.integrated,
            "peak_dbfs": self.levels.peak_dbfs,
            "silence_ratio": self._silence.ratio,
            "clip_ratio": self._clipping.ratio,
            "bandwidth_hz": self._spectrum.bandwidth_hz,
            "high_frequency_db": high,
            "full_band": full_rate and high is not None and high >= settings.full_band_db,
        }

    def _length(self) -> dict[str, Any]:
        samples, rate = self.levels.num_samples, self._form.sample_rate
        note = "duration_mismatch" if self._stream.disagreement(samples) else None
        return {"num_samples": samples, "duration_s": samples / rate, "note": note}
