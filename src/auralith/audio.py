"""Sound files and levels: read, resample, write, the tags inside a file, peak, silence, white noise.

A waveform is (channel, sample), float32, full scale ±1. A file is encoded in memory and then written whole or not at
all. Tags are one JSON object, escaped to ASCII (the comment fields of the four formats disagree about everything else),
in the place where each format keeps a comment: the INFO list of WAV, the Vorbis comment of FLAC and OGG, the ID3v2
comment of MP3. libsndfile drops a long comment of a WAV file, so that one chunk is written and read here.
"""

import io
import json
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.errors import AudioError, InvalidRequest
from auralith.files import check_writable, whole_file

SILENCE_DB = -60.0
"""A clip whose peak is below this is called silent (dBFS)."""
_NORMALIZE_ABOVE = 1e-5
"""Below this peak (-100 dBFS) there is nothing to normalize but rounding noise."""
_BLOCK = 65_536
"""Samples handed to libsndfile at a time; its Vorbis encoder overflows the stack on minutes at once."""


@dataclass(frozen=True)
class _Container:
    name: str
    subtypes: dict[str, str]
    """Ours to libsndfile's; the first is the default."""


_CONTAINERS = {
    ".wav": _Container("WAV", {"pcm16": "PCM_16", "pcm24": "PCM_24", "float": "FLOAT"}),
    ".flac": _Container("FLAC", {"pcm16": "PCM_16", "pcm24": "PCM_24"}),
    ".ogg": _Container("OGG", {"vorbis": "VORBIS"}),
    ".mp3": _Container("MP3", {"mp3": "MPEG_LAYER_III"}),
}
_EXACT = {"PCM_S8": "pcm16", "PCM_U8": "pcm16", "PCM_16": "pcm16", "PCM_24": "pcm24"}
"""libsndfile's encodings to the subtypes that hold all their values; the others need floats."""


def read(path: str | Path) -> tuple[Float[Tensor, "channel sample"], int]:
    """The waveform of a sound file (anything libsndfile reads) and its sample rate in Hz.

    Raises `AudioError` if the file is missing, not a sound file, empty, or holds NaN or infinity.
    """
    try:
        samples, sample_rate = soundfile.read(_existing(path), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(_unreadable(path)) from error
    if not len(samples):
        raise AudioError(f"{path} holds no samples; give a file with sound in it")
    waveform = torch.from_numpy(np.ascontiguousarray(samples.T))
    _require_finite(waveform, str(path))
    return waveform, sample_rate


def exact_subtype(path: str | Path) -> str:
    """The sample format that holds a file's samples as `read` gives them; raises `AudioError` as it does."""
    try:
        with soundfile.SoundFile(_existing(path)) as file:
            encoding = file.subtype
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(_unreadable(path)) from error
    return _EXACT.get(encoding, "float")


def resample(
    waveform: Float[Tensor, "channel sample"], from_hz: int, to_hz: int
) -> Float[Tensor, "channel resampled"]:
    """The waveform at another sample rate (soxr, high quality); itself when the rates are equal."""
    if from_hz == to_hz:
        return waveform
    resampled = soxr.resample(waveform.cpu().numpy().T, from_hz, to_hz, quality="HQ")
    return torch.from_numpy(np.ascontiguousarray(resampled.T))


def _existing(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise AudioError(f"{path} is not a file; give the path of a sound file")
    return Path(path)


def _unreadable(path: str | Path) -> str:
    return f"{path} is not a readable sound file; WAV, FLAC, OGG, MP3, AIFF, CAF and AU are read"


def write(
    path: str | Path,
    waveform: Float[Tensor, "channel sample"],
    sample_rate: int,
    *,
    subtype: str | None = None,
    tags: Mapping[str, Any] | None = None,
    finish: Callable[[bytes], bytes] | None = None,
) -> None:
    """Write a sound file: the suffix chooses WAV, FLAC, OGG or MP3, `subtype` the sample format (default 16 bit).

    `tags` must be JSON values. `finish` makes the file's bytes of the encoded ones (a signature). What lies beyond full
    scale is clipped, except in float files, which keep it.
    Raises `AudioError` (NaN, a rate or a channel count the format can't hold), `InvalidRequest` (unknown suffix or
    subtype) and `ResourceError` (unwritable place, no disk space); then no file has been made or changed.
    """
    container, encoding = _chosen(path, subtype)
    _require_finite(waveform, "the audio")
    comment = None if tags is None else json.dumps(tags)
    try:
        data = _encoded(waveform, sample_rate, container, encoding, comment)
    except (soundfile.LibsndfileError, ValueError) as error:
        channels = waveform.shape[0]
        raise AudioError(
            f"{container} can't hold {channels} channels at {sample_rate} Hz; choose .wav for {path}"
        ) from error
    if finish is not None:
        data = finish(data)
    with whole_file(path) as file:
        file.write(data)


def check_output(path: str | Path, subtype: str | None = None) -> None:
    """Raise what `write` would raise for this path and subtype, before any work is done."""
    _chosen(path, subtype)
    check_writable(path)


def nearest_subtype(path: str | Path, wanted: str) -> str:
    """The wanted subtype if a file of this suffix can have it, else its finest. Raises `InvalidRequest`."""
    container, _ = _chosen(path, None)
    subtypes = next(c.subtypes for c in _CONTAINERS.values() if c.name == container)
    return wanted if wanted in subtypes else list(subtypes)[-1]


def _chosen(path: str | Path, subtype: str | None) -> tuple[str, str]:
    """libsndfile's container and subtype names for a path."""
    container = _CONTAINERS.get(Path(path).suffix.lower())
    if container is None:
        raise InvalidRequest(f"{path} has no known suffix; choose one of {', '.join(_CONTAINERS)}")
    if subtype is None:
        return container.name, next(iter(container.subtypes.values()))
    if subtype not in container.subtypes:
        raise InvalidRequest(
            f"{container.name} files can't be {subtype}; choose {' or '.join(container.subtypes)}"
        )
    return container.name, container.subtypes[subtype]


def _encoded(
    waveform: Tensor, sample_rate: int, container: str, encoding: str, comment: str | None
) -> bytes:
    samples = _quantized(waveform.detach().float().cpu().numpy().T, encoding)
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", sample_rate, samples.shape[1], format=container, subtype=encoding
    ) as file:
        if comment is not None and container != "WAV":
            file.comment = comment
        for start in range(0, len(samples), _BLOCK):
            file.write(samples[start : start + _BLOCK])
    data = buffer.getvalue()
    return data if comment is None or container != "WAV" else _with_info_chunk(data, comment)


def _quantized(samples: np.ndarray, encoding: str) -> np.ndarray:
    """Rounded and clipped here: libsndfile truncates, which adds half a step of offset."""
    match encoding:
        case "FLOAT":
            return samples
        case "PCM_16":
            return np.clip(np.rint(samples * 2.0**15), -(2**15), 2**15 - 1).astype(np.int16)
        case "PCM_24":
            steps = np.clip(np.rint(samples * 2.0**23), -(2**23), 2**23 - 1)
            return steps.astype(np.int32) << 8
        case _:
            return np.clip(samples, -1.0, 1.0)


def _require_finite(waveform: Tensor, what: str) -> None:
    if not bool(torch.isfinite(waveform).all()):
        first = int((~torch.isfinite(waveform)).any(dim=0).nonzero()[0])
        raise AudioError(f"{what} is not finite: NaN or infinity at sample {first}")


def read_tags(path: str | Path) -> dict[str, Any] | None:
    """The JSON object inside a file written by `write`; None if there is none.

    Raises `AudioError` if the file is missing or not a sound file.
    """
    try:
        with soundfile.SoundFile(_existing(path)) as file:
            container, comment = file.format, file.comment
    except (soundfile.LibsndfileError, OSError) as error:
        raise AudioError(_unreadable(path)) from error
    if container in ("WAV", "WAVEX"):
        comment = _info_comment(Path(path).read_bytes())
    try:
        tags = json.loads(comment)
    except ValueError:
        return None
    return tags if isinstance(tags, dict) else None


def _with_info_chunk(wav: bytes, comment: str) -> bytes:
    """A WAV file with `LIST INFO ICMT` behind its samples. Chunks are padded to even sizes (RIFF 1.0)."""
    text = comment.encode() + b"\0"
    entry = b"INFO" + _chunk(b"ICMT", text)
    data = wav + b"\0" * (len(wav) % 2) + _chunk(b"LIST", entry)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:]


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    position = 0
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        yield name, data[position + 8 : position + 8 + size]
        position += 8 + size + size % 2


