"""Sounds without a beat: weather, water and fire, animals, engines.

Textures hold a steady level to the end of the clip; what makes each recognizable is its spectrum and its grain
(drops, crackles, bubbles, rotor beats). "light" and "heavy" change the density of that grain and the spectrum.
"""

import numpy as np

from recipes.tiny.synth.drums import burst
from recipes.tiny.synth.scenes import interval, pick
from recipes.tiny.synth.signals import (
    SAMPLE_RATE,
    Piece,
    Signal,
    Stereo,
    band,
    decay,
    drift,
    glide,
    modes,
    moving_noise,
    num_samples,
    phase,
    ramp,
    shaped_noise,
    shelf,
    sine,
    steady,
    stereo_noise,
    timeline,
    tone,
)
from recipes.tiny.synth.sounds import Sound


def _scatter(
    length: int, rng: np.random.Generator, per_second: float, grains: list[Piece]
) -> Stereo:
    """Grains at random times, levels and places in the stereo field."""
    count = max(1, round(per_second * length / SAMPLE_RATE))
    starts = rng.uniform(0, length / SAMPLE_RATE, (2, count))
    gains = rng.uniform(0.25, 1.0, (2, count)) ** 2
    sides = zip(starts, gains, strict=True)
    return np.stack(
        [
            timeline(
                length,
                [
                    (float(s), grains[i % len(grains)], float(g))
                    for i, (s, g) in enumerate(zip(*side, strict=True))
                ],
            )
            for side in sides
        ]
    )


def _rain(length: int, force: float, rng: np.random.Generator) -> Stereo:
    drops = [
        modes(num_samples(0.015), ((float(hz), 0.002, 1.0),)) for hz in rng.uniform(1800, 7000, 12)
    ]
    hiss = stereo_noise(rng, length, band(900.0 / force, 9000.0))
    return 0.3 * force * hiss + 1.2 * _scatter(length, rng, 60.0, drops)


def _wind(length: int, force: float, rng: np.random.Generator) -> Stereo:
    """A narrow band that wanders between 150 and 700 Hz, louder where it is higher, over a low rumble."""
    seconds = length / SAMPLE_RATE
    knots = max(3, round(1.5 * seconds) + 2)
    center = force**0.5 * np.exp(rng.uniform(np.log(200), np.log(650), knots))
    howl = np.stack([moving_noise(rng, length, (0.8 * center, 1.25 * center)) for _ in range(2)])
    gust = np.interp(
        np.linspace(0, knots - 1, length), np.arange(knots), (center / center.max()) ** 0.8
    )
    return gust.astype(np.float32) * howl + 0.3 * stereo_noise(
        rng, length, band(50.0, 200.0 * force)
    )


def _ocean(length: int, force: float, rng: np.random.Generator) -> Stereo:
    """Surf: noise that opens up and breaks every three seconds over a low roar."""
    turns = phase(1 / float(rng.uniform(2.6, 3.2)), length)
    swell = np.where(turns < 0.35, turns / 0.35, (1 - turns) / 0.65).astype(np.float32)
    roar = stereo_noise(rng, length, band(50.0, 400.0))
    foam = stereo_noise(rng, length, band(500.0, 5000.0))
    return (0.35 + 0.65 * swell) * roar * 0.8 + force * swell * swell * foam


def _static(length: int, force: float, rng: np.random.Generator) -> Stereo:
    return rng.standard_normal((2, length), np.float32)


def _fire(length: int, force: float, rng: np.random.Generator) -> Stereo:
    """Crackles of a few sizes over a low, fluttering roar."""
    cracks = [
        burst(rng, 0.02, float(ring), 1200.0, 12000.0) for ring in rng.uniform(0.0008, 0.004, 10)
    ]
    roar = stereo_noise(rng, length, band(50.0, 350.0)) * drift(rng, length, 8.0, 0.35)
    return 0.22 * roar + _scatter(length, rng, 16.0 * force**2.0, cracks)


