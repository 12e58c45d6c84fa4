"""Writing of sound files: WAV, FLAC, OGG and MP3, with tags.

A waveform is (channel, sample), float32, full scale ±1. A file is encoded in memory and then written whole or not at
all. The same samples and tags give the same bytes, in every format.
"""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor

from auralith.errors import AudioError
from auralith.files import whole_file
from auralith.sound.arrays import AnyWaveform, waveform_of
from auralith.sound.formats import chosen
from auralith.sound.reproducible import reproducible
from auralith.sound.tags import with_info_chunk

_BLOCK = 65_536
"""Samples handed to libsndfile at a time; its Vorbis encoder overflows the stack on minutes at once."""


def write(
    path: str | Path,
    waveform: AnyWaveform,
    sample_rate: int,
    *,
    subtype: str | None = None,
    tags: Mapping[str, Any] | None = None,
    finish: Callable[[bytes], bytes] | None = None,
) -> None:
    """Write a sound file: the suffix chooses WAV, FLAC, OGG or MP3, `subtype` the sample format (default 16 bit).

    A waveform is a tensor or an array, (channel, sample) or (sample,), in floats or PCM (see `auralith.sound.arrays`).
    `tags` must be JSON values. `finish` makes the file's bytes of the encoded ones (a signature). What lies beyond full
    scale is clipped, except in float files, which keep it.
    Raises `AudioError` (NaN, a rate or a channel count the format can't hold), `InvalidRequest` (unknown suffix or
    subtype, other axes) and `ResourceError` (unwritable place, no disk space); then no file has been made or changed.
    """
    container, encoding = chosen(path, subtype)
    samples = waveform_of(waveform, "the audio").cpu()
    _require_finite(samples, "the audio")
    comment = None if tags is None else json.dumps(tags)
    try:
        data = _encoded(samples, sample_rate, container, encoding, comment)
    except (soundfile.LibsndfileError, ValueError) as error:
        channels = samples.shape[0]
        raise AudioError(
            f"{container} can't hold {channels} channels at {sample_rate} Hz; choose .wav for {path}"
        ) from error
    if finish is not None:
        data = finish(data)
    with whole_file(path) as file:
        file.write(data)


def _encoded(
    waveform: Tensor, sample_rate: int, container: str, encoding: str, comment: str | None
) -> bytes:
    samples = _quantized(waveform.numpy().T, encoding)
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", sample_rate, samples.shape[1], format=container, subtype=encoding
    ) as file:
        if comment is not None and container != "WAV":
            file.comment = comment
        for start in range(0, len(samples), _BLOCK):
            file.write(samples[start : start + _BLOCK])
    data = reproducible(buffer.getvalue(), container)
    return data if comment is None or container != "WAV" else with_info_chunk(data, comment)


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
