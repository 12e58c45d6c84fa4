"""Drum voices, one-shots of them, and loops that sequence them on a grid of sixteenth notes.

A style is a kit and a bar of sixteen steps for each voice: a digit is a velocity (9 = full), a dot is silence. The
first step sounds at t = 0 and the pattern repeats until the clip ends, so the tempo is exact to a sample.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from recipes.tiny.synth.signals import (
    SAMPLE_RATE,
    Signal,
    Stereo,
    band,
    decay,
    modes,
    num_samples,
    phase,
    ramp,
    shaped_noise,
    sine,
    steady,
    timeline,
    tone,
)
from recipes.tiny.synth.sounds import Sound


def drum_sweep(top: float, floor: float, bend: float, ring: float, seconds: float) -> Signal:
    """Membrane: a sine that falls from `top` to `floor` Hz within about `bend` seconds and rings for `ring`."""
    length = num_samples(seconds)
    hz = floor + (top - floor) * decay(length, bend).astype(np.float64)
    return ramp(sine(phase(hz, length)) * decay(length, ring), 0.0005, 0.02)


def burst(
    rng: np.random.Generator, seconds: float, ring: float, low: float | None, high: float | None
) -> Signal:
    """Band-limited noise that decays from its first sample."""
    length = num_samples(seconds)
    return shaped_noise(rng, length, band(low, high)) * decay(length, ring)


def _tune(rng: np.random.Generator, spread: float = 0.06) -> float:
    return float(rng.uniform(1 - spread, 1 + spread))


def kick(
    rng: np.random.Generator, ring: float = 0.16, floor: float = 50.0, click: float = 0.25
) -> Signal:
    """Bass drum."""
    body = drum_sweep(180.0 * _tune(rng), floor * _tune(rng), 0.03, ring * _tune(rng), 5.0 * ring)
    body[:1000] += np.float32(click) * 0.4 * burst(rng, 1000.0 / SAMPLE_RATE, 0.003, 1500.0, 8000.0)
    return body


def snare(rng: np.random.Generator, ring: float = 0.11, body: float = 190.0) -> Signal:
    """Snare drum."""
    rattle = 0.32 * burst(rng, 0.5, ring * _tune(rng), 1200.0, 9000.0)
    shell = modes(len(rattle), ((body * _tune(rng), 0.06, 0.8), (body * 1.7, 0.04, 0.35)))
    return rattle + shell


def clap(rng: np.random.Generator) -> Signal:
    """Hand clap: three short bursts and a tail."""
    tail = 0.35 * burst(rng, 0.4, 0.09 * _tune(rng), 900.0, 3200.0)
    flams = ((0.0, burst(rng, 0.03, 0.004, 900.0, 3500.0), 0.4) for _ in range(3))
    starts = (0.0, 0.011, 0.022)
    return timeline(
        len(tail),
        [(s, hit, g) for s, (_, hit, g) in zip(starts, flams, strict=True)] + [(0.03, tail, 1.0)],
    )


def _cymbal(rng: np.random.Generator, seconds: float, ring: float, low: float) -> Signal:
    """Noise with a bed of inharmonic square-like partials, as in a struck plate."""
    noise = burst(rng, seconds, ring, low, None)
    turns = [phase(hz * _tune(rng, 0.01), len(noise)) for hz in (5370.0, 6420.0, 8010.0, 9120.0)]
    metal = np.sum([sine(t) for t in turns], axis=0) * decay(len(noise), ring)
    return (0.25 * noise + 0.08 * metal).astype(np.float32)


def closed_hat(rng: np.random.Generator) -> Signal:
    """Closed hi-hat."""
    return _cymbal(rng, 0.2, 0.028 * _tune(rng), 7500.0)


def open_hat(rng: np.random.Generator) -> Signal:
    """Open hi-hat."""
    return ramp(_cymbal(rng, 0.8, 0.17 * _tune(rng), 6500.0), 0.0, 0.05)


def crash(rng: np.random.Generator) -> Signal:
    """Crash cymbal."""
    wash = 0.3 * burst(rng, 2.4, 0.5 * _tune(rng), 2500.0, 14000.0)
    wash[: num_samples(0.2)] += 0.3 * burst(rng, 0.2, 0.03, 800.0, 6000.0)
    return ramp(wash, 0.001, 0.1)


def tom(rng: np.random.Generator, floor: float = 130.0) -> Signal:
    """Tom-tom."""
    skin = drum_sweep(floor * 1.7, floor * _tune(rng, 0.03), 0.04, 0.2 * _tune(rng), 1.0)
    skin[: num_samples(0.1)] += 0.1 * burst(rng, 0.1, 0.01, 500.0, 4000.0)
    return skin


def cowbell(rng: np.random.Generator, low: float = 560.0) -> Signal:
    """Cowbell: two square-like tones a detuned fifth apart."""
    low *= _tune(rng, 0.03)
    length = num_samples(0.8)
    odd = [1.0, 0.0, 0.35, 0.0, 0.15, 0.0, 0.08]
    pair = tone(phase(low, length), odd) + tone(phase(low * 1.48, length), odd)
    return pair * (0.6 * decay(length, 0.04) + 0.4 * decay(length, 0.16 * _tune(rng)))


def metronome_click(rng: np.random.Generator) -> Signal:
    """Click of a metronome."""
    hz = 1600 * _tune(rng, 0.04)
    return modes(num_samples(0.08), ((hz, 0.012, 1.0), (hz * 2.4, 0.006, 0.5)))


def _rumble(rng: np.random.Generator) -> Signal:
    """Low answer between two techno kicks."""
    return ramp(burst(rng, 0.16, 0.1, 35.0, 110.0), 0.02, 0.04)


@dataclass(frozen=True)
class _Voice:
    make: Callable[[np.random.Generator], Signal]
    bars: tuple[str, ...]
    gain: float
    pan: float = 0.0


_STYLES: dict[str, tuple[_Voice, ...]] = {
    "house_loop": (
        _Voice(kick, ("9...9...9...9...",), 0.9),
        _Voice(clap, ("....9.......9...",), 0.8),
        _Voice(open_hat, ("..8...8...8...8.",), 0.7, 0.15),
        _Voice(closed_hat, ("5...5...5...5...", "5..35..35..35..3"), 0.5, -0.15),
    ),
    "techno_loop": (
        _Voice(lambda rng: np.tanh(2.5 * kick(rng, 0.13, 47.0, 0.5)), ("9...9...9...9...",), 0.9),
        _Voice(_rumble, (".677.677.677.677",), 0.2),
        _Voice(closed_hat, ("4396439643964396", "4496449644964496"), 0.8, 0.2),
    ),
    "hiphop_loop": (
        _Voice(
            lambda rng: kick(rng, 0.2, 52.0, 0.3), ("9......7..9.....", "9.....7...9....."), 1.0
        ),
        _Voice(lambda rng: snare(rng, 0.14, 175.0), ("....9.......9...",), 0.9),
        _Voice(closed_hat, ("8.6.8.6.8.6.8.6.",), 0.7, 0.2),
    ),
    "dnb_loop": (
        _Voice(lambda rng: kick(rng, 0.09, 58.0, 0.4), ("9.........9.....",), 0.9),
        _Voice(lambda rng: snare(rng, 0.09, 230.0), ("....9..3.3..9...", "....9..3.3..9..3"), 1.0),
        _Voice(closed_hat, ("8.6.8.6.8.6.8.6.", "8.6.8.668.6.8.66"), 0.7, 0.2),
    ),
    "rock_loop": (
        _Voice(
            lambda rng: kick(rng, 0.1, 65.0, 0.6), ("9.......9.......", "9.......9.9....."), 0.9
        ),
        _Voice(lambda rng: snare(rng, 0.16, 200.0), ("....9.......9...",), 1.0),
        _Voice(open_hat, ("7.5.7.5.7.5.7.5.",), 0.5, 0.25),
    ),
    "trap_loop": (
        _Voice(
            lambda rng: kick(rng, 0.4, 45.0, 0.3), ("9.....7.........", "9.........7....."), 1.0
        ),
        _Voice(clap, ("........9.......",), 0.9),
        _Voice(closed_hat, ("8666866686668999", "8666899986668666"), 0.8, 0.2),
    ),
    "metronome": (_Voice(metronome_click, ("9...9...9...9...",), 1.0),),
    "kick_pulse": (_Voice(kick, ("9...9...9...9...",), 1.0),),
}
_SWING = {"hiphop_loop": 0.16}
_ROLLED_STEPS = "trap_loop"


def render_loop(sound: Sound, rng: np.random.Generator) -> Stereo:
    """Drum loop of the sound's style and tempo, from t = 0 to the end of the clip."""
    assert sound.bpm is not None
    step = 15 / sound.bpm
    out = np.zeros((2, num_samples(sound.seconds)), np.float32)
    for voice in _STYLES[sound.kind]:
        sample = voice.make(rng)
        bar = str(rng.choice(voice.bars))
        rolled = sound.kind == _ROLLED_STEPS and voice.make is closed_hat
        events = _events(sound, bar, step, rolled)
        track = timeline(
            out.shape[1], [(start, sample, gain * voice.gain) for start, gain in events]
        )
        out += np.array([[1 - voice.pan], [1 + voice.pan]], np.float32) * track
    return out


