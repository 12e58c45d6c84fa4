"""Sweeps, alarms and repeated impacts: risers, sirens, knocks and footsteps.

Sweeps span the clip exactly. Alarms and impacts repeat at a steady interval from t = 0, which the words "slow" and
"fast" change; without a word it lies between the two.
"""

import numpy as np

from recipes.tiny.synth.drums import burst
from recipes.tiny.synth.signals import (
    Piece,
    Signal,
    Stereo,
    glide,
    modes,
    moving_noise,
    num_samples,
    phase,
    ramp,
    sine,
    steady,
    timeline,
    tone,
)
from recipes.tiny.synth.sounds import Sound


def pick(sound: Sound, words: tuple[str, str], low: float, mid: float, high: float) -> float:
    """The value for the first word, for neither, or for the second word of an axis."""
    if words[0] in sound.descriptors:
        return low
    return high if words[1] in sound.descriptors else mid


def interval(sound: Sound, rng: np.random.Generator, slow: float, mid: float, fast: float) -> float:
    """Seconds between two events, within 4 % of what the sound's speed word says."""
    return pick(sound, ("slow", "fast"), slow, mid, fast) * float(rng.uniform(0.96, 1.04))


def _swept_noise(length: int, rng: np.random.Generator, start: float, stop: float) -> Stereo:
    """Noise through a band two octaves wide whose upper edge glides from `start` to `stop` Hz."""
    edge = glide(start, stop, 16)
    return np.stack([moving_noise(rng, length, (edge / 4, edge)) for _ in range(2)])


def render_riser(sound: Sound, rng: np.random.Generator) -> Signal | Stereo:
    """A sweep that spans the clip: upwards and louder, or downwards and softer."""
    length = num_samples(sound.seconds)
    rise = np.linspace(0, 1, length, dtype=np.float32)
    if sound.kind == "noise_riser":
        return _swept_noise(length, rng, 300.0, 15000.0) * (0.06 + 0.94 * rise * rise)
    if sound.kind == "downlifter":
        fall = sine(phase(glide(1200.0, 60.0, length), length))
        return (0.2 * _swept_noise(length, rng, 14000.0, 300.0) + fall) * (1 - 0.8 * rise)
    turns = phase(glide(200 * rng.uniform(0.9, 1.1), 2400 * rng.uniform(0.9, 1.1), length), length)
    return ramp(tone(turns, [1.0, 0.4, 0.2, 0.1, 0.05]) * (0.25 + 0.75 * rise), 0.01)


def render_siren(sound: Sound, rng: np.random.Generator) -> Signal:
    """An alarm that repeats to the end of the clip."""
    length = num_samples(sound.seconds)
    if sound.kind == "police_siren":
        cycle = phase(1 / interval(sound, rng, 3.6, 1.8, 0.5), length)
        return ramp(
            tone(
                phase(1050.0 - 450.0 * np.cos(2.0 * np.pi * cycle.astype(float)), length),
                [1.0, 0.5, 0.4, 0.2, 0.15],
            ),
            0.02,
        )
    if sound.kind == "two_tone_alarm":
        second = phase(0.5 / interval(sound, rng, 0.8, 0.5, 0.25), length) >= 0.5
        low = 700 * rng.uniform(0.96, 1.04)
        return ramp(
            tone(phase(np.where(second, low, low * 4.0 / 3.0), length), [1.0, 0.0, 0.4, 0.0, 0.2]),
            0.005,
        )
    every = interval(sound, rng, 0.9, 0.5, 0.22)
    hz = pick(sound, ("low", "high"), 600.0, 1200.0, 2400.0) * rng.uniform(0.96, 1.04)
    count = num_samples(every * 0.5)
    beep = ramp(tone(phase(hz, count), [1.0, 0.0, 0.3, 0.0, 0.1]), 0.004, 0.004)
    return timeline(length, [(t, beep, 1.0) for t in steady(sound.seconds, every)])


def _knuckle(rng: np.random.Generator) -> Signal:
    """Knuckles on a hollow wooden door."""
    body = modes(
        num_samples(0.25),
        ((105.0, 0.045, 1.0), (190.0, 0.035, 0.8), (330.0, 0.02, 0.5), (520.0, 0.01, 0.3)),
    )
    body[: num_samples(0.03)] += 0.15 * burst(rng, 0.03, 0.004, 600.0, 3000.0)
    return body


