"""Joining what a model made to the sound it was made for, without a click and without a dip.

A seam lies outside the part that is new. There the decoder's sound goes from its copy of the old sound, as far out as
the decoder reaches, to the new one, and the old samples turn into it. A plain crossfade cancels what the two have in
opposite phases: all of a tone, at worst, where a decoder makes up its phases. So the seam is faded in the short-time
spectrum: power goes from one to the other, and each bin's phase glides over, by the way that is left of its difference.
Outside the seams nothing is computed: the samples are the same.
"""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from auralith.editing.timeline import Span
from auralith.models.phase import peak_of_bin

LONGEST_WINDOW = 2_048
SHORTEST_WINDOW = 256
"""Samples of a transform; a seam of less than four of these is crossfaded as it is."""


def splice(
    kept: Float[Tensor, "channel sample"],
    made: Float[Tensor, "channel sample"],
    spans: list[Span],
    fade: int,
) -> Float[Tensor, "channel sample"]:
    """`kept` with the spans (in their order, apart) from `made`, and seams of up to `fade` samples around each."""
    result, length = kept.clone(), kept.shape[-1]
    for index, (start, end) in enumerate(spans):
        # two spans share what lies between them
        before = (start - spans[index - 1][1]) // 2 if index else start
        is_last = index + 1 == len(spans)
        after = length - end if is_last else (spans[index + 1][0] - end) // 2
        rise, fall = slice(start - min(fade, before), start), slice(end, end + min(fade, after))
        result[:, rise] = crossfade(kept[:, rise], made[:, rise])
        result[:, start:end] = made[:, start:end]
        result[:, fall] = crossfade(made[:, fall], kept[:, fall])
    return result


def crossfade(
    first: Float[Tensor, "channel sample"], second: Float[Tensor, "channel sample"]
) -> Float[Tensor, "channel sample"]:
    """From one sound to the other."""
    size = first.shape[-1]
    window_size = min(LONGEST_WINDOW, 2 ** int(math.log2(max(size, 4) / 4)))
    if window_size < SHORTEST_WINDOW:
        return _crossfade_samples(first, second)
    window = torch.hann_window(window_size, dtype=torch.float64).sqrt()

    def spectrum(waveform: Tensor) -> Tensor:
        return torch.stft(
            waveform, window_size, window_size // 4, window=window, return_complex=True
        )

    def waveform(spectrum: Tensor) -> Tensor:
        return torch.istft(spectrum, window_size, window_size // 4, window=window, length=size)

    mixed = _glide(spectrum(first.double()), spectrum(second.double()))
    # phases that no waveform has lose power in the overlaps
    found = spectrum(waveform(mixed)).abs().square().sum((0, 1))
    gain = (mixed.abs().square().sum((0, 1)) / found.clamp_min(1e-12)).sqrt().clamp(max=2.0)
    gain[:2] = gain[-2:] = 1.0
    return waveform(mixed * gain).to(first.dtype)


def _glide(
    first: Complex[Tensor, "channel bin time"], second: Complex[Tensor, "channel bin time"]
) -> Complex[Tensor, "channel bin time"]:
    """Powers crossfaded; the first's phases turned into the second's by their difference, followed through time.

    At its start, the bins of a peak take the difference of its top, but for less than half a turn: a tone in opposite
    phase would else go either way round in different bins, and cancel. Two windows at each end reach over the end of
    the seam: they are of one sound alone.
    """
    share = _shares(first.shape[-1] - 4)
    share = torch.cat((share.new_zeros(2), share, share.new_ones(2)))
    power = (1 - share) * first.abs().square() + share * second.abs().square()
    turns = (first * second.conj()).angle() / (2 * math.pi)
    start = turns[..., 2:3]
    top = start.gather(1, peak_of_bin(power[..., 2:3]))
    drift = torch.diff(turns[..., 2:], dim=-1)
    followed = start - (start - top).round() + (drift - drift.round()).cumsum(-1)
    turns = torch.cat((turns[..., :2], start - (start - top).round(), followed), dim=-1)
    return torch.polar(power.sqrt(), second.angle() + (1 - share) * (2 * math.pi) * turns)


def _crossfade_samples(
    first: Float[Tensor, "channel sample"], second: Float[Tensor, "channel sample"]
) -> Float[Tensor, "channel sample"]:
    """Gains for level power at the correlation found (Fink et al. 2016): linear for equal sounds, else rounder."""
    share = _shares(first.shape[-1]).to(first.dtype)
    scale = float(first.norm() * second.norm())
    alike = min(1.0, max(0.0, float((first * second).sum()) / scale)) if scale else 0.0
    power = share.square() + (1 - share).square() + 2 * alike * share * (1 - share)
    return ((1 - share) * first + share * second) / power.sqrt()


def _shares(count: int) -> Float[Tensor, " step"]:
    """From 0 to 1 along a quarter of a squared sine's period."""
    position = (torch.arange(count, dtype=torch.float64) + 0.5) / max(count, 1)
    return (position * (math.pi / 2)).sin().square()


def place(
    canvas: Float[Tensor, "channel sample"], piece: Float[Tensor, "channel piece"], start: int
) -> None:
    """Write a piece over a canvas from sample `start` on, as far as it lies inside."""
    first, last = max(0, start), min(canvas.shape[-1], start + piece.shape[-1])
    canvas[:, first:last] = piece[:, first - start : last - start]
