"""Synthesized sounds whose tempo, pitch, key or number of events is known, and what is done to sounds."""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmarks.identification_sounds import Distortion, Mono, coded, gain, in_white_noise
from recipes.tiny import synth

RATE = synth.SAMPLE_RATE
STYLES = ("house_loop", "techno_loop", "hiphop_loop", "dnb_loop", "rock_loop", "trap_loop")
PITCHED = (
    "bass",
    "pluck",
    "pad",
    "bell",
    "organ",
    "flute",
    "electric_piano",
    "sine_tone",
    "square_tone",
    "saw_tone",
)
TEXTURES = ("rain", "wind", "ocean", "static", "stream", "fire", "fan", "noise_riser")
HITS = ("kick", "snare", "closed_hat", "clap", "tom", "cowbell")


Part = Literal["tuning", "held-out"]
"""Recordings and scores that thresholds were chosen on, and others."""


def part_of(name: str) -> Part:
    """The part that a file belongs to, by a checksum of its name."""
    return "held-out" if zlib.crc32(name.encode()) % 2 else "tuning"


@dataclass(frozen=True)
class Case:
    """A sound and what is true of it; None where a measure should say that it can't tell."""

    control: str
    source: str
    truth: Any
    """Beats per minute, Hz, a key or a number of events."""
    sound: Mono


def reverberant(sound: Mono, rng: np.random.Generator) -> Mono:
    """In a hall: exponentially decaying noise, 1 s to −60 dB, as loud as the dry sound."""
    time = np.arange(RATE) / RATE
    tail = rng.standard_normal(RATE) * 10 ** (-3 * time)
    tail /= np.sqrt(np.square(tail).sum())
    size = len(sound) + RATE
    wet = np.fft.irfft(np.fft.rfft(sound, size) * np.fft.rfft(tail, size), size)[: len(sound)]
    return (sound + wet).astype(np.float32)


CONDITIONS: dict[str, Distortion] = {
    "clean": gain(0),
    "noise, 10 dB": in_white_noise(10),
    "noise, 0 dB": in_white_noise(0),
    "hall": reverberant,
    "mp3": coded("MP3"),
}


def synthesized(count: int, seed: int) -> Iterator[Case]:
    """`count` cases of each source."""
    for make in (_tempi, _pitches, _keyless, _counts):
        for index in range(count):
            yield from make(np.random.default_rng((seed, index, len(make.__name__))), index)


def corpus(kind: str, rng: np.random.Generator, seconds: float, **values: Any) -> Mono:
    """A sound of the embedded model's corpus, as one channel."""
    given = {"bpm": None, "hz": None, "note": None, **values}
    sound = synth.Sound(synth.family_of(kind), kind, seconds, descriptors=(), **given)
    return synth.render(sound, rng).mean(axis=0, dtype=np.float32)


def _tempi(rng: np.random.Generator, index: int) -> Iterator[Case]:
    bpm, seconds = float(rng.integers(70, 181)), float(rng.uniform(4, 6.6))
    yield Case("tempo", "corpus loops", bpm, corpus(STYLES[index % 6], rng, seconds, bpm=bpm))
    kind = TEXTURES[index % len(TEXTURES)]
    yield Case("tempo", "textures", None, corpus(kind, rng, seconds))
    starts = np.cumsum(rng.uniform(0.12, 1.1, 14))
    yield Case("tempo", "irregular hits", None, placed([_hit(rng)] * 14, starts, 6.0))


def _pitches(rng: np.random.Generator, index: int) -> Iterator[Case]:
    hz, seconds = float(np.exp(rng.uniform(*np.log((60, 2_000))))), float(rng.uniform(0.8, 3))
    yield Case(
        "pitch", "corpus notes", hz, corpus(PITCHED[index % len(PITCHED)], rng, seconds, hz=hz)
    )
    kind = TEXTURES[index % (len(TEXTURES) - 1)]
    yield Case("pitch", "textures", None, corpus(kind, rng, seconds))
    chord = hz / 2 * 2 ** (np.array([0, (3, 4)[index % 2], 7]) / 12)
    voices = [corpus("organ", rng, seconds, hz=float(each)) for each in chord]
    yield Case("pitch", "chords", None, np.mean(np.stack(voices), axis=0))


def _keyless(rng: np.random.Generator, index: int) -> Iterator[Case]:
    bpm = float(rng.integers(70, 181))
    yield Case("key", "drums, textures", None, corpus(STYLES[index % 6], rng, 5.0, bpm=bpm))
    yield Case("key", "drums, textures", None, corpus(TEXTURES[index % len(TEXTURES)], rng, 5.0))


def _counts(rng: np.random.Generator, index: int) -> Iterator[Case]:
    number = 1 + index % 8
    sounds = [_hit(rng)] * number
    yield Case("count", "corpus hits", number, placed(sounds, starts_apart(rng, number), 5.5))
    yield Case("count", "textures", None, corpus(TEXTURES[index % len(TEXTURES)], rng, 5.0))


def _hit(rng: np.random.Generator) -> Mono:
    return corpus(str(rng.choice(HITS)), rng, 0.8)


def starts_apart(rng: np.random.Generator, number: int) -> np.ndarray:
    """Times of events at least 0.2 s apart, within 5 s."""
    gaps = rng.uniform(0.2, 1.2, number)
    gaps[0] = rng.uniform(0.0, 0.3)
    return np.cumsum(gaps) * min(1.0, 4.6 / gaps.sum())


def placed(sounds: list[Mono], starts: Iterable[float], seconds: float) -> Mono:
    """Sounds at their times in silence, levels varied a little by turns."""
    out = np.zeros(round(seconds * RATE), np.float32)
    for number, (sound, start) in enumerate(zip(sounds, starts, strict=True)):
        part = out[round(start * RATE) :]
        size = min(len(part), len(sound))
        part[:size] += np.float32(1 - 0.25 * (number % 3)) * sound[:size]
    return out