def _wood(rng: np.random.Generator) -> Signal:
    """Hammer on a wooden board."""
    body = modes(
        num_samples(0.25),
        ((420.0, 0.03, 1.0), (760.0, 0.022, 0.8), (1280.0, 0.014, 0.6), (210.0, 0.04, 0.5)),
    )
    body[: num_samples(0.05)] += 0.4 * burst(rng, 0.05, 0.006, 1500.0, 9000.0)
    return body


def _metal(rng: np.random.Generator) -> Signal:
    """Hammer on a steel plate: a long inharmonic ring."""
    partials = (
        (1130.0, 0.3, 0.7),
        (1870.0, 0.28, 1.0),
        (2950.0, 0.22, 0.8),
        (4310.0, 0.18, 0.7),
        (6120.0, 0.12, 0.5),
        (7900.0, 0.08, 0.4),
    )
    shift = rng.uniform(0.95, 1.05)
    body = modes(num_samples(1.2), [(hz * shift, ring, gain) for hz, ring, gain in partials])
    body[: num_samples(0.03)] += 0.6 * burst(rng, 0.03, 0.003, 2000.0, 12000.0)
    return body


_STRIKES = {"door_knock": _knuckle, "hammer_wood": _wood, "hammer_metal": _metal}


def render_knock(sound: Sound, rng: np.random.Generator) -> Signal:
    """Strikes at a steady interval, the first at t = 0."""
    strikes = [_STRIKES[sound.kind](rng) for _ in range(2)]
    every = interval(sound, rng, 0.95, 0.55, 0.26)
    starts = steady(sound.seconds, every)
    return _alternate(num_samples(sound.seconds), starts, strikes, rng)


def _gravel(rng: np.random.Generator) -> Signal:
    """A shoe on loose stones: a shower of grains under a heel-and-toe envelope."""
    grains = burst(rng, 0.02, 0.0025, 1800.0, 9000.0)
    starts = np.concatenate([rng.gamma(2.0, 0.022, 45), 0.13 + rng.gamma(2.0, 0.02, 30)])
    gains = rng.uniform(0.1, 1.0, len(starts)) ** 2
    scrape = ramp(burst(rng, 0.26, 0.1, 1500.0, 8000.0), 0.02, 0.05)
    return timeline(
        num_samples(0.28),
        [(float(s), grains, float(g)) for s, g in zip(starts, gains, strict=True)],
    ) + 0.12 * timeline(num_samples(0.28), [(0.0, scrape, 1.0)])


def _plank(rng: np.random.Generator) -> Signal:
    """A hard heel on floorboards, then the toe."""
    heel = modes(num_samples(0.3), ((92.0, 0.05, 1.0), (170.0, 0.035, 0.6), (290.0, 0.02, 0.3)))
    heel[: num_samples(0.02)] += 0.2 * burst(rng, 0.02, 0.003, 1000.0, 6000.0)
    return timeline(num_samples(0.4), [(0.0, heel, 1.0), (0.09, heel, 0.3)])


def _snow(rng: np.random.Generator) -> Signal:
    """A boot that compresses snow: a slow, creaking low crunch."""
    length = num_samples(0.34)
    crunch = burst(rng, 0.34, 1.0, 350.0, 1500.0)
    creak = 0.55 + 0.45 * np.sign(sine(phase(float(rng.uniform(85, 100)), length)))
    return ramp(crunch * creak.astype(np.float32), 0.05, 0.2)


_STEPS = {"footsteps_gravel": _gravel, "footsteps_wood": _plank, "footsteps_snow": _snow}


def render_footsteps(sound: Sound, rng: np.random.Generator) -> Signal:
    """Steps of alternating feet at a steady pace."""
    feet = [_STEPS[sound.kind](rng) for _ in range(4)]
    starts = steady(sound.seconds, interval(sound, rng, 0.85, 0.56, 0.34))
    return _alternate(num_samples(sound.seconds), starts, feet, rng)


def _alternate(
    length: int, starts: np.ndarray, pieces: list[Piece], rng: np.random.Generator
) -> Signal:
    """Events that take turns among a few signals, each at a slightly different level."""
    gains = rng.uniform(0.85, 1.0, len(starts))
    return timeline(
        length,
        [
            (float(t), pieces[i % len(pieces)], float(g))
            for i, (t, g) in enumerate(zip(starts, gains, strict=True))
        ],
    )