def _events(sound: Sound, bar: str, step: float, rolled: bool) -> list[tuple[float, float]]:
    """(start in seconds, gain) of every hit of a bar that repeats; a rolled voice plays its loudest steps twice."""
    events = []
    for index, start in enumerate(steady(sound.seconds, step)):
        velocity = bar[index % 16]
        if velocity == ".":
            continue
        late = step * _SWING.get(sound.kind, 0.0) * (index % 4 == 2)
        events.append((float(start) + late, int(velocity) / 9))
        if rolled and velocity == "9":
            events.append((float(start) + step / 2, 0.8))
    return events


_REGISTERED = {
    "tom": (tom, {"low": 85.0, "mid": 130.0, "high": 210.0}),
    "cowbell": (cowbell, {"low": 400.0, "mid": 560.0, "high": 800.0}),
}
_HITS = {
    "kick": lambda rng: kick(rng, 0.2),
    "snare": snare,
    "closed_hat": closed_hat,
    "open_hat": lambda rng: _cymbal(rng, 1.4, 0.28, 6500.0),
    "crash": crash,
    "clap": clap,
}


def render_hit(sound: Sound, rng: np.random.Generator) -> Signal:
    """One stroke at t = 0 that decays into silence."""
    if sound.kind in _REGISTERED:
        make, pitches = _REGISTERED[sound.kind]
        register = next((d for d in sound.descriptors if d in pitches), "mid")
        stroke = make(rng, pitches[register])
    else:
        stroke = _HITS[sound.kind](rng)
    return timeline(num_samples(sound.seconds), [(0.0, ramp(stroke, 0.0, 0.03), 1.0)])
