"""Checks of a sound against what its prompt states: for each control what was asked, what is measured, and whether it is met.

A measure hears the waveform alone. Where it can't tell, a control is neither met nor missed.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from auralith.controls import ends, space
from auralith.controls.events import events
from auralith.controls.key import key
from auralith.controls.measurement import Measurement, Waveform, unknown
from auralith.controls.notes import Key, Note
from auralith.controls.pitch import pitch
from auralith.controls.prompt import Stated, read_prompt
from auralith.controls.tempo import tempo
from auralith.sound.arrays import AnyWaveform, waveform_of
from auralith.sound.levels import SILENCE_DB, decibels
from auralith.sound.loudness import LoudnessMeter


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Largest or least value that meets a control."""

    limit: float
    unit: str
    meaning: str


TOLERANCES = {
    "tempo": Tolerance(2.0, "%", "off the tempo; its double and its half are octave errors"),
    "key": Tolerance(0.0, "", "the same tonic, and the same mode where one is asked"),
    "pitch": Tolerance(
        50.0, "cents", "off the note or frequency, in any octave for a note without one"
    ),
    "count": Tolerance(0.0, "events", "more or fewer"),
    "bars": Tolerance(
        2.0, "%", "off the length of the bars at the tempo that is asked, or else measured"
    ),
    "seconds": Tolerance(
        0.25, "s", "off, of the whole sound or of its last moment within 40 dB of the loudest"
    ),
    "length": Tolerance(0.0, "samples", "more or fewer than the request asks for"),
    "left": Tolerance(3.0, "dB", "louder on the left, at least"),
    "right": Tolerance(3.0, "dB", "louder on the right, at least"),
    "center": Tolerance(1.5, "dB", "louder on one side, at most"),
    "wide": Tolerance(-12.0, "dB", "of side over mid, at least"),
    "mono": Tolerance(-40.0, "dB", "of side over mid, at most"),
    "loop": Tolerance(2.0, "", "times the usual bend of the waveform where it wraps, at most;"),
    "loop level": Tolerance(-4.0, "dB", "around the wrap over the softest nearby, at least"),
    "fade in": Tolerance(12.0, "dB", "below the loudest, steadily, at the start, at least"),
    "fade out": Tolerance(12.0, "dB", "below the loudest, steadily, at the end, at least"),
    "loudness": Tolerance(1.0, "LU", "off, integrated over the sound (ITU-R BS.1770-4)"),
    "silence": Tolerance(SILENCE_DB, "dBFS", "of the peak, at most"),
    "sound": Tolerance(SILENCE_DB, "dBFS", "of the peak, at least, where silence isn't asked for"),
    "start": Tolerance(
        0.05, "of the peak", "at the first sample, at most, where no loop is asked for"
    ),
    "end": Tolerance(
        0.05, "of the peak", "in the last 0.25 ms, at most, where no loop is asked for"
    ),
    "clipping": Tolerance(0.0, "places", "where samples are cut off at full scale"),
}
"""Every control, with what meets it. The last four are asked of every sound."""

DEFAULT_BEATS_PER_BAR = 4.0
_OCTAVES = (0.5, 2.0)


@dataclass(frozen=True, slots=True)
class ControlResult:
    """Result of one control for one sound."""

    control: str
    """A key of `TOLERANCES`."""
    asked: str
    measured: str | None
    """None where the measure can't tell."""
    error: float | None
    """Distance from what was asked for, in the unit of the tolerance, negative below; None where it can't be told."""
    met: bool | None
    reason: str | None = None
    """Says why the measure can't tell."""
    octave: bool = False
    """Twice or half of what was asked. Such a tempo is neither met nor missed, since a beat may be heard either way."""


@dataclass(frozen=True)
class _Sound:
    waveform: Waveform
    sample_rate: int

    @property
    def seconds(self) -> float:
        return self.waveform.shape[1] / self.sample_rate


def check(
    prompt: str | Stated, waveform: AnyWaveform, sample_rate: int, *, seconds: float | None = None
) -> list[ControlResult]:
    """Return a result for each control that a prompt states, and for those that hold for every sound.

    `seconds` is the length that the request asked for; it must be exact to the sample.

    Raises:
        InvalidRequest: `waveform` is not one sound, (channel, sample).
    """
    stated = prompt if isinstance(prompt, Stated) else read_prompt(prompt)
    sound = _Sound(waveform_of(waveform).cpu().numpy(), sample_rate)
    results = [checker(stated, sound) for checker in _STATED_CHECKS]
    if seconds is not None:
        results.append(_check_length(seconds, sound))
    silent = stated.silence is not None
    results += [] if silent else _check_always(stated, sound)
    return [result for result in results if result is not None]