def _stream(length: int, force: float, rng: np.random.Generator) -> Stereo:
    """A brook: rising bubbles over soft rushing."""
    bubbles = []
    for hz in rng.uniform(350, 1500, 16):
        count = num_samples(float(rng.uniform(0.03, 0.07)))
        bubbles.append(
            ramp(sine(phase(glide(hz, hz * 1.5, count), count)) * decay(count, 0.02), 0.004, 0.01)
        )
    rush = stereo_noise(rng, length, band(400.0, 2500.0))
    return 0.13 * force * rush + 0.5 * _scatter(length, rng, 45.0 * force, bubbles)


_TEXTURES = {
    "rain": _rain,
    "wind": _wind,
    "ocean": _ocean,
    "static": _static,
    "fire": _fire,
    "stream": _stream,
}


def render_texture(sound: Sound, rng: np.random.Generator) -> Stereo:
    """Weather, water, fire or noise over the whole clip."""
    force = pick(sound, ("light", "heavy"), 0.5, 1.0, 1.8)
    return ramp(_TEXTURES[sound.kind](num_samples(sound.seconds), force, rng), 0.01)


def _bird(sound: Sound, rng: np.random.Generator) -> Signal:
    """Songbird: groups of three falling and rising whistles."""
    pitch = pick(sound, ("low", "high"), 2200.0, 3600.0, 5600.0) * rng.uniform(0.95, 1.05)
    count = num_samples(0.09)
    bend = np.sin(np.linspace(0, np.pi, count))
    whistle = ramp(sine(phase(pitch * (1 + 0.35 * bend), count)), 0.015, 0.04)
    drop = ramp(sine(phase(glide(pitch * 1.5, pitch * 0.9, count), count)), 0.01, 0.04)
    every = interval(sound, rng, 1.3, 0.75, 0.42)
    song = [
        (t + d, s, 1.0)
        for t in steady(sound.seconds, every)
        for d, s in ((0, whistle), (0.11, whistle), (0.22, drop))
    ]
    return timeline(num_samples(sound.seconds), song)


def _crickets(sound: Sound, rng: np.random.Generator) -> Stereo:
    """Two insects: pulsed tones near 4.5 kHz in short trills."""
    length = num_samples(sound.seconds)
    rate = pick(sound, ("slow", "fast"), 1.5, 2.5, 4.5)
    insects = []
    for hz in (4300, 4800):
        pulses = np.square(np.maximum(0, sine(phase(rate * 12, length))))
        trill = phase(rate * float(rng.uniform(0.97, 1.03)), length) < 0.6
        insects.append(sine(phase(hz * float(rng.uniform(0.98, 1.02)), length)) * pulses * trill)
    near, far = insects
    return np.stack([near + 0.4 * far, far + 0.4 * near]).astype(np.float32)


def _frog(sound: Sound, rng: np.random.Generator) -> Signal:
    """Croaks: a pulse train through two throat resonances."""
    pulse = pick(sound, ("low", "high"), 45.0, 70.0, 110.0) * rng.uniform(0.95, 1.05)
    scale = pick(sound, ("low", "high"), 0.7, 1.0, 1.6)
    count = num_samples(0.28)
    throat = modes(num_samples(0.05), ((600.0 * scale, 0.008, 1.0), (1450.0 * scale, 0.006, 0.7)))
    croak = timeline(count, [(float(t), throat, 1.0) for t in np.arange(0, 0.26, 1 / pulse)])
    croak = ramp(croak, 0.08, 0.06)
    return timeline(
        num_samples(sound.seconds),
        [
            (float(t), croak, 1.0)
            for t in steady(sound.seconds, interval(sound, rng, 1.1, 0.65, 0.4))
        ],
    )


def render_chirp(sound: Sound, rng: np.random.Generator) -> Signal | Stereo:
    """Calls of an animal, repeated to the end of the clip."""
    return {"bird": _bird, "crickets": _crickets, "frog": _frog}[sound.kind](sound, rng)


