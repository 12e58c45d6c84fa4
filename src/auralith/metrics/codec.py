"""Distances of a decoded waveform from the original: STFT, MEL and SI-SDR, as published autoencoders state them.

The definitions are those of auraloss 0.4.0 at its defaults (arXiv 2407.14358, section 4.3): one resolution, and one
convergence ratio over all channels ("joint"). Copies of it since stable-audio-tools 0.0.16 take the ratio of each channel
and average ("per_channel"). Files are measured one by one and averaged over files (`codec_summary`); a silent original
makes the distances meaningless and is left out and counted. `magnitudes` and `spectral_distance` serve the training loss
too.

Everything is computed in float32, or in float64 where the waveforms are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.errors import InvalidRequest
from auralith.metrics.values import Values, require_distinct, values_of
from auralith.sound.levels import SILENCE_DB, peak_db
from auralith.sound.spectrum import mel_filters

Convergence = Literal["joint", "per_channel"]
FFT_SIZE, HOP, MEL_BANDS = 1_024, 256, 128
RESOLUTIONS = ((1_024, 120, 600), (2_048, 240, 1_200), (512, 50, 240))
"""FFT size, hop and window of the multi-resolution distance."""
_SEPARATE: Mapping[Convergence, int] = {"joint": 0, "per_channel": 1}
FLOOR = 1e-8
"""Least power of a bin (−80 dB); least energy that SI-SDR divides by."""
FEWEST_SAMPLES = max(size for size, _, _ in RESOLUTIONS) // 2 + 1
"""Samples that the longest transform can be padded from."""


@dataclass(frozen=True)
class CodecMetrics:
    """Figures of one file. `stft`, `mel` and `si_sdr` are those that papers print."""

    stft: float
    mel: float
    si_sdr: float
    """In dB; higher is better."""
    multi_resolution_stft: float


@dataclass(frozen=True)
class CodecSummary:
    """Figures of many files, each the mean over those that could be measured."""

    convergence: Convergence
    metrics: Mapping[str, Values]
    """By the names of `CodecMetrics`; silent originals are among the failed ids."""


def codec_summary(
    files: Iterable[tuple[str, Float[Tensor, "..."], Float[Tensor, "..."]]],
    sample_rate: int,
    convergence: Convergence = "joint",
    *,
    seed: int = 0,
) -> CodecSummary:
    """Return the figures of (id, decoded, original), one file after the other.

    Raises:
        InvalidRequest: an id comes twice, or no file could be measured.
    """
    ids: list[str] = []
    found: dict[str, dict[str, float] | ValueError] = {}
    for id, decoded, original in files:
        ids.append(id)
        try:
            check_pair(decoded, original)
            found[id] = asdict(codec_metrics(decoded, original, sample_rate, convergence))
        except ValueError as error:
            found[id] = error
    require_distinct(ids)

    def figure(id: str, name: str) -> float:
        figures = found[id]
        if isinstance(figures, ValueError):
            raise figures
        return figures[name]

    names = CodecMetrics.__dataclass_fields__
    metrics = {
        name: values_of(ids, lambda id, name=name: figure(id, name), seed=seed) for name in names
    }
    return CodecSummary(convergence, metrics)


def check_pair(decoded: Float[Tensor, "..."], original: Float[Tensor, "..."]) -> None:
    """Raise `InvalidRequest` unless the two can be compared: channels agree, long enough, original not silent."""
    if decoded.ndim != 2 or decoded.shape[:1] != original.shape[:1] or original.ndim != 2:
        raise InvalidRequest(
            f"decoded and original have shapes {tuple(decoded.shape)} and {tuple(original.shape)}; give"
            " (channel, sample) with equal channels"
        )
    if (length := min(decoded.shape[1], original.shape[1])) < FEWEST_SAMPLES:
        raise InvalidRequest(f"it has {length} samples; at least {FEWEST_SAMPLES:,} are needed")
    if peak_db(original) < SILENCE_DB:
        raise InvalidRequest(f"the original is silent (below {SILENCE_DB:g} dBFS)")


def codec_metrics(
    decoded: Float[Tensor, "channel sample"],
    original: Float[Tensor, "channel any_sample"],
    sample_rate: int,
    convergence: Convergence = "joint",
) -> CodecMetrics:
    """All figures of one file; both waveforms are cut to the shorter one's length (at least 1,025 samples)."""
    return CodecMetrics(
        float(stft_distance(decoded, original, convergence)),
        float(mel_distance(decoded, original, sample_rate, convergence)),
        float(si_sdr(decoded, original)),
        float(multi_resolution_stft_distance(decoded, original, convergence)),
    )