def _check_tempo(stated: Stated, sound: _Sound) -> ControlResult | None:
    if stated.tempo is None:
        return None
    asked = stated.tempo.value
    found = tempo(sound.waveform, sound.sample_rate)
    result = _compared(
        "tempo", f"{asked:g} BPM", found, "{:.1f} BPM", lambda v: 100 * (v / asked - 1)
    )
    limit = TOLERANCES["tempo"].limit / 100
    if found.value is None or not any(abs(found.value / asked / o - 1) <= limit for o in _OCTAVES):
        return result
    return replace(result, met=None, octave=True, reason="twice or half the tempo")


def _check_key(stated: Stated, sound: _Sound) -> ControlResult | None:
    if stated.key is None:
        return None
    asked = stated.key.value
    found = key(sound.waveform, sound.sample_rate)
    if found.value is None:
        return _untold("key", asked.name, found)
    met = found.value.tonic == asked.tonic and asked.mode in (None, found.value.mode)
    return ControlResult("key", asked.name, found.value.name, _fifths(found.value, asked), met)


def _check_pitch(stated: Stated, sound: _Sound) -> ControlResult | None:
    if stated.note is None and stated.frequency is None:
        return None
    note = stated.note.value if stated.note else None
    hz = stated.frequency.value if stated.frequency else None
    name = f"{hz:g} Hz" if hz else note.name if note else ""
    found = pitch(sound.waveform, sound.sample_rate)
    result = _compared("pitch", name, found, "{:.1f} Hz", lambda v: _cents(v, note, hz))
    if result.error is None:
        return result
    off = abs(result.error) % 1_200
    limit = TOLERANCES["pitch"].limit
    return replace(result, octave=not result.met and min(off, 1_200 - off) <= limit)


def _check_count(stated: Stated, sound: _Sound) -> ControlResult | None:
    if stated.count is None:
        return None
    asked = stated.count.value
    found = events(sound.waveform, sound.sample_rate)
    return _compared("count", f"{asked:g}", found, "{:d}", lambda v: v - asked)


def _check_bars(stated: Stated, sound: _Sound) -> ControlResult | None:
    if stated.bars is None:
        return None
    beats = stated.beats_per_bar.value if stated.beats_per_bar else DEFAULT_BEATS_PER_BAR
    found = tempo(sound.waveform, sound.sample_rate)
    bpm = stated.tempo.value if stated.tempo else found.value
    if bpm is None:
        return _untold("bars", f"{stated.bars.value:g}", found)
    measured = Measurement(sound.seconds * bpm / (60 * beats), 1.0)
    asked = stated.bars.value
    return _compared("bars", f"{asked:g}", measured, "{:.2f}", lambda v: 100 * (v / asked - 1))


def _check_seconds(stated: Stated, sound: _Sound) -> ControlResult | None:
    if stated.seconds is None or stated.silence:
        return None
    asked = stated.seconds.value
    sounding = ends.sounding_seconds(sound.waveform, sound.sample_rate)
    if sounding.value is None:
        return _untold("seconds", f"{asked:g} s", sounding)
    nearest = min((sounding.value, sound.seconds), key=lambda value: abs(value - asked))
    measured = Measurement(nearest, 1.0)
    return _compared("seconds", f"{asked:g} s", measured, "{:.2f} s", lambda v: v - asked)


def _check_side(stated: Stated, sound: _Sound) -> ControlResult | None:
    if stated.side is None:
        return None
    side = stated.side.value
    found = space.balance(sound.waveform)
    sign = -1.0 if side == "left" else 1.0
    if side == "center":
        return _compared(side, side, found, "{:+.1f} dB", lambda v: v)
    return _bounded(side, side, found, "{:+.1f} dB", "least", sign)


def _check_width(stated: Stated, sound: _Sound) -> ControlResult | None:
    if stated.width is None:
        return None
    name = stated.width.value
    found = space.width(sound.waveform)
    if name == "mono" and sound.waveform.shape[0] == 1:
        found = Measurement(space.LOWEST_DB, 1.0)
    return _bounded(name, name, found, "{:.1f} dB", "least" if name == "wide" else "most")


def _check_loop(stated: Stated, sound: _Sound) -> ControlResult | None:
    if stated.loop is None:
        return None
    found = ends.seam(sound.waveform, sound.sample_rate)
    return _bounded("loop", "no jump at the wrap", found, "{:.2f}", "most")


def _check_loop_level(stated: Stated, sound: _Sound) -> ControlResult | None:
    if stated.loop is None:
        return None
    found = ends.seam_dip(sound.waveform, sound.sample_rate)
    return _bounded("loop level", "no gap at the wrap", found, "{:+.1f} dB", "least")


