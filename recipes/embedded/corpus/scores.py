"""Scores: what is played, as notes in time. Every one begins at time 0 and goes on until the sound ends.

A key is a MIDI number. Times follow the tempo exactly, up to fluidsynth's blocks of 1.5 ms; velocities vary a little,
as a player's do.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recipes.embedded.corpus.fonts import Event

QUALITIES = {
    "major": (0, 4, 7),
    "minor": (0, 3, 7),
    "7": (0, 4, 7, 10),
    "minor 7": (0, 3, 7, 10),
    "major 7": (0, 4, 7, 11),
    "diminished": (0, 3, 6),
    "augmented": (0, 4, 8),
    "sus4": (0, 5, 7),
    "power": (0, 7, 12),
}
"""Semitones of each kind of chord above its root."""
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
_PROGRESSIONS = {
    "major": ((0, 7, 9, 5), (0, 5, 7, 0), (0, 9, 5, 7)),
    "minor": ((0, 8, 3, 10), (0, 5, 7, 0)),
}
"""Roots of the chords of a bar each, in semitones above the key's."""


@dataclass(frozen=True)
class Register:
    """Keys that an instrument has, both included."""

    low: int
    high: int

    def place(self, pitch_class: int, near: int) -> int:
        """Return the key of a pitch class nearest to a key, within the register if it can be."""
        key = near + (pitch_class - near + 6) % 12 - 6
        while key < self.low:
            key += 12
        while key > self.high:
            key -= 12
        return key

    @property
    def middle(self) -> int:
        """Return the key in the middle."""
        return (self.low + self.high) // 2


@dataclass(frozen=True)
class Part:
    """Common facts of what is played in a key at a tempo."""

    root: int
    """Pitch class of the key, 0 for C."""
    mode: str
    bpm: float
    seconds: float
    velocity: int
    register: Register


def note(key: int, seconds: float, velocity: int) -> list[Event]:
    """Return one note, held to the end."""
    return [Event(0.0, seconds, key, velocity)]


def chord_keys(root: int, quality: str, register: Register) -> list[int]:
    """Return the keys of a chord in close position, its root as low as the register's middle allows."""
    first = register.place(root, max(register.low, register.middle - 7))
    return [first + step for step in QUALITIES[quality]]


def chord(
    keys: Sequence[int], seconds: float, velocity: int, rng: np.random.Generator
) -> list[Event]:
    """Return a chord struck at once and held to the end."""
    return [Event(0.0, seconds, key, _around(velocity, rng)) for key in keys]


def guitar_keys(root: int, quality: str, register: Register) -> list[int]:
    """Return five or six strings' notes of a chord, its root lowest."""
    steps = QUALITIES[quality]
    first = register.place(root, register.low + 5)
    keys = [first + step + 12 * octave for octave in range(3) for step in steps]
    return keys[: 6 if first < register.low + 8 else 5]


def strum(
    keys: Sequence[int],
    onset: float,
    duration: float,
    velocity: int,
    rng: np.random.Generator,
    up: bool = False,
) -> list[Event]:
    """Return a chord whose strings sound one after another, from the highest for an upstroke."""
    ordered = list(reversed(keys))[:4] if up else list(keys)
    gap = float(rng.uniform(0.006, 0.018))
    return [
        Event(onset + gap * i, duration - gap * i, key, _around(velocity - (12 if up else 0), rng))
        for i, key in enumerate(ordered)
    ]


def strumming(
    keys: Sequence[int], bpm: float, seconds: float, velocity: int, rng: np.random.Generator
) -> list[Event]:
    """Return a bar's strumming pattern of eighth notes, repeated."""
    pattern = str(rng.choice(("D.DUD.DU", "D...D.DU", "D.DU.UDU", "DUDUDUDU", "D.D.D.DU")))
    eighth, events, at = 30.0 / bpm, [], 0.0
    index = 0
    while at < seconds:
        stroke = pattern[index % len(pattern)]
        if stroke != ".":
            events += strum(keys, at, 2 * eighth, velocity, rng, up=stroke == "U")
        at, index = at + eighth, index + 1
    return events


def arpeggio(
    keys: Sequence[int], bpm: float, seconds: float, velocity: int, rng: np.random.Generator
) -> list[Event]:
    """Return the notes of a chord one by one, in eighths or sixteenths, up, or up and down."""
    tones = [*keys, keys[0] + 12]
    order = tones if rng.random() < 0.5 else [*tones, *tones[-2:0:-1]]
    step = (30.0 if bpm > 110 or rng.random() < 0.5 else 15.0) / bpm
    count = int(np.ceil(seconds / step))
    return [
        Event(i * step, 1.5 * step, order[i % len(order)], _around(velocity, rng))
        for i in range(count)
    ]


def phrase(part: Part, rng: np.random.Generator) -> list[Event]:
    """Return a melody in a scale that steps more often than it leaps and begins and rests on the chord's tones."""
    scale = [
        step for octave in range(-2, 3) for step in (12 * octave + s for s in SCALES[part.mode])
    ]
    start = part.register.place(part.root, part.register.middle)
    index, events, at = scale.index(0), [], 0.0
    beat = 60.0 / part.bpm
    while at < part.seconds:
        length = beat * float(rng.choice((0.5, 0.5, 1.0, 1.0, 1.5, 2.0)))
        key = start + scale[index]
        if part.register.low <= key <= part.register.high:
            events.append(Event(at, 0.95 * length, key, _around(part.velocity, rng)))
        at += length
        leap = int(rng.choice((-4, -2, -2, -1, -1, -1, 0, 1, 1, 1, 2, 2, 4)))
        index = int(np.clip(index + leap, scale.index(0) - 7, scale.index(0) + 9))
    return events or note(start, part.seconds, part.velocity)


def chords(part: Part, rng: np.random.Generator) -> list[Event]:
    """Return a progression with a chord for each half bar or bar."""
    progression = _PROGRESSIONS[part.mode][int(rng.integers(len(_PROGRESSIONS[part.mode])))]
    length = (120.0 if part.seconds < 480.0 / part.bpm else 240.0) / part.bpm
    events: list[Event] = []
    for number in range(int(np.ceil(part.seconds / length))):
        step = progression[number % len(progression)]
        quality = _diatonic(step, part.mode)
        keys = chord_keys((part.root + step) % 12, quality, part.register)
        events += [
            Event(number * length, 0.97 * length, key, _around(part.velocity, rng)) for key in keys
        ]
    return events


def bass_line(part: Part, rng: np.random.Generator) -> list[Event]:
    """Return a line of eighths of root, fifth and octave with rests, one bar repeated."""
    third = SCALES[part.mode][2]
    bar = [int(rng.choice((0, 0, 0, 7, 12, third, -99, -99))) for _ in range(8)]
    bar[0] = 0
    first, eighth = part.register.place(part.root, part.register.low + 7), 30.0 / part.bpm
    return [
        Event(i * eighth, 0.9 * eighth, first + bar[i % 8], _around(part.velocity, rng))
        for i in range(int(np.ceil(part.seconds / eighth)))
        if bar[i % 8] != -99
    ]


def _diatonic(step: int, mode: str) -> str:
    """Return whether the triad on a step of a scale is major or minor."""
    scale = SCALES[mode]
    return "major" if (step + 4) % 12 in scale and (step + 7) % 12 in scale else "minor"


def _around(velocity: int, rng: np.random.Generator) -> int:
    return int(np.clip(velocity + rng.integers(-6, 7), 1, 127))