def stft_distance(
    decoded: Float[Tensor, "channel sample"],
    original: Float[Tensor, "channel any_sample"],
    convergence: Convergence = "joint",
) -> Float[Tensor, ""]:
    """Spectral convergence plus the mean difference of log magnitudes."""
    x, y = (magnitudes(one, FFT_SIZE, HOP) for one in _aligned(decoded, original))
    return spectral_distance(x, y, separate=_SEPARATE[convergence])


def mel_distance(
    decoded: Float[Tensor, "channel sample"],
    original: Float[Tensor, "channel any_sample"],
    sample_rate: int,
    convergence: Convergence = "joint",
) -> Float[Tensor, ""]:
    """`stft_distance` of magnitudes that 128 mel filters have summed."""
    x, y = (magnitudes(one, FFT_SIZE, HOP) for one in _aligned(decoded, original))
    filters = mel_filters(sample_rate, FFT_SIZE, MEL_BANDS).to(x)
    return spectral_distance(filters @ x, filters @ y, separate=_SEPARATE[convergence])


def multi_resolution_stft_distance(
    decoded: Float[Tensor, "channel sample"],
    original: Float[Tensor, "channel any_sample"],
    convergence: Convergence = "joint",
) -> Float[Tensor, ""]:
    """The mean of `stft_distance` over three resolutions: another figure than the one that papers call STFT."""
    x, y = _aligned(decoded, original)
    pairs = ((magnitudes(x, *r), magnitudes(y, *r)) for r in RESOLUTIONS)
    distances = [spectral_distance(*pair, separate=_SEPARATE[convergence]) for pair in pairs]
    return torch.stack(distances).mean()


def si_sdr(
    decoded: Float[Tensor, "channel sample"], original: Float[Tensor, "channel any_sample"]
) -> Float[Tensor, ""]:
    """Scale-invariant signal-to-distortion ratio in dB (Le Roux et al. 2019), the mean over channels.

    10·log₁₀(‖αy‖² / ‖x − αy‖²) with α = ⟨x, y⟩ / ‖y‖², both without their means; −80 dB if one of them is silent.
    """
    x, y = (signal - signal.mean(-1, keepdim=True) for signal in _aligned(decoded, original))
    scale = (x * y).sum(-1, keepdim=True) / (y.square().sum(-1, keepdim=True) + FLOOR)
    target = scale * y
    ratio = target.square().sum(-1) / ((x - target).square().sum(-1) + FLOOR)
    return (10 * torch.log10(ratio + FLOOR)).mean()


def magnitudes(
    waveform: Float[Tensor, "*batch sample"], fft_size: int, hop: int, window: int = 0
) -> Float[Tensor, "*batch bin time"]:
    """√max(re² + im², 1e-8) of a centered STFT under a periodic Hann window, by default as long as the transform."""
    size = window or fft_size
    spectrum = torch.stft(
        waveform.flatten(0, -2),
        fft_size,
        hop,
        size,
        torch.hann_window(size, dtype=waveform.dtype, device=waveform.device),
        return_complex=True,
    )
    power = spectrum.real.square() + spectrum.imag.square()
    return power.clamp(min=FLOOR).sqrt().unflatten(0, waveform.shape[:-1])


def spectral_distance(
    x: Float[Tensor, "*batch band time"],
    y: Float[Tensor, "*batch band time"],
    *,
    separate: int = 0,
) -> Float[Tensor, ""]:
    """‖y − x‖ / ‖y‖ + mean |ln x − ln y| of magnitudes (Arık et al. 2019): not symmetric, `y` normalizes.

    The norms run over all values; with `separate` there is a ratio for each place in that many leading axes, and the
    mean of the ratios counts.
    """
    norms = (torch.linalg.vector_norm(v.flatten(separate), dim=-1) for v in (y - x, y))
    return torch.div(*norms).mean() + (x.log() - y.log()).abs().mean()


def _aligned(decoded: Tensor, original: Tensor) -> tuple[Tensor, Tensor]:
    """Both in the shorter one's length, in one floating-point type of at least 32 bits."""
    length = min(decoded.shape[-1], original.shape[-1])
    dtype = torch.promote_types(torch.promote_types(decoded.dtype, original.dtype), torch.float32)
    return decoded[..., :length].to(dtype), original[..., :length].to(dtype)
