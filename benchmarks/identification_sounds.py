"""Sounds for the identification benchmark: songs, field recordings, and what becomes of songs in recordings.

A song is drums that repeat bar by bar, a bass, chords and a tune over four chords, all of them synthesized by the
product's own corpus, at whole tempi and in equal temperament: songs of the same style and key share much, and more than
real ones do, since every one is played on the same few instruments by a machine.
"""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import soundfile
import soxr
from jaxtyping import Float32

from recipes.tiny import synth

RATE = synth.SAMPLE_RATE
Mono = Float32[np.ndarray, " sample"]
_STYLES = {
    "house_loop": (116, 133),
    "techno_loop": (124, 151),
    "hiphop_loop": (78, 105),
    "dnb_loop": (160, 181),
    "rock_loop": (90, 151),
    "trap_loop": (120, 161),
}
_SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10))
_CHORDS = ("pad", "organ", "electric_piano")
_TUNES = ("pluck", "bell", "flute", "electric_piano")
_WEATHER = ("rain", "wind", "ocean", "stream")
_FIELD = (*_WEATHER, "fire", "crickets", "bird", "frog", "fan")
_FIELD += ("car_idle", "helicopter", "footsteps_gravel", "electric_hum", "static")


@dataclass
class _Band:
    """One song's instruments, which play a note the same way every time."""

    rng: np.random.Generator
    notes: dict[tuple[str, int, float], Mono] = field(default_factory=dict)

    def note(self, kind: str, midi: int, seconds: float) -> Mono:
        key = kind, midi, round(seconds, 3)
        if key not in self.notes:
            name = synth.note_name(midi)
            sound = synth.Sound("note", kind, seconds, None, synth.note_hz(name), name, ())
            self.notes[key] = _mono(synth.render(sound, self.rng))
        return self.notes[key]


def song(seed: int, seconds: float) -> Mono:
    """A piece of music, the same every time."""
    rng = np.random.default_rng((seed, 1))
    style = str(rng.choice(list(_STYLES)))
    bpm = int(rng.integers(*_STYLES[style]))
    band, bar, length = _Band(rng), 240 / bpm, round(seconds * RATE)
    drums = synth.Sound("drums", style, 2 * bar, float(bpm), None, None, ())
    loop = _mono(synth.render(drums, rng))
    sound = 0.5 * np.resize(loop, length)
    for start, kind, midi, held, gain in _score(rng, bar, seconds):
        _put(sound, start, gain * band.note(kind, midi, held))
    return 0.9 * sound / np.abs(sound).max()


_Event = tuple[float, str, int, float, float]
"""Start (s), instrument, MIDI number, length (s), gain."""


