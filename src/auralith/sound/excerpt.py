"""Excerpts for ears: a stretch of any sound file in one form, so that two files can be heard at one playhead."""

import io

import numpy as np
import soundfile

from auralith.sound.reading import read, read_info
from auralith.sound.resampling import resample
from auralith.sound.sources import Source

SAMPLE_RATE = 44_100


def excerpt_wav(source: Source | str, start_s: float, seconds: float, *, name: str = "") -> bytes:
    """Return a stretch as a WAV file: 44.1 kHz, stereo, 16 bits. Before the sound's start and behind its end is silence.

    `start_s` may be negative. Raises `AudioError` as `auralith.sound.reading.read` does.
    """
    info = read_info(source, name=name)
    rate, length = info.sample_rate, round(seconds * SAMPLE_RATE)
    found = np.zeros((length, 2), np.float32)
    start, stop = round(start_s * rate), round((start_s + seconds) * rate)
    first, last = max(0, start), min(info.num_samples, stop)
    if first < last:
        waveform, _ = read(source, first, last, name=name, allow_cut=True)
        samples = resample(waveform, rate, SAMPLE_RATE).numpy()
        stereo = samples if len(samples) == 2 else samples.mean(axis=0, keepdims=True)
        place = round((first - start) / rate * SAMPLE_RATE)
        fits = min(stereo.shape[1], length - place)
        found[place : place + fits] = stereo[:, :fits].T
    file = io.BytesIO()
    soundfile.write(file, found, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()
