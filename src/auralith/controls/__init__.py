"""Controls: what a prompt states that can be measured, and whether a sound does it.

prompt    tempo, key, pitch, bars, counts, seconds, placement, loops, fades and silence, read from free text
notes     names, MIDI numbers and frequencies of notes and keys
tempo, key, pitch, events, space, ends   measures of a waveform: a value, or that they can't tell
check     each control that is asked of a sound, with what is measured and whether it is met
summary   rates over many sounds

Docs have the error of each measure (docs/controls.md).
"""

from auralith.controls.check import TOLERANCES, ControlResult, check
from auralith.controls.measurement import Measurement
from auralith.controls.notes import Key, Note
from auralith.controls.prompt import Found, Stated, read_prompt
from auralith.controls.summary import ControlRate, summary, wilson_interval

__all__ = [
    "TOLERANCES",
    "ControlRate",
    "ControlResult",
    "Found",
    "Key",
    "Measurement",
    "Note",
    "Stated",
    "check",
    "read_prompt",
    "summary",
    "wilson_interval",
]
