"""Single pitched notes: sustained and struck instruments and test tones.

Every instrument has a strong fundamental and exact harmonics (the bell's higher partials excepted), so that the
pitch that the caption states can be measured. Struck instruments cross-fade from a bright wave that decays at once
to a mellow one.
"""

import numpy as np

from recipes.tiny.synth.signals import (
    Signal,
    Stereo,
    band,
    decay,
    drift,
    harmonic_numbers,
    modes,
    num_samples,
    phase,
    ramp,
    shaped_noise,
    sine,
    tone,
)
from recipes.tiny.synth.sounds import Sound


def _sine_tone(hz: float, length: int, rng: np.random.Generator) -> Signal:
    return ramp(sine(phase(hz, length)), 0.005)


def _square_tone(hz: float, length: int, rng: np.random.Generator) -> Signal:
    k = harmonic_numbers(hz)
    return ramp(tone(phase(hz, length), (k % 2.0) / k), 0.005)


def _saw_tone(hz: float, length: int, rng: np.random.Generator) -> Signal:
    return ramp(tone(phase(hz, length), 1.0 / harmonic_numbers(hz)), 0.005)


def _bass(hz: float, length: int, rng: np.random.Generator) -> Signal:
    """Low-passed sawtooth with a brighter attack."""
    k = harmonic_numbers(hz, 40)
    turns = phase(hz, length)
    body = tone(turns, k**-1.0 / (1.0 + (k / 3.5) ** 2.0))
    bite = tone(turns, k**-0.8 / (1.0 + (k / 10.0) ** 2.0)) * decay(length, 0.09)
    return ramp(body + np.float32(rng.uniform(0.4, 0.6)) * bite, 0.004)


def _pluck(hz: float, length: int, rng: np.random.Generator) -> Signal:
    """Plucked string: harmonics die the sooner the higher they are."""
    k = harmonic_numbers(hz, 30)
    turns = phase(hz, length)
    body = tone(turns, [1.0, 0.4, 0.2, 0.1]) * decay(length, float(rng.uniform(0.6, 0.75)))
    string = tone(turns, k**-1.0 * (k > 1.0)) * decay(length, 0.12)
    return ramp(body + 0.8 * string, 0.001)


def _pad(hz: float, length: int, rng: np.random.Generator) -> Stereo:
    """Soft chorus: each ear hears the note with its own copy, a few cents apart."""
    k = harmonic_numbers(hz, 24)
    wave = k**-1.0 / (1 + (k / 4) ** 2)
    cents = rng.uniform(4, 7)
    left, right = (tone(phase(hz * 2.0 ** (c / 1200.0), length), wave) for c in (-cents, cents))
    center = tone(phase(hz, length), wave)
    return ramp(np.stack([center + 0.6 * left, center + 0.6 * right]), 0.3)


def _bell(hz: float, length: int, rng: np.random.Generator) -> Signal:
    """Struck bell: a dominant fundamental under short inharmonic partials."""
    ring = float(rng.uniform(1.1, 1.4))
    partials = (
        (1.0, ring, 1.0),
        (2.76, ring * 0.35, 0.4),
        (5.4, ring * 0.2, 0.25),
        (8.93, ring * 0.1, 0.12),
    )
    return ramp(modes(length, [(hz * m, t, g) for m, t, g in partials if hz * m < 18000.0]), 0.0008)


def _organ(hz: float, length: int, rng: np.random.Generator) -> Signal:
    """Drawbar organ with a slow rotary tremolo."""
    bars = tone(phase(hz, length), [1.0, 0.7, 0.45, 0.4, 0.0, 0.25, 0.0, 0.2])
    return ramp(bars * (1 + 0.1 * sine(phase(float(rng.uniform(5.8, 6.6)), length))), 0.01)


def _flute(hz: float, length: int, rng: np.random.Generator) -> Signal:
    """Flute-like lead: few harmonics, vibrato that sets in, breath around the pitch."""
    sway = sine(phase(float(rng.uniform(4.8, 5.4)), length)) * (1 - decay(length, 0.4))
    turns = phase(hz * (1 + 0.004 * sway.astype(np.float64)), length)
    breath = shaped_noise(rng, length, band(hz, 4.0 * hz + 2000.0)) * drift(rng, length, 6.0, 0.3)
    voice = tone(turns, [1.0, 0.32, 0.12, 0.03]) * (1 + 0.08 * sway)
    return ramp(voice + 0.035 * breath, 0.07)


def _electric_piano(hz: float, length: int, rng: np.random.Generator) -> Signal:
    """Tine piano: a mellow decaying body, a short bell-like seventh harmonic, tremolo."""
    turns = phase(hz, length)
    body = tone(turns, [1.0, 0.3, 0.12, 0.04]) * decay(length, float(rng.uniform(1.0, 1.3)))
    tine = tone(turns, [0.0, 0.2, 0.0, 0.2, 0.0, 0.0, 0.35][: len(harmonic_numbers(hz))]) * decay(
        length, 0.12
    )
    return ramp((body + tine) * (1 + 0.15 * sine(phase(5.0, length))), 0.002)


_INSTRUMENTS = {
    "bass": _bass,
    "pluck": _pluck,
    "pad": _pad,
    "bell": _bell,
    "organ": _organ,
    "flute": _flute,
    "electric_piano": _electric_piano,
    "sine_tone": _sine_tone,
    "square_tone": _square_tone,
    "saw_tone": _saw_tone,
}


def render_note(sound: Sound, rng: np.random.Generator) -> Signal | Stereo:
    """One note of the sound's instrument at its pitch, held or ringing until the end of the clip."""
    assert sound.hz is not None
    return _INSTRUMENTS[sound.kind](sound.hz, num_samples(sound.seconds), rng)