def _info_comment(wav: bytes) -> str:
    for name, body in _chunks(wav[12:]):
        if name == b"LIST" and body[:4] == b"INFO":
            for entry, text in _chunks(body[4:]):
                if entry == b"ICMT":
                    return text.rstrip(b"\0").decode(errors="replace")
    return ""


def peak_normalize(
    waveform: Float[Tensor, "channel sample"],
) -> Float[Tensor, "channel sample"]:
    """The waveform divided by its largest magnitude, as on the model card; unchanged below -100 dBFS."""
    peak = float(waveform.abs().max()) if waveform.numel() else 0.0
    return waveform / peak if peak > _NORMALIZE_ABOVE else waveform


def peak_db(waveform: Float[Tensor, "channel sample"]) -> float:
    """Largest magnitude in dBFS; -inf for digital silence."""
    return _decibels(float(waveform.abs().max()) if waveform.numel() else 0.0)


def rms_db(waveform: Float[Tensor, "channel sample"]) -> float:
    """Root mean square over all channels in dBFS (a full-scale sine is -3.01); -inf for digital silence."""
    return _decibels(float(waveform.square().mean().sqrt()) if waveform.numel() else 0.0)


def is_silent(waveform: Float[Tensor, "channel sample"]) -> bool:
    """Whether the peak is below `SILENCE_DB`. Ask before normalizing: afterwards every peak is 0 dBFS."""
    return peak_db(waveform) < SILENCE_DB


def looks_like_white_noise(waveform: Float[Tensor, "channel sample"]) -> bool:
    """Whether the clip is steady and its long-term spectrum flat, as an undenoised or untrained output is.

    Flat: geometric over arithmetic mean of the averaged power spectrum above 0.9. Steady: the quietest tenth
    of the frames has more than a tenth of the mean power, which a click, flat as it is, doesn't.
    """
    size = 1024
    if waveform.shape[-1] < 16 * size:
        return False
    window = torch.hann_window(size, device=waveform.device)
    spectrum = torch.stft(waveform, size, size // 2, window=window, return_complex=True)
    power = spectrum.abs().square().mean(dim=0)[1:-1]
    frames, bins = power.mean(dim=0), power.mean(dim=1)
    if not float(frames.mean()) > 0:
        return False
    flatness = float(bins.log().mean().exp() / bins.mean())
    steadiness = float(frames.quantile(0.1) / frames.mean())
    return flatness > 0.9 and steadiness > 0.1


def _decibels(magnitude: float) -> float:
    return 20 * math.log10(magnitude) if magnitude > 0 else -math.inf
