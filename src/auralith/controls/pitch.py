"""Pitch of a single note: a period in time that the partials of the spectrum must confirm.

The period is the first deep dip of the cumulative mean normalized difference (YIN: de Cheveigné and Kawahara 2002), in
frames of the part that sounds. Chords have such a period too, that of a fundamental far below their notes. So the
spectrum is asked: its peaks must lie on multiples of the fundamental, and one of the first three must be there. The
frequency is the mean of the partials over their number, weighted by power, which is finer than the period. Where frames
have no common period, as of high and short notes in noise, the strongest partial is tried, with a stricter limit.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from auralith.controls.measurement import SILENCE, Measurement, Mono, Waveform, mono, unknown

LOWEST_HZ, HIGHEST_HZ = 25.0, 8_000.0
_RATE = 44_100
_SIZE = 8_192
_HOP = 2_048
_MOST_FRAMES = 48
_ATTACK_SECONDS = 0.06
_RANGE_DB = 26.0
"""Frames this far below the loudest count."""
_DIP = 0.15
"""Depth of a dip that is deep enough; else those nearly as deep as the deepest (YIN, step 4)."""
_SAME_CENTS = 60.0
LEAST_AGREEMENT = 0.6
"""Share of the power whose frames have the same period."""
LEAST_PERIODICITY = 0.6
"""One less the depth of the dip, 0 for noise."""
_FFT = 32_768
_PEAK_DB = -20.0
"""Peaks of the spectrum this far below the highest count."""
_PARTIAL_CENTS, _PARTIAL_SHARE = 40.0, 0.25
"""A peak is a partial this close to a multiple, and no farther than this share of the fundamental."""
_SEARCH_CENTS = 80.0
_REFINING_PARTIALS = 6
_LOW_PARTIALS, _LOW_DB = 3, -30.0
"""One of so many first partials has at least this level relative to the strongest: else it is a chord."""
LEAST_EXPLAINED = 0.7
"""Share of the peaks' power that partials have, where the period agrees;"""
LEAST_EXPLAINED_ALONE = 0.85
"""and where there is none."""


@dataclass(frozen=True)
class _Peaks:
    hz: Float[np.ndarray, " peak"]
    power: Float[np.ndarray, " peak"]


def pitch(waveform: Waveform, sample_rate: int) -> Measurement[float]:
    """Return the fundamental in Hz, 25 to 8,000, or that the sound has no single, steady pitch."""
    sound = mono(waveform, sample_rate, _RATE)
    if np.abs(sound).max(initial=0.0) < SILENCE:
        return unknown("silence")
    frames, power = _frames(sound)
    peaks = _spectral_peaks(frames)
    period, reason = _common_period(frames, power)
    if period is not None:
        hz, explained = _confirmed(peaks, period)
        if explained >= LEAST_EXPLAINED:
            return Measurement(hz, explained)
    strongest = float(peaks.hz[peaks.power.argmax()]) if len(peaks.hz) else 0.0
    if LOWEST_HZ <= strongest <= HIGHEST_HZ:
        hz, explained = _confirmed(peaks, strongest)
        if explained >= LEAST_EXPLAINED_ALONE:
            return Measurement(hz, explained)
    return unknown(reason)


def _common_period(
    frames: Float[np.ndarray, "frame tap"], power: Float[np.ndarray, " frame"]
) -> tuple[float | None, str]:
    """Return the frequency that most of the frames have in common, and what to say where there is none, or no partials."""
    periods, depths = _periods(_differences(frames))
    octaves = np.log2(_RATE / periods)
    center = _weighted_median(octaves, power)
    same = np.abs(1_200 * (octaves - center)) < _SAME_CENTS
    if 1 - np.average(depths[same], weights=power[same]) < LEAST_PERIODICITY:
        return None, "not periodic"
    if power[same].sum() < LEAST_AGREEMENT * power.sum():
        return None, "the pitch moves"
    return float(2**center), "several pitches, or partials out of tune"


