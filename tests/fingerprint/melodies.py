"""Melodies that are as unlike each other as two pieces of music."""

import numpy as np

SAMPLE_RATE = 11_025


def melody(seed: int, seconds: float) -> np.ndarray:
    """Notes of five partials, two at a time, with soft noise: as unlike another seed's as two pieces are."""
    rng = np.random.default_rng(seed)
    sound = rng.normal(0, 0.002, round(seconds * SAMPLE_RATE))
    for voice in (1, 2):
        start = 0
        while start < len(sound):
            length = round(SAMPLE_RATE * rng.uniform(0.12, 0.5) * voice)
            note = 110 * 2 ** (rng.uniform(0, 36) / 12)
            time = np.arange(min(length, len(sound) - start)) / SAMPLE_RATE
            tone = sum(np.sin(2 * np.pi * note * h * time) / h for h in range(1, 6))
            sound[start : start + length] += 0.1 * tone * np.exp(-4 * time)
            start += length
    return sound.astype(np.float32)
