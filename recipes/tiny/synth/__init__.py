"""Procedural corpus: captioned stereo clips at 44.1 kHz, synthesized from a seed, with a disjoint set for evaluation.

    sounds    what there is: families, kinds, and the draw of a `Sound` (kind, length, tempo, pitch, descriptors)
    words     what it is called          captions  a `Sound` as a sentence
    signals   building blocks            drums, notes, scenes, nature  a `Sound` as a source; stage adds the recording

Every word and number of a caption is audible in the waveform, and tempo, pitch and length are measurable in it.
"""

from dataclasses import dataclass

import numpy as np

from recipes.tiny.synth.captions import caption
from recipes.tiny.synth.pitch import midi_number, note_hz, note_name, numeric_value
from recipes.tiny.synth.signals import SAMPLE_RATE, Stereo
from recipes.tiny.synth.sounds import (
    DESCRIPTORS,
    FAMILIES,
    HELD_OUT_NOTES,
    KINDS,
    Sound,
    axes_of,
    bpm_is_held_out,
    draw_sound,
    family_of,
    hz_is_held_out,
)
from recipes.tiny.synth.stage import render

__all__ = [
    "DESCRIPTORS",
    "FAMILIES",
    "HELD_OUT_NOTES",
    "KINDS",
    "SAMPLE_RATE",
    "Clip",
    "Sound",
    "axes_of",
    "bpm_is_held_out",
    "caption",
    "clip",
    "draw_sound",
    "family_of",
    "hz_is_held_out",
    "midi_number",
    "note_hz",
    "note_name",
    "numeric_value",
    "render",
]


@dataclass(frozen=True)
class Clip:
    """A rendered sound and its caption."""

    waveform: Stereo
    """(2, samples) at SAMPLE_RATE, round(seconds * SAMPLE_RATE) samples, peak at most 0.95."""
    caption: str
    sound: Sound


def clip(seed: int, *, held_out: bool = False) -> Clip:
    """The clip of a seed, the same every time; a held-out one states values and uses shapes of its own."""
    rng = np.random.default_rng((seed, int(held_out)))
    sound = draw_sound(rng, held_out=held_out)
    text = caption(sound, rng, held_out=held_out)
    return Clip(render(sound, rng), text, sound)
