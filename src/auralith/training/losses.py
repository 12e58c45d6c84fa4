"""Losses of the waveform autoencoder: spectral distance, the discriminator's opinion, and the KL divergence.

One function per formula, each the unweighted mean over a batch in float32 whatever the precision of its inputs (float64 stays); call
them outside autocast. Waveforms are (batch, channel, sample). Every ratio is taken per item, so that the mean over the
parts of a batch is the mean over the batch.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from auralith.errors import InvalidRequest
from auralith.extras import LazyModule
from auralith.metrics.codec import magnitudes, spectral_distance
from auralith.models.discriminator import Judgment

signal = LazyModule("scipy.signal", "train")

FFT_SIZES = (2_048, 1_024, 512, 256, 128, 64, 32)
WEIGHTING_TAPS = 101
WEIGHTING_POINTS = 512
CORNERS_HZ = (20.598997, 107.65265, 737.86223, 12_194.217)
"""Corner frequencies of the A-weighting (IEC 61672-1); the first and the last are double."""
GAIN_AT_1000_HZ_DB = 1.9997


def stft_loss(
    decoded: Float[Tensor, "batch channel sample"],
    original: Float[Tensor, "batch channel sample"],
    sample_rate: int,
    normalized_by: Literal["decoded", "original"] = "decoded",
) -> Float[Tensor, ""]:
    """The multi-resolution STFT loss of Stable Audio's autoencoder, on A-weighted signals.

    Stereo: (distance of L + R + distance of L − R) / 2, plus half the distances of left and right, each the mean over
    the FFT sizes. Mono: the distance.

    The published training normalizes the spectral convergence by the *decoded* spectrum, view by view. That forgives
    what is too loud: until a network can follow, it is rewarded for making much of everything. By the original is the
    definition of the metrics (Arık et al. 2019); it is taken over all views of an item together here, as L − R of a
    mono recording is silent and its own ratio without bound.
    """
    original, decoded = (
        a_weighted(views(w.to(torch.promote_types(w.dtype, torch.float32))), sample_rate)
        for w in (original, decoded)
    )
    x, y = (original, decoded) if normalized_by == "decoded" else (decoded, original)
    separate = 2 if normalized_by == "decoded" else 1
    distances = [
        spectral_distance(
            magnitudes(x, size, size // 4), magnitudes(y, size, size // 4), separate=separate
        )
        for size in FFT_SIZES
    ]
    # four views at a weight of one half are twice their mean
    return torch.stack(distances).mean() * (2.0 if x.shape[1] > 1 else 1.0)


def views(
    waveform: Float[Tensor, "batch channel sample"],
) -> Float[Tensor, "batch view sample"]:
    """Sum, difference, left and right of a stereo waveform; a mono one as it is."""
    if waveform.shape[1] == 1:
        return waveform
    if waveform.shape[1] != 2:
        raise InvalidRequest(f"the loss takes 1 or 2 channels, not {waveform.shape[1]}")
    left, right = waveform.unbind(1)
    return torch.stack((left + right, left - right, left, right), dim=1)


def a_weighted(
    signals: Float[Tensor, "batch view sample"], sample_rate: int
) -> Float[Tensor, "batch view sample"]:
    """The signals through the A-weighting filter, without delay; zeros beyond both ends."""
    taps = torch.from_numpy(a_weighting_taps(sample_rate)).to(signals)
    filtered = F.conv1d(
        signals.flatten(0, 1)[:, None], taps[None, None], padding=WEIGHTING_TAPS // 2
    )
    return filtered[:, 0].unflatten(0, signals.shape[:2])


@lru_cache(maxsize=4)
def a_weighting_taps(sample_rate: int) -> np.ndarray:
    """Return the published symmetric FIR filter in float32: a least-squares fit to the A-weighting between 0 Hz and Nyquist.

    The points of the curve are band edges in pairs, as auraloss 0.4.0 passes them: between two pairs nothing is
    fitted. The gradient of the loss feels the last bit of a tap, so the steps here are auraloss's, in its order.
    """
    hz, gains = a_weighting(sample_rate)
    taps = signal.firls(WEIGHTING_TAPS, hz, gains, fs=sample_rate)
    return taps.astype(np.float32)


def a_weighting(sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Return 512 frequencies from 0 Hz to below Nyquist, and the gain of the A-weighting there (IEC 61672-1).

    The gain is that of the analog curve, 1 at 1 kHz, under the bilinear transform, which is 0 at the Nyquist frequency.
    """
    w1, w2, w3, w4 = (2 * np.pi * hz for hz in CORNERS_HZ)
    numerator = [w4**2 * 10 ** (GAIN_AT_1000_HZ_DB / 20), 0, 0, 0, 0]
    denominator = np.polymul([1, 2 * w4, w4**2], [1, 2 * w1, w1**2])
    denominator = np.polymul(np.polymul(denominator, [1, w3]), [1, w2])
    digital = signal.bilinear(numerator, denominator, fs=sample_rate)
    hz, response = signal.freqz(*digital, worN=WEIGHTING_POINTS, fs=sample_rate)
    return hz, np.abs(response)


def hinge_loss(
    real: Sequence[Float[Tensor, "..."]], fake: Sequence[Float[Tensor, "..."]]
) -> Float[Tensor, ""]:
    """Return the discriminator's loss (Lim and Ye 2017): scores of each scale, at least 1 apart from 0 on their side."""
    losses = [
        F.relu(1 - r.float()).mean() + F.relu(1 + f.float()).mean()
        for r, f in zip(real, fake, strict=True)
    ]
    return torch.stack(losses).mean()


def adversarial_loss(fake: Sequence[Judgment]) -> Float[Tensor, ""]:
    """Return the autoencoder's adversarial loss: minus the mean score, averaged over scales."""
    return -torch.stack([judgment.score.float().mean() for judgment in fake]).mean()


def feature_matching_loss(real: Sequence[Judgment], fake: Sequence[Judgment]) -> Float[Tensor, ""]:
    """Mean absolute difference of hidden maps, averaged over layers and scales."""
    layers = [
        (r.float() - f.float()).abs().mean()
        for of_real, of_fake in zip(real, fake, strict=True)
        for r, f in zip(of_real.features, of_fake.features, strict=True)
    ]
    return torch.stack(layers).mean()


def kl_divergence(
    mean: Float[Tensor, "batch channel frame"], std: Float[Tensor, "batch channel frame"]
) -> Float[Tensor, ""]:
    """Twice the divergence from a unit normal per frame, as published: mean² + var − ln var − 1 summed over channels."""
    variance = std.float().square()
    return (mean.float().square() + variance - variance.log() - 1).sum(1).mean()