def _spectral_peaks(frames: Float[np.ndarray, "frame tap"]) -> _Peaks:
    """Return frequencies (Hz) and powers of the highest peaks of the mean power spectrum, by parabolas."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_SIZE) / _SIZE)
    spectrum = np.square(np.abs(np.fft.rfft(frames * window, _FFT, axis=1))).mean(axis=0)
    spectrum[: int(0.8 * LOWEST_HZ * _FFT / _RATE)] = 0
    left, mid, right = spectrum[:-2], spectrum[1:-1], spectrum[2:]
    limit = spectrum.max() * 10 ** (_PEAK_DB / 10)
    bins = np.flatnonzero((mid > left) & (mid >= right) & (mid >= limit))
    a, b, c = (np.log(part[bins] + 1e-300) for part in (left, mid, right))
    shift = 0.5 * (a - c) / (a - 2 * b + c).clip(None, -1e-12)
    return _Peaks((bins + 1 + shift) * _RATE / _FFT, mid[bins])


def _confirmed(peaks: _Peaks, hz: float) -> tuple[float, float]:
    """Return a frequency refined on its partials, and the share of power that they explain; 0 for a chord."""
    number = np.round(peaks.hz / hz).clip(1)
    near = np.abs(1_200 * np.log2(peaks.hz / (number * hz))) < _SEARCH_CENTS
    low = near & (number <= _REFINING_PARTIALS)
    if not low.any():
        return hz, 0.0
    refined = float(np.average(peaks.hz[low] / number[low], weights=peaks.power[low]))
    number = np.round(peaks.hz / refined).clip(1)
    cents = np.abs(1_200 * np.log2(peaks.hz / (number * refined)))
    off = np.abs(peaks.hz - number * refined)
    fits = (cents < _PARTIAL_CENTS) & (off < _PARTIAL_SHARE * refined)
    first = peaks.power[fits & (number <= _LOW_PARTIALS)].max(initial=0.0)
    if first < peaks.power.max() * 10 ** (_LOW_DB / 10):
        return refined, 0.0
    return refined, float(peaks.power[fits].sum() / peaks.power.sum())


def _frames(sound: Mono) -> tuple[Float[np.ndarray, "frame tap"], Float[np.ndarray, " frame"]]:
    """Return frames of what sounds after the attack, without their means, and their power."""
    first = int(np.argmax(np.abs(sound) > 0.1 * np.abs(sound).max())) + round(
        _ATTACK_SECONDS * _RATE
    )
    kept = sound[first:] if len(sound) - first >= _SIZE else sound[-_SIZE:]
    kept = np.pad(kept, (0, max(0, _SIZE - len(kept))))
    frames = np.lib.stride_tricks.sliding_window_view(kept, _SIZE)[::_HOP].astype(np.float64)
    frames = frames - frames.mean(axis=1, keepdims=True)
    power = np.square(frames).mean(axis=1)
    loud = np.flatnonzero(power >= power.max() * 10 ** (-_RANGE_DB / 10))
    chosen = loud[np.linspace(0, len(loud) - 1, min(len(loud), _MOST_FRAMES)).round().astype(int)]
    return frames[chosen], power[chosen]


def _differences(frames: Float[np.ndarray, "frame tap"]) -> Float[np.ndarray, "frame lag"]:
    """Return the cumulative mean normalized difference (YIN, equation 8) at lags down to 25 Hz."""
    length, lags = frames.shape[1], int(_RATE / LOWEST_HZ) + 2
    size = length - lags
    padded = 2 * length
    product = np.fft.irfft(
        np.fft.rfft(frames, padded) * np.fft.rfft(frames[:, :size], padded).conj(), padded
    )[:, :lags]
    power = np.concatenate([np.zeros((len(frames), 1)), np.cumsum(frames**2, axis=1)], axis=1)
    moved = power[:, size : size + lags] - power[:, :lags]
    difference = np.maximum(moved[:, :1] + moved - 2 * product, 0)
    difference[:, 0] = 0
    means = np.cumsum(difference, axis=1) / np.arange(1, lags + 1).clip(1)
    return np.where(means > 0, difference / means.clip(1e-20), 1.0)


def _periods(dips: Float[np.ndarray, "frame lag"]) -> tuple[np.ndarray, np.ndarray]:
    """Return for each frame the lag of its first deep dip, between samples by a parabola, and the dip's depth."""
    periods, depths = np.empty(len(dips)), np.empty(len(dips))
    least = int(_RATE / HIGHEST_HZ)
    for number, curve in enumerate(dips):
        inner = curve[1:-1]
        lows = 1 + np.flatnonzero((inner < curve[:-2]) & (inner <= curve[2:]))
        lows = lows[lows >= least]
        if not len(lows):
            periods[number], depths[number] = _RATE / LOWEST_HZ, 1.0
            continue
        limit = max(_DIP, 1.0 * curve[lows].min() + 0.05)
        lag = int(lows[curve[lows] <= limit][0])
        left, low, right = curve[lag - 1 : lag + 2]
        bend = left - 2 * low + right
        periods[number] = lag + (0.5 * (left - right) / bend if bend > 0 else 0.0)
        depths[number] = low
    return periods, depths


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    order = np.argsort(values)
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, total[-1] / 2)])