def _check_fade_in(stated: Stated, sound: _Sound) -> ControlResult | None:
    if stated.fade_in is None:
        return None
    found = ends.fade(sound.waveform, sound.sample_rate, at_end=False)
    return _bounded("fade in", "fade in", found, "{:.1f} dB", "least")


def _check_fade_out(stated: Stated, sound: _Sound) -> ControlResult | None:
    if stated.fade_out is None:
        return None
    found = ends.fade(sound.waveform, sound.sample_rate, at_end=True)
    return _bounded("fade out", "fade out", found, "{:.1f} dB", "least")


def _check_loudness(stated: Stated, sound: _Sound) -> ControlResult | None:
    if stated.loudness is None:
        return None
    asked = stated.loudness.value
    meter = LoudnessMeter(sound.sample_rate, sound.waveform.shape[0])
    meter.add(np.ascontiguousarray(sound.waveform.T))
    if meter.integrated is None:
        return _untold("loudness", f"{asked:g} LUFS", unknown("too short, or too soft"))
    found = Measurement(meter.integrated, 1.0)
    return _compared("loudness", f"{asked:g} LUFS", found, "{:.1f} LUFS", lambda v: v - asked)


def _check_silence(stated: Stated, sound: _Sound) -> ControlResult | None:
    if stated.silence is None:
        return None
    return _bounded("silence", "silence", _peak(sound), "{:.1f} dBFS", "most")


_STATED_CHECKS: tuple[Callable[[Stated, _Sound], ControlResult | None], ...] = (
    *(_check_tempo, _check_key, _check_pitch, _check_count, _check_bars, _check_seconds),
    *(_check_side, _check_width, _check_loop, _check_loop_level, _check_fade_in, _check_fade_out),
    *(_check_loudness, _check_silence),
)


def _check_length(seconds: float, sound: _Sound) -> ControlResult:
    asked = round(seconds * sound.sample_rate)
    found = Measurement(sound.waveform.shape[1], 1.0)
    return _compared("length", f"{asked:,} samples", found, "{:,}", lambda v: float(v - asked))


def _check_always(stated: Stated, sound: _Sound) -> list[ControlResult]:
    results = [_bounded("sound", "a sound", _peak(sound), "{:.1f} dBFS", "least")]
    if stated.loop is None:
        start = ends.start_level(sound.waveform)
        end = ends.end_level(sound.waveform, sound.sample_rate)
        results.append(_bounded("start", "no click", start, "{:.3f}", "most"))
        results.append(_bounded("end", "no click", end, "{:.3f}", "most"))
    clipped = ends.clipping(sound.waveform)
    results.append(_bounded("clipping", "none", clipped, "{:d}", "most"))
    return results


def _peak(sound: _Sound) -> Measurement[float]:
    return Measurement(decibels(float(np.abs(sound.waveform).max(initial=0.0))), 1.0)


def _compared(
    control: str, asked: str, found: Measurement, form: str, error: Callable[[Any], float]
) -> ControlResult:
    """Return a result whose error, either way, must not be above the tolerance."""
    if found.value is None:
        return _untold(control, asked, found)
    off = float(error(found.value))
    met = abs(off) <= TOLERANCES[control].limit
    return ControlResult(control, asked, form.format(found.value), off, met)


def _bounded(
    control: str,
    asked: str,
    found: Measurement,
    form: str,
    bound: Literal["least", "most"],
    sign: float = 1.0,
) -> ControlResult:
    """Return a result whose value, times a sign, must not be below or above the tolerance; the error is how far it is."""
    if found.value is None:
        return _untold(control, asked, found)
    past = sign * float(found.value) - TOLERANCES[control].limit
    lacking = max(0.0, -past if bound == "least" else past)
    error = -lacking if bound == "least" else lacking
    return ControlResult(control, asked, form.format(found.value), error, not lacking > 0)


def _untold(control: str, asked: str, found: Measurement) -> ControlResult:
    return ControlResult(control, asked, None, None, None, found.reason)


def _cents(found: float, note: Note | None, hz: float | None) -> float:
    if hz is None:
        assert note is not None
        hz = note.hz
    cents = 1_200 * math.log2(found / hz)
    if note is not None and note.octave is None:
        return (cents + 600) % 1_200 - 600
    return cents


def _fifths(found: Key, asked: Key) -> float:
    """Return steps on the circle of fifths from one key's signature to another's; a minor key has that of its relative."""
    first, second = (each.tonic + (3 if each.mode == "minor" else 0) for each in (found, asked))
    return float(((first - second) * 7 + 6) % 12 - 6)
