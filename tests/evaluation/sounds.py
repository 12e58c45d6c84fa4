"""Sounds of an evaluation: tones by id."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000


def tones(folder: Path, ids: list[str], scale: float = 1.0) -> Path:
    """Write a second for each id, its pitch by its place, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, id in enumerate(ids, 1):
        t = np.arange(RATE) / RATE
        noise = np.random.default_rng(number).normal(size=RATE) / 50
        sound = 0.5 * np.sin(2 * np.pi * 200 * number * scale * t) + noise
        soundfile.write(folder / f"{id}.wav", sound, RATE)
    return folder