def _score(rng: np.random.Generator, bar: float, seconds: float) -> Iterator[_Event]:
    """Four chords to the end; the tune of four bars comes twice, then another one."""
    root, scale = int(rng.integers(0, 12)), _SCALES[rng.integers(2)]
    chords = [0, *rng.integers(0, 7, 3).tolist()]
    kinds = str(rng.choice(_CHORDS)), str(rng.choice(_TUNES))
    walk = [_tune(rng) for _ in range(2 + int(seconds / bar) // 8)]
    bass = rng.choice(8, int(rng.integers(2, 6)), replace=False)
    for number in range(int(seconds / bar) + 1):
        start, degree = number * bar, chords[number % 4]
        pitches = [_pitch(root, scale, degree + step) for step in (0, 2, 4)]
        yield from ((start, kinds[0], 48 + pitch, bar, 0.25) for pitch in pitches)
        yield from ((start + e * bar / 8, "bass", 36 + pitches[0] % 12, bar / 8, 0.4) for e in bass)
        tune = walk[number // 8][number % 4]
        yield from (
            (start + place * bar / 16, kinds[1], 60 + _pitch(root, scale, step), bar / 4, 0.35)
            for place, step in tune
        )


def _tune(rng: np.random.Generator) -> list[list[tuple[int, int]]]:
    """Four bars of (sixteenth, step of the scale)."""
    steps = np.abs(np.cumsum(rng.integers(-3, 4, 64)))
    places = [np.flatnonzero(rng.random(16) < 0.35).tolist() for _ in range(4)]
    return [[(at, int(steps[16 * i + at]) % 14) for at in bar] for i, bar in enumerate(places)]


def _pitch(root: int, scale: tuple[int, ...], step: int) -> int:
    return root + scale[step % 7] + 12 * (step // 7)


def _put(sound: Mono, start: float, note: Mono) -> None:
    first = round(start * RATE)
    part = sound[first : first + len(note)]
    part += note[: len(part)]


def loops(seed: int, seconds: float) -> Mono:
    """Loops and notes one after another, as they come out of the corpus."""
    rng = np.random.default_rng((seed, 2))
    drums, notes = (_joined(rng, (family,), seconds) for family in ("drums", "note"))
    return 0.6 * drums + 0.4 * notes


def field_recording(seed: int, seconds: float) -> Mono:
    """One kind of weather, animal or machine, its level wandering."""
    rng = np.random.default_rng((seed, 3))
    sound = _joined(rng, (), seconds, str(rng.choice(_FIELD)))
    return (sound * _gusts(rng, len(sound))).astype(np.float32)


def _joined(
    rng: np.random.Generator, families: tuple[str, ...], seconds: float, kind: str = ""
) -> Mono:
    parts, size = [], 0
    while size < seconds * RATE:
        sound = synth.draw_sound(rng)
        if sound.family in families or sound.kind == kind:
            parts.append(_mono(synth.render(sound, rng)))
            size += len(parts[-1])
    return np.concatenate(parts)[: round(seconds * RATE)]


def background(rng: np.random.Generator, size: int) -> Mono:
    """What a microphone outdoors hears: pink and brown noise in gusts, rain or a brook, and mains hum."""
    wind = _gusts(rng, size) * (_colored(rng, size, 2.0) + 0.3 * _colored(rng, size, 1.0))
    weather = _joined(rng, (), size / RATE, str(rng.choice(_WEATHER)))
    time = np.arange(size) / RATE
    hum = np.sum([np.sin(2 * np.pi * 50 * k * time) / k for k in range(1, 8)], axis=0)
    rest = 0.7 * _colored(rng, size, 1.0) + _unit(weather) + 0.2 * _unit(hum)
    return np.asarray(_unit(wind + rest), np.float32)


def _gusts(rng: np.random.Generator, size: int) -> np.ndarray:
    """A level that wanders by some 10 dB, with knots of a second and a half."""
    knots = rng.uniform(-1.2, 0, 2 + round(size / RATE / 1.5))
    return np.exp(np.interp(np.linspace(0, len(knots) - 1, size), np.arange(len(knots)), knots))


def _colored(rng: np.random.Generator, size: int, slope: float) -> np.ndarray:
    """Noise whose power falls as frequency to the `slope`, from 30 Hz on."""
    hz = np.maximum(np.fft.rfftfreq(size, 1 / RATE), 30)
    white = np.fft.rfft(rng.standard_normal(size))
    return _unit(np.fft.irfft(white * hz ** (-slope / 2), size))


def _unit(sound: np.ndarray) -> np.ndarray:
    return sound / max(float(np.sqrt(np.mean(np.square(sound)))), 1e-9)


def _mono(stereo: np.ndarray) -> Mono:
    return stereo.mean(axis=0, dtype=np.float32)


Distortion = Callable[[Mono, np.random.Generator], Mono]


def excerpt(seconds: float) -> Distortion:
    def cut(sound: Mono, rng: np.random.Generator) -> Mono:
        start = int(rng.integers(0, len(sound) - round(seconds * RATE) + 1))
        return sound[start : start + round(seconds * RATE)]

    return cut


def coded(suffix: str) -> Distortion:
    """Through a lossy file format at libsndfile's own bit rate."""

    def code(sound: Mono, rng: np.random.Generator) -> Mono:
        file = io.BytesIO()
        soundfile.write(file, sound.clip(-1, 1), RATE, format=suffix)
        file.seek(0)
        return soundfile.read(file, dtype="float32")[0]

    return code


def gain(db: float) -> Distortion:
    return lambda sound, rng: np.float32(10 ** (db / 20)) * sound


def narrow(rate: int) -> Distortion:
    """At another sample rate and back."""
    return lambda sound, rng: soxr.resample(soxr.resample(sound, RATE, rate), rate, RATE)


def faster(percent: float) -> Distortion:
    """Played faster, and higher with it."""
    return lambda sound, rng: soxr.resample(sound, RATE * (1 + percent / 100), RATE)


def in_white_noise(snr_db: float) -> Distortion:
    return lambda sound, rng: _over(sound, rng.standard_normal(len(sound)), snr_db)


def in_the_field(snr_db: float) -> Distortion:
    return lambda sound, rng: _over(sound, background(rng, len(sound)), snr_db)


def _over(sound: Mono, noise: np.ndarray, snr_db: float) -> Mono:
    mixed = _unit(sound) + _unit(noise) * 10 ** (-snr_db / 20)
    return (0.5 * mixed / np.abs(mixed).max()).astype(np.float32)


def chain(*steps: Distortion) -> Distortion:
    def run(sound: Mono, rng: np.random.Generator) -> Mono:
        for step in steps:
            sound = step(sound, rng)
        return sound

    return run
