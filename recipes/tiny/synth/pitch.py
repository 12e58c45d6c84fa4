"""Note names and numbers: the values that a caption states.

Equal temperament with A4 = 440 Hz; middle C is C4. Captions write sharps only; reading accepts flats too, because
people type them. `numeric_value` is what a text encoder needs to embed a tempo, a frequency or a note by its size.
"""

import re

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
_NUMBER = re.compile(r"\d+(\.\d+)?")
_NOTE = re.compile(r"([a-g])([#b]?)(\d)")


def note_name(midi: int) -> str:
    """Name of a MIDI note number, with a sharp where one is needed (60 -> "C4", 54 -> "F#3")."""
    return f"{PITCH_CLASSES[midi % 12]}{midi // 12 - 1}"


def midi_number(note: str) -> int:
    """MIDI number of a note name such as "F#3", "f#3" or "Gb3". Raises ValueError for anything else."""
    match = _NOTE.fullmatch(note.lower())
    if match is None:
        raise ValueError(f"{note!r} is not a note name such as C4 or F#3")
    letter, accidental, octave = match.groups()
    shift = {"#": 1, "b": -1, "": 0}[accidental]
    return PITCH_CLASSES.index(letter.upper()) + shift + 12 * (int(octave) + 1)


def note_hz(note: str) -> float:
    """Equal-tempered frequency of a note name, in Hz."""
    return 440.0 * 2.0 ** ((midi_number(note) - 69) / 12)


def numeric_value(token: str) -> float | None:
    """The number that a word states ("128" -> 128.0, "F#3" -> 184.997, in Hz), or None for any other word."""
    if _NUMBER.fullmatch(token):
        return float(token)
    return note_hz(token) if _NOTE.fullmatch(token.lower()) else None
