"""The front end of LAION-CLAP (Wu et al. 2022, arXiv 2211.06687), with crops that are drawn from a seed.

transformers' own, `ClapFeatureExtractor`, marks a random item of a batch as longer than 10 s where none is, and draws crops
from numpy's global state; so its results depend on what else is embedded. Here an item depends on its samples and seed.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import interpolate, pad

from auralith.sound.spectrum import mel_filters

SAMPLE_RATE = 48_000
FFT_SIZE, HOP, NUM_BANDS = 1_024, 480, 64
LOWEST_HZ, HIGHEST_HZ = 50.0, 14_000.0
MAX_SAMPLES = 10 * SAMPLE_RATE
MAX_FRAMES = MAX_SAMPLES // HOP + 1
LEAST_POWER = 1e-10
_INT16 = 32_767


class Fusion(NamedTuple):
    """One sound as the network with fusion takes it."""

    mels: Float[Tensor, "4 frame band"]
    """The whole at 1,001 frames, and crops of its three thirds; four times the same if it is not longer."""
    is_longer: Bool[Tensor, "1"]
    """Use of the crops."""


def through_int16(waveform: Float[Tensor, " sample"]) -> Float[Tensor, " sample"]:
    """Return samples as 16 bits keep them, rounded toward zero."""
    return (waveform.clamp(-1, 1) * _INT16).trunc() / _INT16


def filled(waveform: Float[Tensor, " sample"]) -> Float[Tensor, " ten_seconds"]:
    """Return sound of at most 10 s repeated as often as it fits into 10 s, and then zeros."""
    repeated = waveform.repeat(MAX_SAMPLES // len(waveform))
    return pad(repeated, (0, MAX_SAMPLES - len(repeated)))


def log_mel(waveform: Float[Tensor, " sample"], *, slaney: bool) -> Float[Tensor, "frame band"]:
    """Return mel powers in dB, at least -100, every 10 ms; computed in float64, as quiet bands beside loud ones need.

    The network with fusion was trained on HTK's bands without norm, the one without fusion on Slaney's of unit area.
    """
    filters = mel_filters(
        SAMPLE_RATE,
        FFT_SIZE,
        NUM_BANDS,
        LOWEST_HZ,
        HIGHEST_HZ,
        scale="slaney" if slaney else "htk",
        unit_area=slaney,
    )
    window = torch.hann_window(FFT_SIZE, dtype=torch.float64)
    spectrum = torch.stft(
        waveform.double(), FFT_SIZE, HOP, window=window, pad_mode="reflect", return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    return (10 * torch.log10((power.mT @ filters.mT).clamp(min=LEAST_POWER))).float()


def fusion(waveform: Float[Tensor, " sample"], seed: int) -> Fusion:
    """Return what the network with fusion takes of a sound at 48 kHz.

    A sound is longer if it has more than 1,001 frames, so from 480,480 samples on.
    """
    if len(waveform) < MAX_SAMPLES:
        waveform = filled(waveform)
    mel = log_mel(waveform, slaney=False)
    if len(mel) == MAX_FRAMES:
        return Fusion(mel.expand(4, -1, -1), torch.tensor([False]))
    shrunk = interpolate(
        mel[None, None], (MAX_FRAMES, NUM_BANDS), mode="bilinear", align_corners=False
    )[0, 0]
    crops = [mel[start : start + MAX_FRAMES] for start in crop_starts(len(mel), seed)]
    return Fusion(torch.stack([shrunk, *crops]), torch.tensor([True]))


def crop_starts(num_frames: int, seed: int) -> list[int]:
    """Return three starts, each drawn evenly from a third of all; an empty third gives 0."""
    generator = torch.Generator().manual_seed(seed)
    thirds = torch.arange(num_frames - MAX_FRAMES + 1).tensor_split(3)
    return [
        int(third[torch.randint(len(third), (), generator=generator)]) if len(third) else 0
        for third in thirds
    ]
