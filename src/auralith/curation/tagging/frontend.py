"""The fixed part of PANNs: waveform → logarithmic mel spectrogram, and the analytic values of its tables.

The published checkpoints store the tables (a windowed Fourier matrix and a mel matrix) among their weights. Here the
spectrum comes from `torch.stft`, which is the same up to rounding; the stored tables are compared with these values.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

SAMPLE_RATE = 32_000
FFT_SIZE, HOP = 1_024, 320
NUM_BINS = FFT_SIZE // 2 + 1
NUM_MELS = 64
_LOWEST_HZ, _HIGHEST_HZ = 50.0, 14_000.0
_LEAST_POWER = 1e-10
# Slaney's mel scale (Auditory Toolbox): linear below 1 kHz, then 27 steps for a factor of 6.4
_HZ_PER_MEL = 200 / 3
_KNEE_HZ, _KNEE_MEL = 1_000.0, 15.0
_LOG_STEP = math.log(6.4) / 27


def log_mel(
    waveform: Float[Tensor, "batch sample"], mel: Float[Tensor, "bin mel"]
) -> Float[Tensor, "batch 1 frame mel"]:
    """Mel powers in dB (full-scale reference 1, at least −100), `1 + sample // 320` frames."""
    window = torch.hann_window(FFT_SIZE, device=waveform.device)
    spectrum = torch.stft(
        waveform, FFT_SIZE, HOP, window=window, pad_mode="reflect", return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    return 10 * torch.log10((power.mT @ mel).clamp(min=_LEAST_POWER))[:, None]


def fourier_rows() -> tuple[Float[Tensor, "bin 1 tap"], Float[Tensor, "bin 1 tap"]]:
    """Real and imaginary part of the Hann window times exp(−2πi·kn/1024), as kernels of a convolution."""
    tap = np.arange(FFT_SIZE)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * tap / FFT_SIZE)
    rows = window * np.exp(-2j * np.pi * np.outer(np.arange(NUM_BINS), tap) / FFT_SIZE)
    real, imaginary = (torch.from_numpy(part.astype(np.float32)) for part in (rows.real, rows.imag))
    return real[:, None], imaginary[:, None]


def mel_matrix() -> Float[Tensor, "bin mel"]:
    """64 triangles between 50 and 14,000 Hz on Slaney's scale, each of unit area in Hz."""
    mels = np.linspace(_hz_to_mel(_LOWEST_HZ), _hz_to_mel(_HIGHEST_HZ), NUM_MELS + 2)
    edges = np.array([_mel_to_hz(float(mel)) for mel in mels])
    low, center, high = edges[:-2], edges[1:-1], edges[2:]
    hz = np.arange(NUM_BINS)[:, None] * SAMPLE_RATE / FFT_SIZE
    triangles = np.minimum((hz - low) / (center - low), (high - hz) / (high - center))
    matrix = np.maximum(triangles, 0) * 2 / (high - low)
    return torch.from_numpy(matrix.astype(np.float32))


def _hz_to_mel(hz: float) -> float:
    if hz < _KNEE_HZ:
        return hz / _HZ_PER_MEL
    return _KNEE_MEL + math.log(hz / _KNEE_HZ) / _LOG_STEP


def _mel_to_hz(mel: float) -> float:
    if mel < _KNEE_MEL:
        return mel * _HZ_PER_MEL
    return _KNEE_HZ * math.exp((mel - _KNEE_MEL) * _LOG_STEP)