def _firing(
    sound: Sound, rng: np.random.Generator, per_second: float, stroke: Piece, uneven: float
) -> Signal:
    """Combustion strokes; `uneven` delays every second one by that fraction of the interval, as in a V-twin."""
    every = 1 / per_second
    starts = np.arange(0, sound.seconds, every)
    starts[1::2] += uneven * every
    gains = rng.uniform(0.8, 1.0, len(starts))
    return timeline(
        num_samples(sound.seconds),
        [(float(t), stroke, float(g)) for t, g in zip(starts, gains, strict=True)],
    )


def _car_idle(sound: Sound, rng: np.random.Generator) -> Signal:
    """Four-stroke engine at idle: soft low strokes at 26 per second, with mechanical hiss."""
    stroke = modes(num_samples(0.12), ((75.0, 0.025, 1.0), (140.0, 0.015, 0.5)))
    rumble = _firing(sound, rng, 26.0 * float(rng.uniform(0.95, 1.05)), stroke, 0.04)
    return rumble + 0.05 * shaped_noise(rng, len(rumble), band(600.0, 4000.0))


def _motorcycle(sound: Sound, rng: np.random.Generator) -> Signal:
    """V-twin: uneven, rasping strokes."""
    stroke = modes(
        num_samples(0.06),
        ((110.0, 0.012, 1.0), (240.0, 0.009, 0.9), (520.0, 0.006, 0.8), (1100.0, 0.003, 0.6)),
    )
    stroke += 0.25 * burst(rng, 0.06, 0.008, 800.0, 5000.0)
    return np.tanh(
        1.5
        * _firing(
            sound,
            rng,
            pick(sound, ("slow", "fast"), 16.0, 32.0, 75.0) * float(rng.uniform(0.95, 1.05)),
            stroke,
            0.3,
        )
    )


def _electric_hum(sound: Sound, rng: np.random.Generator) -> Signal:
    """Mains hum with buzzing harmonics."""
    hz = pick(sound, ("low", "high"), 50.0, 100.0, 200.0)
    length = num_samples(sound.seconds)
    return ramp(tone(phase(hz, length), [1.0, 0.6, 0.35, 0.3, 0.2, 0.15, 0.12, 0.1, 0.08]), 0.02)


def _fan(sound: Sound, rng: np.random.Generator) -> Stereo:
    """Household fan: broad airflow with the beat of the blades."""
    length = num_samples(sound.seconds)
    blades = pick(sound, ("slow", "fast"), 7.0, 18.0, 45.0)
    air = stereo_noise(rng, length, lambda hz: band(70.0, 1200.0)(hz) * shelf(300.0, 0.6)(hz))
    return ramp(
        air * (1 + 0.45 * sine(phase(blades * float(rng.uniform(0.95, 1.05)), length))), 0.02
    )


def _helicopter(sound: Sound, rng: np.random.Generator) -> Stereo:
    """Rotor: noise chopped by each blade, with a low thump."""
    length = num_samples(sound.seconds)
    rate = pick(sound, ("slow", "fast"), 7.0, 11.0, 17.0) * float(rng.uniform(0.95, 1.05))
    chop = np.exp(-6 * phase(rate, length))
    thump = sine(phase(rate * 6, length)) * chop
    return ramp(stereo_noise(rng, length, band(120.0, 1800.0)) * (0.12 + chop) + 1.2 * thump, 0.02)


_ENGINES = {
    "car_idle": _car_idle,
    "motorcycle": _motorcycle,
    "electric_hum": _electric_hum,
    "fan": _fan,
    "helicopter": _helicopter,
}


def render_engine(sound: Sound, rng: np.random.Generator) -> Signal | Stereo:
    """A machine that runs over the whole clip."""
    return _ENGINES[sound.kind](sound, rng)
