"""Uploads: a sound is what decodes as one, whatever it is called, and its length is limited before it is decoded."""

import secrets
import shutil
from pathlib import Path
from typing import IO

import numpy as np

from auralith.errors import AudioError
from auralith.files import file_hash, whole_file
from auralith.jobs.orders import LONGEST_SECONDS
from auralith.jobs.records import Json, Stored
from auralith.jobs.store import JobStore
from auralith.sound.reading import MOST_VALUES
from auralith.sound.stream import SoundStream, open_sound

MOST_CHANNELS = 8
NAME = "the upload"


def keep_upload(store: JobStore, file: IO[bytes]) -> Stored:
    """Keep a sound that was uploaded.

    Raises:
        AudioError: it is no sound, damaged, or too long.
        StorageFull: the disk is full.
    """
    store.require_room()
    asset_id = secrets.token_hex(16)
    path = store.uploads / asset_id
    with whole_file(path) as target:
        shutil.copyfileobj(file, target)
    try:
        return store.add_asset(asset_id, _facts(path))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _facts(path: Path) -> Json:
    with open_sound(path, NAME) as stream:
        form = stream.format
        if form.channels > MOST_CHANNELS:
            raise AudioError(f"{NAME} has {form.channels} channels; send at most {MOST_CHANNELS}")
        seconds = min(LONGEST_SECONDS, MOST_VALUES / form.channels / form.sample_rate)
        most = int(seconds * form.sample_rate)
        length = _length(stream, most) if (stream.samples_there or 0) <= most else most + 1
        if length > most:
            raise AudioError(f"{NAME} is longer than {seconds:.0f} s; send less", "too_long")
    return {
        "seconds": length / form.sample_rate,
        "num_samples": length,
        "sample_rate": form.sample_rate,
        "channels": form.channels,
        "codec": form.codec,
        "sha256": file_hash(path),
    }


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
