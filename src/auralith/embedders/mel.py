"""An embedder without weights: statistics of a log-mel spectrogram, for searches where no network is at hand."""

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.embedders.embedder import ProtocolValue, at_peak, checked, mono, windows
from auralith.sound.resampling import resample
from auralith.sound.spectrum import mel_filters
from auralith.weights import WeightsOrigin

SAMPLE_RATE = 44_100
FFT_SIZE, HOP = 2_048, 1_024
NUM_BANDS = 64
WINDOW, WINDOW_HOP = 10 * SAMPLE_RATE, 5 * SAMPLE_RATE
LEAST_DB = -80.0
"""Floor below the loudest value of a window, in dB."""
_LEAST_POWER = 1e-10
_VERSION = 1


class MelStatistics:
    """Shape, spread and motion of 64 mel bands in 10 s windows: 192 numbers in dB, the same at every level."""

    name = "mel"
    dim = 3 * NUM_BANDS
    origin = WeightsOrigin("none")

    def protocol(self) -> dict[str, ProtocolValue]:
        return {
            "embedder": self.name,
            "front_end": "slaney-64",
            "front_end_version": _VERSION,
            "weights_sha256": None,
            "resampler": "soxr-hq",
            "sample_rate": SAMPLE_RATE,
            "window_s": 10,
            "hop_s": 5,
            "channels": "mean",
            "level": "peak -1 dBFS",
            "dtype": "float32",
        }

    def embed(
        self, waveform: Float[Tensor, "channel sample"], sample_rate: int, seed: int = 0
    ) -> Float[Tensor, "window dim"]:
        """Return the statistics of each window; the last is of what is left, unpadded. Raises as `Embedder.embed`."""
        sound = resample(mono(checked(waveform, sample_rate)), sample_rate, SAMPLE_RATE)
        sound = at_peak(checked(sound, SAMPLE_RATE))
        return torch.stack([statistics(window) for window in windows(sound, WINDOW, WINDOW_HOP)])


def log_mel(waveform: Float[Tensor, " sample"]) -> Float[Tensor, "band hop"]:
    """Return the powers of 64 mel bands in dB below the loudest, at least -80, every 23 ms, of sound at 44.1 kHz."""
    window = torch.hann_window(FFT_SIZE)
    spectrum = torch.stft(
        waveform, FFT_SIZE, HOP, window=window, pad_mode="constant", return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    filters = mel_filters(SAMPLE_RATE, FFT_SIZE, NUM_BANDS).float()
    decibels = 10 * torch.log10((filters @ power).clamp(min=_LEAST_POWER))
    return (decibels - decibels.max()).clamp(min=LEAST_DB)


def statistics(waveform: Float[Tensor, " sample"]) -> Float[Tensor, " dim"]:
    """Return mean of each band without the mean of all, standard deviation, and that of the change between hops, in dB."""
    bands = log_mel(waveform)
    mean = bands.mean(dim=1)
    spread = bands.std(dim=1, correction=0)
    motion = (bands[:, 1:] - bands[:, :-1]).square().sum(dim=1) / bands.shape[1]
    return torch.cat([mean - mean.mean(), spread, motion.sqrt()])
