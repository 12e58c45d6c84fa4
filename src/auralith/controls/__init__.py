"""Controls: what a prompt states that can be measured, and whether a sound does it.

prompt    tempo, key, pitch, bars, counts, seconds, placement, loops, fades and silence, read from free text
notes     names, MIDI numbers and frequencies of notes and keys
"""

from auralith.controls.notes import Key, Note
from auralith.controls.prompt import Found, Stated, read_prompt

__all__ = ["Found", "Key", "Note", "Stated", "read_prompt"]
