"""Numbers and note names as words: `numeric_value` is what a text encoder needs to embed a tempo, a frequency or a note.

Captions write sharps only; reading accepts flats too, because people type them.
"""

import re

from auralith.controls.notes import is_note, midi_number, note_hz, note_name

__all__ = ["midi_number", "note_hz", "note_name", "numeric_value"]

_NUMBER = re.compile(r"\d+(\.\d+)?")


def numeric_value(token: str) -> float | None:
    """The number that a word states ("128" -> 128.0, "F#3" -> 184.997, in Hz), or None for any other word."""
    if _NUMBER.fullmatch(token):
        return float(token)
    return note_hz(token) if is_note(token) else None
