"""The probe: format and content of a file, from one decoding pass in bounded memory.

A file is read twice, first as bytes for its hash, then decoded block by block; every block goes to the hash of the samples
and to the meters of `meters` and `sound.loudness`. No value is taken from the header alone. A file that can't be used
becomes a row with its reason: empty_file, not_audio, truncated, too_long, no_samples, nan_samples, silent,
impossible_level, unusual_rate, format_changes, unknown_codec, missing_file, missing_decoder, unsafe_path, unreadable_file; no_path if the recording has no sound.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from auralith.curation.meters import (
    ClipMeter,
    LevelMeter,
    SilenceMeter,
    SpectrumMeter,
    StereoMeter,
)
from auralith.curation.sources import safe_path
from auralith.curation.stage import Finding, Row
from auralith.errors import AudioError, InvalidRequest
from auralith.extras import require
from auralith.files import file_hash
from auralith.numbers import check_number
from auralith.sound.levels import HIGHEST_DB
from auralith.sound.loudness import LoudnessMeter
from auralith.sound.stream import SoundFormat, SoundStream, open_sound

if TYPE_CHECKING:
    import pyarrow as pa

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
    "dc_offset": "list<float64>",
    "silence_ratio": "float64",
    "clip_ratio": "float64",
    "bandwidth_hz": "float64",
    "high_frequency_db": "float64",
    "full_band": "bool",
    "stereo_correlation": "float64",
    "dual_mono": "bool",
}


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
    def schema(self) -> "pa.Schema":
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


def probe_schema() -> "pa.Schema":
    """Return the probe's own columns."""
    pa = require("pyarrow", "curate")
    types = {"list<float64>": pa.list_(pa.float64()), "bool": pa.bool_()}
    return pa.schema(
        [(name, types.get(kind) or pa.type_for_alias(kind)) for name, kind in _TYPES.items()]
    )


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
        self.levels = LevelMeter(channels)
        self._loudness = LoudnessMeter(rate, channels)
        self._silence = SilenceMeter(rate, channels, settings.silence_dbfs)
        self._clipping = ClipMeter(channels)
        self._spectrum = SpectrumMeter(rate, channels)
        self._stereo = StereoMeter(channels)

    def add(self, block: Float[np.ndarray, "sample channel"]) -> None:
        self._pcm.update(np.ascontiguousarray(block, "<f4").data)
        for meter in (
            *(self.levels, self._loudness, self._silence),
            *(self._clipping, self._spectrum, self._stereo),
        ):
            meter.add(block)

    def columns(self, settings: ProbeSettings) -> dict[str, Any]:
        high = self._spectrum.high_frequency_db
        full_rate = self._form.sample_rate >= settings.full_band_rate_hz
        return {
            "pcm_sha256": self._pcm.hexdigest(),
            **self._length(),
            "integrated_lufs": self._loudness.integrated,
            "peak_dbfs": self.levels.peak_dbfs,
            "dc_offset": self.levels.dc_offset,
            "silence_ratio": self._silence.ratio,
            "clip_ratio": self._clipping.ratio,
            "bandwidth_hz": self._spectrum.bandwidth_hz,
            "high_frequency_db": high,
            "full_band": full_rate and high is not None and high >= settings.full_band_db,
            "stereo_correlation": self._stereo.correlation,
            "dual_mono": self._stereo.dual_mono,
        }

    def _length(self) -> dict[str, Any]:
        samples, rate = self.levels.num_samples, self._form.sample_rate
        note = "duration_mismatch" if self._stream.disagreement(samples) else None
        return {"num_samples": samples, "duration_s": samples / rate, "note": note}
