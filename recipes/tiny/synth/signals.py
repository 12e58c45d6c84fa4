"""Building blocks of the procedural corpus: phases, oscillators, shaped noise, envelopes, events on a timeline.

Everything is vectorized over samples, in float32 except for phases, which accumulate in float64: a float32
clock is off by hundredths of a cycle after six seconds at 10 kHz. Noise is drawn in the frequency domain, so that
its color costs nothing. Times are in seconds, frequencies in Hz, gains linear.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Float, Float32

SAMPLE_RATE = 44100

Signal = Float32[np.ndarray, " sample"]
Stereo = Float32[np.ndarray, "2 sample"]
Piece = Float32[np.ndarray, " _"]
"""A mono signal of its own length, to be placed in a longer one."""
Response = Callable[[Float[np.ndarray, " bin"]], Float[np.ndarray, " bin"]]
"""Linear gain of a filter at each frequency in Hz."""

_TABLE_SIZE = 8192
_FRAME = 1024
_FRAME_WINDOW = np.sin(np.pi * (np.arange(_FRAME) + 0.5) / _FRAME).astype(np.float32)
_SMOOTH_FACTORS = (8, 9, 10, 12, 15, 16)


def num_samples(seconds: float) -> int:
    """Samples in a duration, rounded to the nearest."""
    return round(seconds * SAMPLE_RATE)


def times(length: int) -> Signal:
    """Time of each sample, in seconds: for envelopes, not for phases."""
    return np.arange(length, dtype=np.float32) / np.float32(SAMPLE_RATE)


def phase(hz: float | Float[np.ndarray, " sample"], length: int) -> Signal:
    """Cycles within [0, 1) of an oscillator that starts at 0 and runs at a constant or changing frequency."""
    if isinstance(hz, np.ndarray):
        turns = np.cumsum(hz.astype(np.float64) / SAMPLE_RATE) - hz[0] / SAMPLE_RATE
    else:
        turns = np.arange(length) * (hz / SAMPLE_RATE)
    return (turns - np.floor(turns)).astype(np.float32)


def sine(turns: Signal) -> Signal:
    """Sine wave at the given phase in cycles."""
    return np.sin(np.float32(2 * np.pi) * turns)


def tone(turns: Signal, amplitudes: Sequence[float] | Float[np.ndarray, " harmonic"]) -> Signal:
    """Harmonic wave: sum over k >= 1 of amplitudes[k - 1] * sin(2 pi k turns), read from an interpolated table."""
    spectrum = np.zeros(_TABLE_SIZE // 2 + 1, complex)
    spectrum[1 : len(amplitudes) + 1] = -0.5j * _TABLE_SIZE * np.asarray(amplitudes)
    table = np.fft.irfft(spectrum).astype(np.float32)
    position = turns * np.float32(_TABLE_SIZE)
    index = position.astype(np.int32)
    slope = np.roll(table, -1) - table
    return table.take(index, mode="wrap") + (position - np.floor(position)) * slope.take(
        index, mode="wrap"
    )


def harmonic_numbers(hz: float, most: int = 400) -> Float[np.ndarray, " harmonic"]:
    """1, 2, 3, ... up to the last harmonic of `hz` below 18 kHz, at most `most` of them."""
    return np.arange(1.0, 1 + max(1, min(most, int(18000 / hz))))


def decay(length: int, seconds: float) -> Signal:
    """Exponential envelope from 1 with the given time constant."""
    return np.exp(times(length) / np.float32(-seconds))


def ramp(signal: Float32[np.ndarray, "*channels sample"], rise: float, fall: float = 0.0):
    """Copy of the signal with a raised-cosine attack and release of the given seconds (each at most its length)."""
    shaped = signal.copy()
    length = shaped.shape[-1]
    for seconds, at_end in ((rise, False), (fall, True)):
        count = min(num_samples(seconds), length)
        curve = (0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / max(count, 1))).astype(
            np.float32
        )
        if at_end:
            shaped[..., length - count :] *= curve[::-1]
        else:
            shaped[..., :count] *= curve
    return shaped


def glide(start: float, stop: float, length: int) -> Float[np.ndarray, " sample"]:
    """Exponential sweep from one positive value to another over the whole length."""
    return start * np.exp(np.linspace(0.0, np.log(stop / start), length))


def drift(rng: np.random.Generator, length: int, per_second: float, depth: float) -> Signal:
    """Slow random gain around 1: new targets `per_second` times a second within 1 +- depth, joined by lines."""
    knots = max(2, int(length / SAMPLE_RATE * per_second) + 2)
    targets = rng.uniform(1 - depth, 1 + depth, knots)
    return np.interp(np.linspace(0, knots - 1, length), np.arange(knots), targets).astype(
        np.float32
    )


def band(low: float | None = None, high: float | None = None) -> Response:
    """Response of a second-order band pass, high pass (no `high`) or low pass (no `low`)."""

    def response(hz: Float[np.ndarray, " bin"]) -> Float[np.ndarray, " bin"]:
        power = np.ones_like(hz)
        if low is not None:
            ratio = np.square(np.square(hz / low))
            power *= ratio / (1 + ratio)
        if high is not None:
            power /= 1 + np.square(np.square(hz / high))
        return np.sqrt(power)

    return response


def shelf(corner: float, gain: float) -> Response:
    """First-order high shelf: 1 below the corner, `gain` well above it (a gain under 1 darkens)."""

    def response(hz: Float[np.ndarray, " bin"]) -> Float[np.ndarray, " bin"]:
        ratio = np.square(hz / corner)
        return np.sqrt((1 + ratio * gain) / (1 + ratio / gain))

    return response


def fast_length(length: int) -> int:
    """Smallest length of at least `length` that has small prime factors, so that an FFT of it is fast."""
    power = max(0, (length - 1).bit_length() - 4)
    return next(f << power for f in _SMOOTH_FACTORS if f << power >= length)


def frequencies(size: int) -> Float[np.ndarray, " bin"]:
    """Frequencies of the bins of a real FFT of the given size."""
    return np.arange(size // 2 + 1, dtype=np.float32) * np.float32(SAMPLE_RATE / size)


def shaped_noise(rng: np.random.Generator, length: int, response: Response) -> Signal:
    """Gaussian noise with the given spectrum and unit root mean square."""
    size = fast_length(max(length, 16))
    bins = size // 2 + 1
    spectrum = rng.standard_normal(2 * bins, np.float32).view(np.complex64) * response(
        frequencies(size)
    )
    spectrum[0] = 0
    signal = np.fft.irfft(spectrum, size)[:length].astype(np.float32)
    return signal / np.sqrt(np.mean(np.square(signal)))


def moving_noise(
    rng: np.random.Generator,
    length: int,
    edges_hz: tuple[Float[np.ndarray, " knot"], Float[np.ndarray, " knot"]],
) -> Signal:
    """Band-passed Gaussian noise of about unit level whose edges (low, high) follow the given knots over the length.

    Independent noise in overlapping frames, each with its own spectrum, under a power-complementary window.
    """
    half = _FRAME // 2
    pairs = length // _FRAME + 2
    knots = np.linspace(0, len(edges_hz[0]) - 1, 2 * pairs)
    low, high = (
        np.interp(knots, np.arange(len(edge)), edge)[:, None].astype(np.float32)
        for edge in edges_hz
    )
    hz = frequencies(_FRAME)
    below, above = np.square(np.square(hz / high)), np.square(np.square(hz / low))
    gain = np.sqrt(above / ((1 + above) * (1 + below)))
    gain *= np.sqrt(hz.size / 2) / np.linalg.norm(gain, axis=1, keepdims=True)
    spectra = rng.standard_normal((2 * pairs, 2 * hz.size), np.float32).view(np.complex64) * gain
    frames = np.fft.irfft(spectra) * _FRAME_WINDOW
    even, odd = (frames[parity::2].ravel() for parity in (0, 1))
    return (np.sqrt(_FRAME) * (even[half:] + odd[:-half]))[:length].astype(np.float32)


def stereo_noise(rng: np.random.Generator, length: int, response: Response) -> Stereo:
    """Two independent channels of `shaped_noise`."""
    return np.stack([shaped_noise(rng, length, response) for _ in range(2)])


def filtered(signal: Float32[np.ndarray, "*channels sample"], response: Response):
    """The signal through a zero-phase filter; what would wrap around falls into padding of 0.1 s."""
    length = signal.shape[-1]
    size = fast_length(length + SAMPLE_RATE // 10)
    spectrum = np.fft.rfft(signal, size) * response(frequencies(size))
    return np.fft.irfft(spectrum, size)[..., :length].astype(np.float32)


def modes(length: int, partials: Iterable[tuple[float, float, float]]) -> Signal:
    """Struck body: damped sines given as (Hz, time constant in seconds, gain)."""
    out = np.zeros(length, np.float32)
    for hz, seconds, gain in partials:
        out += np.float32(gain) * decay(length, seconds) * sine(phase(hz, length))
    return out


def timeline(length: int, events: Iterable[tuple[float, Piece, float]]) -> Signal:
    """Events, given as (start in seconds, signal, gain), added onto silence and cut at both ends."""
    out = np.zeros(length, np.float32)
    for start, signal, gain in events:
        at = num_samples(start)
        piece = signal[: max(0, length - at)]
        out[at : at + len(piece)] += np.float32(gain) * piece
    return out


def steady(seconds: float, interval: float) -> Float[np.ndarray, " event"]:
    """Start times of events that repeat from 0 until the end; one that could not sound for 60 ms is left out."""
    return np.arange(0.0, max(seconds - 0.06, 1e-3), interval)
