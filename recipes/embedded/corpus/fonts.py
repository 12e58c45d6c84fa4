"""SoundFonts: notes played by fluidsynth, sample by sample the same every time.

Samples are taken as floats, because fluidsynth dithers 16-bit ones with noise that depends on what was played before.
"""

import ctypes
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from auralith.errors import InvalidRequest, ResourceError
from recipes.tiny.synth.signals import SAMPLE_RATE, Stereo, num_samples

FONTS = {
    "fluid": Path("/usr/share/sounds/sf2/FluidR3_GM.sf2"),
    "muse": Path("/usr/share/sounds/sf3/MuseScore_General_Lite.sf3"),
}
"""Fonts of Debian's packages fluid-soundfont-gm and musescore-general-soundfont-small."""
GAIN = 0.4
VOICES = 256
BLOCK = 64
"""Samples that fluidsynth computes at a time: a note begins with one of them."""


@dataclass(frozen=True)
class Preset:
    """A preset of a SoundFont, as "fluid:0:24" names it."""

    font: str
    bank: int
    program: int

    @classmethod
    def parse(cls, text: str) -> "Preset":
        """Return the preset that a text names. Raise `InvalidRequest` if it names none."""
        font, bank, program = text.split(":")
        if font not in FONTS:
            raise InvalidRequest(f"{text} names an unknown font; choose one of {', '.join(FONTS)}")
        return cls(font, int(bank), int(program))


@dataclass(frozen=True)
class Event:
    """A note: onset and duration in seconds, MIDI key (60 is middle C) and velocity (1 to 127)."""

    onset: float
    duration: float
    key: int
    velocity: int


class Player:
    """A synthesizer with the fonts loaded as they are needed; threads play one after another."""

    def __init__(self) -> None:
        """Start fluidsynth without its reverb and chorus. Raise `ResourceError` without the library."""
        try:
            import fluidsynth
        except ImportError as error:
            raise ResourceError(
                "fluidsynth is missing; install Debian's libfluidsynth3 and PyPI's pyfluidsynth"
            ) from error
        self._write: Any = fluidsynth.cfunc(
            "fluid_synth_write_float",
            ctypes.c_int,
            ("synth", ctypes.c_void_p, 1),
            ("len", ctypes.c_int, 1),
            ("lout", ctypes.c_void_p, 1),
            ("loff", ctypes.c_int, 1),
            ("lincr", ctypes.c_int, 1),
            ("rout", ctypes.c_void_p, 1),
            ("roff", ctypes.c_int, 1),
            ("rincr", ctypes.c_int, 1),
        )
        make: Any = fluidsynth.Synth  # annotated as if rates were integers
        self._synth = make(gain=GAIN, samplerate=float(SAMPLE_RATE))
        self._synth.setting("synth.polyphony", VOICES)
        self._synth.setting("synth.reverb.active", 0)
        self._synth.setting("synth.chorus.active", 0)
        self._fonts: dict[str, int] = {}
        self._written = 0
        self._lock = threading.RLock()

    def name(self, preset: Preset) -> str | None:
        """Return what a font calls a preset, None if it lacks it."""
        with self._lock:
            return self._synth.sfpreset_name(self._font(preset.font), preset.bank, preset.program)

    def play(self, preset: Preset, events: Sequence[Event], seconds: float) -> Stereo:
        """Return the sound of notes, exactly so many seconds from time 0."""
        with self._lock:
            return self._play(preset, events, seconds)

    def _play(self, preset: Preset, events: Sequence[Event], seconds: float) -> Stereo:
        font = self._font(preset.font)
        self._silence()
        channel = 9 if preset.bank == 128 else 0
        self._synth.program_select(channel, font, preset.bank, preset.program)
        length = num_samples(seconds)
        out = np.zeros((2, length), np.float32)
        at = 0
        for time, is_on, event in _switches(events, length):
            self._fill(out, at, time)
            at = time
            if is_on:
                self._synth.noteon(channel, event.key, event.velocity)
            else:
                self._synth.noteoff(channel, event.key)
        self._fill(out, at, length)
        return out

    def _silence(self) -> None:
        """End what sounds, and go on to the end of a block, so that the next sound begins with one."""
        for channel in (0, 9):
            self._synth.all_sounds_off(channel)
        self._synth.system_reset()
        rest = np.ones((2, -self._written % BLOCK), np.float32)
        self._fill(rest, 0, rest.shape[1])
        rest = np.ones((2, 64 * BLOCK), np.float32)
        while rest.any():  # a voice that is switched off fades
            self._fill(rest, 0, rest.shape[1])

    def _fill(self, out: Stereo, start: int, stop: int) -> None:
        if stop > start:
            left, right = out[0].ctypes.data, out[1].ctypes.data
            self._write(self._synth.synth, stop - start, left, start, 1, right, start, 1)
            self._written += stop - start

    def _font(self, name: str) -> int:
        if name not in self._fonts:
            path = FONTS[name]
            found = self._synth.sfload(str(path)) if path.is_file() else -1
            if found < 0:
                raise ResourceError(f"{path} can't be loaded; install the package that has it")
            self._fonts[name] = found
            # a voice that was never used sounds a little different
            self.play(Preset(name, 0, 0), [Event(0.0, 0.1, key, 100) for key in range(36, 96)], 0.2)
        return self._fonts[name]


@lru_cache(maxsize=1)
def player() -> Player:
    """Return the synthesizer of this process."""
    return Player()


def _switches(events: Sequence[Event], length: int) -> list[tuple[int, bool, Event]]:
    """Return when notes begin and end, in samples; at one time endings come first."""
    found = []
    for event in events:
        start = num_samples(event.onset)
        if start < length:
            found.append((start, True, event))
            found.append((min(length, num_samples(event.onset + event.duration)), False, event))
    return sorted(found, key=lambda switch: switch[:2])
