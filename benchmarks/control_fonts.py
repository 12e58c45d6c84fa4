"""Sounds that a SoundFont of real samples plays, from scores whose tempo, key, pitch or number of notes is known.

The program fluidsynth plays them, from MIDI files: notes, drums, phrases and progressions that are written here, MIDI
files of composers found in a folder, and the chorales of the package music21, where that is installed.
"""

import importlib
import importlib.util
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from auralith.controls.notes import Key, midi_hz
from benchmarks.control_sounds import RATE, Case, Part, part_of, starts_apart
from benchmarks.identification_sounds import Mono

DRUMS = -1
"""Stands for the channel of drums, in place of a program."""
_UNPITCHED = {9, 13, 14, 47, 55, *range(96, 104), *range(112, 128)}
"""General MIDI programs without a plain pitch: bells, timpani, hits, effects."""
_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
_CHORDS = {
    "major": ((0, 3, 4, 0), (0, 5, 3, 4), (0, 4, 5, 3)),
    "minor": ((0, 3, 4, 0), (0, 5, 2, 6), (0, 3, 6, 4)),
}
_CHORD_PROGRAMS = (0, 4, 6, 16, 19, 24, 25, 48, 50, 80, 88)

Event = tuple[float, int, int, float, int]
"""Start (s), program or DRUMS, MIDI number, length (s), velocity."""


def played(count: int, rng: np.random.Generator, font: Path) -> Iterator[Case]:
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
        starts = starts_apart(rng, number)
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
    """What fluidsynth plays of notes."""
    with tempfile.TemporaryDirectory() as folder:
        midi = Path(folder, "a.mid")
        midi.write_bytes(midi_file(events))
        return rendered(midi, font)


def rendered(midi: Path, font: Path) -> Mono:
    """What fluidsynth plays of a MIDI file, without its reverb and chorus, as one channel."""
    program = shutil.which("fluidsynth")
    if program is None:
        raise SystemExit("fluidsynth is not installed; install it, or leave --font out")
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder, "a.wav")
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


def composed(
    count: int, part: Part, rng: np.random.Generator, font: Path, folder: Path
) -> Iterator[Case]:
    """Ten seconds out of the middle of MIDI files that keep one tempo."""
    files = sorted(path for path in folder.rglob("*.mid") if part_of(path.name) == part)
    for index in rng.permutation(len(files))[:count].tolist():
        tempi = set(_SET_TEMPO.findall(files[index].read_bytes()))
        if len(tempi) == 1:
            sound = rendered(files[index], font)
            first = max(0, len(sound) // 2 - 5 * RATE)
            bpm = 6e7 / int.from_bytes(tempi.pop())
            yield Case("tempo", "composed MIDI files", bpm, sound[first : first + 10 * RATE])


_SET_TEMPO = re.compile(rb"\xff\x51\x03(...)", re.DOTALL)


def chorales(count: int, part: Part, rng: np.random.Generator, font: Path) -> Iterator[Case]:
    """Chorales of J. S. Bach whose file states key and mode, at 100 beats per minute; none without music21."""
    if importlib.util.find_spec("music21") is None:
        return
    corpus: Any = importlib.import_module("music21.corpus")
    scores: list[tuple[Case, list[Event], float]] = []
    paths = [path for path in corpus.getComposer("bach") if part_of(path.name) == part]
    for index in rng.permutation(len(paths)).tolist():
        score: Any = corpus.parse(paths[index])
        stated = _stated_keys(score)
        if len(stated) != 1:
            continue
        program = int(rng.choice((0, 19, 48, 52, 71)))
        notes = [
            (0.6 * float(each.offset), program, pitch.midi, 0.55 * float(each.quarterLength), 90)
            for each in score.flatten().notes
            for pitch in each.pitches
        ]
        seconds = min(30.0, 0.6 * float(score.highestTime))
        case = Case("key", "chorales", stated.pop(), np.zeros(0, np.float32))
        scores.append((case, [note for note in notes if note[0] < seconds], seconds))
        if len(scores) == count:
            break
    yield from _performed(scores, font)


def _stated_keys(score: Any) -> set[Key]:
    keys = score.recurse().getElementsByClass("Key")
    return {Key(each.tonic.pitchClass, each.mode) for each in keys}
