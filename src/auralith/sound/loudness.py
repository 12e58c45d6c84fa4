"""Integrated loudness by ITU-R BS.1770-4 (annex 1), of a stream in blocks.

K-weighting is two second-order filters. The standard gives their coefficients for 48 kHz; other rates get those of the
same analog prototypes (bilinear transform, frequencies prewarped). The filters' impulse response is gone after 0.15 s,
so they are applied by overlap-save with their frequency response, exactly and without a loop over samples. What is
kept of a stream is the energy of each 100 ms, from which the gates are computed at the end.
"""

import math
from functools import lru_cache

import numpy as np
from jaxtyping import Complex, Float

LOWEST_RATE_HZ = 4_000
"""Below, the high shelf lies above half the rate, and loudness is undefined."""
ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
_OFFSET_DB = -0.691
_MEMORY_SECONDS = 0.15
"""The high-pass falls as (1 + at)·exp(−at), a = 2π·38/s: below 1e-14."""
_STEPS_PER_BLOCK = 4
"""400 ms of 100 ms: 75 % overlap."""
_SURROUND = {5: (1.0, 1.0, 1.0, 1.41, 1.41), 6: (1.0, 1.0, 1.0, 0.0, 1.41, 1.41)}
"""Weights of 5.0 and 5.1 (without its low-frequency channel) in the order of WAV; all others are 1."""

Biquad = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Numerator and denominator in powers of 1/z."""


def k_weighting(sample_rate: int) -> tuple[Biquad, Biquad]:
    """The high shelf (+4 dB, the head) and the high-pass (RLB) at a rate in Hz."""
    return _high_shelf(sample_rate), _high_pass(sample_rate)


def _high_shelf(sample_rate: int) -> Biquad:
    k = math.tan(math.pi * 1681.974450955533 / sample_rate)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    scale = 1 + k / q + k * k
    b0 = (high + band * k / q + k * k) / scale
    b1 = 2 * (k * k - high) / scale
    b2 = (high - band * k / q + k * k) / scale
    return (b0, b1, b2), (1.0, 2 * (k * k - 1) / scale, (1 - k / q + k * k) / scale)


def _high_pass(sample_rate: int) -> Biquad:
    """The standard's numerator is 1, −2, 1, a gain of 1.005; other rates get the same gain, not the same numerator."""
    k, scale = _high_pass_scale(sample_rate)
    gain = _high_pass_scale(48_000)[1] / scale
    denominator = (1.0, 2 * (k * k - 1) / scale, (2 + 2 * k * k - scale) / scale)
    return (gain, -2 * gain, gain), denominator


def _high_pass_scale(sample_rate: int) -> tuple[float, float]:
    k = math.tan(math.pi * 38.13547087602444 / sample_rate)
    return k, 1 + k / 0.5003270373238773 + k * k


class LoudnessMeter:
    """Give it a stream's blocks in order, then ask for `integrated`."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self._rate, self._channels = sample_rate, channels
        self._weights = np.array(_SURROUND.get(channels, (1.0,) * channels))
        memory = math.ceil(_MEMORY_SECONDS * sample_rate)
        self._history = np.zeros((memory, channels), np.float32)
        self._position = 0
        self._steps: list[np.ndarray] = []
        """Energy of each finished 100 ms."""
        self._num_steps = 0
        self._carry = 0.0
        """Energy of the 100 ms that has begun."""

    def add(self, block: Float[np.ndarray, "sample channel"]) -> None:
        """Count a block of any length."""
        if self._rate < LOWEST_RATE_HZ:
            return
        energy = np.square(self._weighted(block), dtype=np.float64) @ self._weights
        total = np.concatenate([[0.0], np.cumsum(energy)])
        end = self._position + len(block)
        last = end * 10 // self._rate + 1
        edges = np.arange(self._num_steps + 1, last + 1) * self._rate // 10
        edges = edges[edges <= end]
        ends = np.concatenate([[-self._carry], total[edges - self._position]])
        self._steps.append(np.diff(ends))
        self._num_steps += len(edges)
        self._carry = float(total[-1] - ends[-1])
        self._position = end

    @property
    def integrated(self) -> float | None:
        """LUFS; None below 400 ms, where everything lies under the absolute gate, or below 4 kHz."""
        if self._num_steps < _STEPS_PER_BLOCK:
            return None
        edges = np.arange(self._num_steps + 1) * self._rate // 10
        lengths = edges[_STEPS_PER_BLOCK:] - edges[:-_STEPS_PER_BLOCK]
        energy = np.convolve(np.concatenate(self._steps), np.ones(_STEPS_PER_BLOCK), "valid")
        return _gated(energy / lengths)

    def _weighted(self, block: np.ndarray) -> np.ndarray:
        joined = np.concatenate([self._history, block])
        size = _fast_length(len(joined))
        spectrum = np.fft.rfft(joined, size, axis=0)
        spectrum *= _response(self._rate, size)[:, None]
        memory = len(self._history)
        self._history = joined[len(joined) - memory :]
        return np.fft.irfft(spectrum, size, axis=0)[memory : len(joined)]


def _gated(power: Float[np.ndarray, "block"]) -> float | None:
    above = power[power > _power(ABSOLUTE_GATE_LUFS)]
    if not len(above):
        return None
    relative = _loudness(float(above.mean())) + RELATIVE_GATE_LU
    return _loudness(float(above[above > _power(relative)].mean()))


def _loudness(power: float) -> float:
    return _OFFSET_DB + 10 * math.log10(power)


def _power(loudness: float) -> float:
    return 10 ** ((loudness - _OFFSET_DB) / 10)


@lru_cache(maxsize=16)
def _response(sample_rate: int, size: int) -> Complex[np.ndarray, "bin"]:
    delay = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)
    response = np.ones(size // 2 + 1, np.complex128)
    for numerator, denominator in k_weighting(sample_rate):
        response *= np.polyval(numerator[::-1], delay) / np.polyval(denominator[::-1], delay)
    return response.astype(np.complex64)


@lru_cache(maxsize=64)
def _fast_length(at_least: int) -> int:
    """The smallest even product of 2, 3 and 5 that is not less: transforms of other lengths are slow."""
    best = 1 << at_least.bit_length()
    for fives in (5**n for n in range(best.bit_length())):
        for odd in (fives * 3**n for n in range(best.bit_length())):
            if odd >= best:
                break
            best = min(best, odd << max(1, (-(-at_least // odd) - 1).bit_length()))
    return best
