"""Notes and keys by name, MIDI number and frequency: equal temperament with A4 = 440 Hz; middle C is C4."""

import re
from dataclasses import dataclass
from typing import Literal

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_NOTE = re.compile(r"([a-g])([#b♯♭]?)(\d)", re.IGNORECASE)
_SHIFTS = {"#": 1, "♯": 1, "sharp": 1, "b": -1, "♭": -1, "flat": -1, "": 0}

Mode = Literal["major", "minor"]


@dataclass(frozen=True, slots=True)
class Note:
    """A pitch class (0 is C), in an octave or in any."""

    pitch_class: int
    octave: int | None = None

    @property
    def name(self) -> str:
        octave = "" if self.octave is None else str(self.octave)
        return f"{PITCH_CLASSES[self.pitch_class]}{octave}"

    @property
    def hz(self) -> float:
        """Frequency; that in octave 4 where none is stated."""
        octave = 4 if self.octave is None else self.octave
        return midi_hz(self.pitch_class + 12 * (octave + 1))


@dataclass(frozen=True, slots=True)
class Key:
    """A tonic (0 is C) and a mode, or either mode."""

    tonic: int
    mode: Mode | None = None

    @property
    def name(self) -> str:
        return (
            f"{PITCH_CLASSES[self.tonic]} {self.mode}" if self.mode else PITCH_CLASSES[self.tonic]
        )


def pitch_class(letter: str, accidental: str = "") -> int:
    """Return the number of a pitch class, 0 for C to 11 for B, from a letter and "#", "sharp", "b", "flat" or none."""
    return (PITCH_CLASSES.index(letter.upper()) + _SHIFTS[accidental.lower()]) % 12


def note_name(midi: int) -> str:
    """Return the name of a MIDI number, with a sharp where one is needed (60 -> "C4", 54 -> "F#3")."""
    return f"{PITCH_CLASSES[midi % 12]}{midi // 12 - 1}"


def midi_number(note: str) -> int:
    """Return the MIDI number of a note name such as "F#3", "f#3" or "Gb3". Raise ValueError for anything else."""
    match = _NOTE.fullmatch(note)
    if match is None:
        raise ValueError(f"{note!r} is not a note name such as C4 or F#3")
    letter, accidental, octave = match.groups()
    shift = _SHIFTS[accidental.lower()]
    return PITCH_CLASSES.index(letter.upper()) + shift + 12 * (int(octave) + 1)


def midi_hz(midi: int) -> float:
    """Return the frequency of a MIDI number, in Hz."""
    return 440.0 * 2.0 ** ((midi - 69) / 12)


def note_hz(note: str) -> float:
    """Return the frequency of a note name, in Hz."""
    return midi_hz(midi_number(note))


def is_note(word: str) -> bool:
    """Return whether a word is a note name with its octave."""
    return _NOTE.fullmatch(word) is not None
