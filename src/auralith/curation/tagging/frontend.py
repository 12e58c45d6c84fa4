"""The fixed part of PANNs: waveform → logarithmic mel spectrogram, and the analytic values of its tables.

The published checkpoints store the tables (a windowed Fourier matrix and a mel matrix) among their weights. Here the
spectrum comes from `torch.stft`, which is the same up to rounding; the stored tables are compared with these values.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.sound.spectrum import mel_filters

SAMPLE_RATE = 32_000
FFT_SIZE, HOP = 1_024, 320
NUM_BINS = FFT_SIZE // 2 + 1
NUM_MELS = 64
_LOWEST_HZ, _HIGHEST_HZ = 50.0, 14_000.0
_LEAST_POWER = 1e-10


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
    filters = mel_filters(SAMPLE_RATE, FFT_SIZE, NUM_MELS, _LOWEST_HZ, _HIGHEST_HZ)
    return filters.T.float().contiguous()
