"""Excerpts for ears: a stretch of any sound file in one form, so that two files can be heard at one playhead."""

import io

import numpy as np
import soundfile
import torch

from auralith.sound.resampling import resample
from auralith.sound.stretch import Stretch

SAMPLE_RATE = 44_100


def excerpt_wav(stretch: Stretch, start_s: float, seconds: float) -> bytes:
    """Return a stretch as a WAV file: 44.1 kHz, stereo, 16 bits. Before the sound's start and behind its end is silence.

    `start_s` and `seconds` are those with which it was read.
    """
    rate, length = stretch.sample_rate, round(seconds * SAMPLE_RATE)
    found = np.zeros((length, 2), np.float32)
    if len(stretch.samples):
        waveform = torch.from_numpy(np.array(stretch.samples.T, order="C"))
        samples = resample(waveform, rate, SAMPLE_RATE).numpy()
        place = round((stretch.first - round(start_s * rate)) / rate * SAMPLE_RATE)
        fits = min(samples.shape[1], length - place)
        found[place : place + fits] = samples[:, :fits].T
    file = io.BytesIO()
    soundfile.write(file, found, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()
