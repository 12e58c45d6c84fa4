"""Editing: what is made of a sound that is there already, and loops.

    clip = read_clip("rain.wav")
    vary(model, request, clip, Variation(strength=0.4)).save("other-rain.wav")
    inpaint(model, request, clip, Inpainting(((2.0, 3.5),))).save("repaired.wav")
    extend(model, request, clip, Extension(60.0, prompts=((20.0, "thunder"),))).save("longer.wav")
    make_loop(model, request, Loop(bpm=128, bars=4)).save("loop.wav")

An edit is a value of `auralith.edits`; the request gives the prompt, the seed and how to sample. Each edit is an
ordinary generation that `Steering` leads.
"""

from auralith.editing.clip import Clip, read_clip
from auralith.editing.dispatch import apply, longest_clip, redo
from auralith.editing.extension import extend
from auralith.editing.inpainting import inpaint
from auralith.editing.looping import make_loop
from auralith.editing.variation import vary, vary_batch
from auralith.edits import Extension, Inpainting, Loop, Variation

__all__ = [
    "Clip",
    "Extension",
    "Inpainting",
    "Loop",
    "Variation",
    "apply",
    "extend",
    "inpaint",
    "longest_clip",
    "make_loop",
    "read_clip",
    "redo",
    "vary",
    "vary_batch",
]
