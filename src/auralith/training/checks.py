"""Checks before the first step that catch what otherwise costs days: parts of the model that were never trained.

Each returns a line to show, and refuses what can't be right.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.codec_metrics import si_sdr
from auralith.data.crops import AudioOptions, prepare
from auralith.data.latents import LatentCache
from auralith.data.recording import Recordings
from auralith.errors import AuralithError, InvalidRequest
from auralith.training.dit import DiTTask
from auralith.training.encoder import LatentEncoder

CHECKED = 4
SECONDS = 6.0
LEAST_CORRELATION = 0.5
SPREAD = (0.1, 10.0)
REMEDY = "name a trained model, or give --no-checks if this is meant"


def check_reconstruction(encoder: LatentEncoder, recordings: Recordings) -> str:
    """SI-SDR of a few recordings through the autoencoder, and how far its spectrum follows theirs.

    An autoencoder that makes its own phase has a low SI-SDR by design; its spectrum tells whether it was trained.
    Raises InvalidRequest if it follows less than half.
    """
    ratios, followed = [], []
    options = AudioOptions(encoder.audio.sample_rate, encoder.audio.channels, resample=True)
    for i in np.linspace(0, len(recordings) - 1, min(CHECKED, len(recordings)), dtype=int):
        try:
            original = prepare(*recordings.read(int(i)), options, recordings[int(i)].path)
        except AuralithError:
            continue  # the report names it
        original = original[:, : encoder.audio.num_samples(SECONDS)]
        mean, _ = encoder.encode(original)
        made = encoder.decode(mean)[:, : original.shape[-1]]
        ratios.append(float(si_sdr(made, original)))
        followed.append(spectral_correlation(made, original))
    if not ratios:
        raise InvalidRequest("no recording could be read to check the autoencoder with")
    follows = float(np.mean(followed))
    line = (
        f"autoencoder: SI-SDR {np.mean(ratios):.1f} dB, spectrum followed {follows:.0%} "
        f"({len(ratios)} recordings)"
    )
    if not follows >= LEAST_CORRELATION:
        raise InvalidRequest(f"{line}: it looks untrained; {REMEDY}")
    return line


def check_latents(cache: LatentCache) -> str:
    """Spread of the latents, which the transformer expects near 1. Raises InvalidRequest far from it."""
    count = min(64, len(cache))
    chosen = np.linspace(0, len(cache) - 1, count, dtype=int).tolist()
    values = torch.cat([cache.latents(i, 0, cache.num_frames(i), None).flatten() for i in chosen])
    spread = float(values.std())
    line = f"latents: mean {float(values.mean()):.2f}, standard deviation {spread:.2f}"
    if not SPREAD[0] <= spread <= SPREAD[1]:
        raise InvalidRequest(f"{line}, not between {SPREAD[0]} and {SPREAD[1]}; {REMEDY}")
    return line


def check_transformer(task: DiTTask) -> str:
    """Loss before training beside the loss of predicting nothing. Raises InvalidRequest if it is no better."""
    loss, nothing = task.explained()
    line = f"transformer: loss {loss:.3f}, predicting nothing {nothing:.3f}"
    if not loss < 0.97 * nothing:
        raise InvalidRequest(f"{line}: it looks untrained or partly loaded; {REMEDY}")
    return line


def spectral_correlation(
    made: Float[Tensor, "channel sample"], original: Float[Tensor, "channel sample"]
) -> float:
    """Correlation of two log spectrograms, 1 where they differ in level alone; 0 for silence."""
    pictures: Sequence[Tensor] = [_log_spectrum(sound) for sound in (made, original)]
    correlation = float(torch.corrcoef(torch.stack([p.flatten() for p in pictures]))[0, 1])
    return correlation if np.isfinite(correlation) else 0.0


def _log_spectrum(sound: Float[Tensor, "channel sample"]) -> Float[Tensor, "band time"]:
    size = 1_024
    mono = torch.nn.functional.pad(sound.mean(0), (0, max(0, size - sound.shape[-1])))
    magnitude = torch.stft(
        mono, size, size // 2, window=torch.hann_window(size), return_complex=True
    )
    level = magnitude.abs()
    floor = 1e-3 * float(level.max()) + 1e-9
    # bands of 16 bins: fine structure of noise is not the autoencoder's to keep
    return (level[:512].unflatten(0, (32, 16)).mean(1) + floor).log()
