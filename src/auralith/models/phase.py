"""From magnitudes to a waveform: phases from spectral peaks, refined by Griffin–Lim.

Initial phases follow single-pass spectrogram inversion (Beauregard et al. 2015): every bin advances by the frequency
of the peak it belongs to. Bins that are noise take the phases of a noise signal instead. A few iterations of the fast
Griffin–Lim algorithm (Perraudin et al. 2013) then make the spectrum consistent. On a circular `Stft`, whose windows
reach around the end, all of this gives a waveform whose end runs into its start.
"""

import math

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor

MOMENTUM = 0.99


class Stft:
    """Short-time Fourier transform with exactly one frame per hop and full-scale sines at magnitude 1 (Hann window).

    Beyond the ends there is silence, or, where `circular`, the other end.
    """

    def __init__(self, window_size: int, hop: int, circular: bool = False) -> None:
        self.window_size, self.hop, self.circular = window_size, hop, circular
        self.padding = (window_size - hop) // 2

    def window(self, device: torch.device) -> Float[Tensor, " sample"]:
        return torch.hann_window(self.window_size, dtype=torch.float32, device=device)

    def forward_transform(
        self, waveform: Float[Tensor, "*batch sample"]
    ) -> Complex[Tensor, "*batch bin time"]:
        if self.circular:
            ends = waveform[..., -self.padding :], waveform[..., : self.padding]
            padded = torch.cat((ends[0], waveform, ends[1]), dim=-1)
        else:
            padded = torch.nn.functional.pad(waveform, (self.padding, self.padding))
        frames = padded.unfold(-1, self.window_size, self.hop)
        spectrum = torch.fft.rfft(frames * self.window(waveform.device), dim=-1)
        return spectrum.transpose(-1, -2) / (self.window_size / 4)

    def inverse_transform(
        self, spectrum: Complex[Tensor, "batch bin time"]
    ) -> Float[Tensor, "batch sample"]:
        """Least-squares inverse by windowed overlap-add."""
        window = self.window(spectrum.device)
        frames = torch.fft.irfft(spectrum.transpose(-1, -2), n=self.window_size, dim=-1)
        frames = frames * (window * (self.window_size / 4))
        total = self._overlap_add(frames)
        weight = self._overlap_add(window.square().expand(1, frames.shape[1], -1))
        return total / weight.clamp(min=1e-3)

    def _overlap_add(
        self, frames: Float[Tensor, "batch time window"]
    ) -> Float[Tensor, "batch sample"]:
        num_hops, steps = frames.shape[1], -(-self.window_size // self.hop)
        padded = torch.nn.functional.pad(frames, (0, steps * self.hop - self.window_size))
        summed = frames.new_zeros(frames.shape[0], num_hops + steps - 1, self.hop)
        for step, part in enumerate(padded.unflatten(2, (steps, self.hop)).unbind(2)):
            summed[:, step : step + num_hops] += part
        length = (num_hops - 1) * self.hop + self.window_size
        before, inside, after = summed.flatten(1)[:, :length].split(
            (self.padding, num_hops * self.hop, self.padding), dim=-1
        )
        if self.circular:
            inside[..., -self.padding :] += before
            inside[..., : self.padding] += after
        return inside


def peak_of_bin(level: Float[Tensor, "batch bin time"]) -> Int[Tensor, "batch bin time"]:
    """Index of the local maximum reached by walking uphill from every bin."""
    num_bins = level.shape[1]
    padded = torch.nn.functional.pad(level, (0, 0, 1, 1), value=-math.inf)
    below, above = padded[:, :-2], padded[:, 2:]
    index = torch.arange(num_bins, device=level.device)[None, :, None].expand(level.shape)
    uphill = torch.where(above > below, index + 1, index - 1)
    target = torch.where((level >= above) & (level >= below), index, uphill)
    for _ in range(max(1, math.ceil(math.log2(num_bins)))):  # pointer doubling
        target = target.gather(1, target)
    return target


def peak_advances(
    magnitude: Float[Tensor, "batch bin time"], stft: Stft
) -> Float[Tensor, "batch bin time"]:
    """Return the radians by which every bin advances in one hop: those of its peak, by parabolic interpolation.

    They are float64: thousands of radians accumulate over a long clip, and only the remainder matters.
    """
    level = (magnitude + 1e-9).log()
    peak = peak_of_bin(level).clamp(1, level.shape[1] - 2)
    low, mid, high = (level.gather(1, peak + shift) for shift in (-1, 0, 1))
    offset = (0.5 * (low - high) / (low - 2 * mid + high).clamp(max=-1e-6)).clamp(-0.5, 0.5)
    advance = (2 * math.pi * stft.hop / stft.window_size * (peak + offset)).double()
    if stft.circular:  # whole turns in all: each frequency moves by at most half a cycle per turn
        turns = advance.sum(-1, keepdim=True) / (2 * math.pi)
        advance = advance - 2 * math.pi * (turns - turns.round()) / advance.shape[-1]
    return advance


def peak_phases(
    advances: Float[Tensor, "batch bin time"], before: Float[Tensor, "batch bin 1"] | float = 0.0
) -> Float[Tensor, "batch bin time"]:
    """Return the phases that accumulate from these advances; `before` is the sum of all earlier ones."""
    # bins of one lobe alternate in sign, because a frame's phase is counted from its first sample
    alternate = math.pi * torch.arange(advances.shape[1], device=advances.device)[:, None]
    return torch.remainder(before + advances.cumsum(-1), 2 * math.pi).float() + alternate


def reconstruct(
    magnitude: Float[Tensor, "batch bin time"],
    phases: Float[Tensor, "batch bin time"],
    stft: Stft,
    iterations: int,
) -> Float[Tensor, "batch sample"]:
    """Return a waveform with about these STFT magnitudes, refined from these phases."""
    estimate = torch.polar(magnitude, phases)
    previous = torch.zeros_like(estimate)
    for _ in range(iterations):
        consistent = stft.forward_transform(stft.inverse_transform(estimate))
        accelerated = consistent + MOMENTUM * (consistent - previous)
        previous = consistent
        estimate = magnitude * accelerated / accelerated.abs().clamp(min=1e-12)
    return stft.inverse_transform(estimate)


def reach(stft: Stft, iterations: int) -> int:
    """Return the hops on each side on which a hop of `reconstruct` depends."""
    overlap = -(-stft.window_size // stft.hop) - 1  # windows that meet a window, on each side
    return iterations * overlap + -(-stft.window_size // (2 * stft.hop))
