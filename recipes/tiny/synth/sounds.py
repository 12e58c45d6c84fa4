"""What the corpus contains: families, kinds, what may vary in each, and the draw of a `Sound`.

A `Sound` says everything that a caption may state; whatever else varies when it is rendered is small. Variation that
can be heard is drawn from axes: groups of words of which at most one applies ("slow" or "fast"), so that no
contradiction can arise. Some values (tempi, notes, Hz) are reserved for evaluation and never drawn in training.
"""

from dataclasses import dataclass

import numpy as np

from recipes.tiny.synth.pitch import midi_number, note_hz, note_name

LEVEL = ("soft", "loud")
TONE = ("bright", "dark")
HALL = ("reverberant",)
ROOM = ("dry", "reverberant")
PAN = ("left", "right")
STAGE = ("wide", "mono", "left", "right")
DRIVE = ("distorted",)
SPEED = ("slow", "fast")
REGISTER = ("low", "high")
FORCE = ("light", "heavy")
CHARACTER_AXES = (SPEED, REGISTER, FORCE)
"""Axes that belong to the event itself; the others belong to the recording."""

BPM_RANGE = (70, 180)
HZ_RANGE = (65, 2000)
INSTRUMENT_HZ_SHARE = 0.5
HELD_OUT_NOTES = frozenset(
    (
        "D#2",
        "E2",
        "A2",
        "F#3",
        "G3",
        "B3",
        "D4",
        "A#4",
        "C#5",
        "G#5",
    )  # half of them in the range of the bass
)


@dataclass(frozen=True)
class Sound:
    """What a clip is, before it is rendered."""

    family: str
    kind: str
    seconds: float
    """Length of the clip; sustained kinds sound to its end, struck ones may have decayed before."""
    bpm: float | None
    """Integer-valued tempo of a loop."""
    hz: float | None
    """Fundamental of a pitched kind."""
    note: str | None
    """Name of the note when the pitch is given by one; then `hz` is its equal-tempered frequency."""
    descriptors: tuple[str, ...]
    """Audible attributes, one word at most of each axis of the kind."""


@dataclass(frozen=True)
class Traits:
    """What may vary in a kind."""

    family: str
    seconds: tuple[float, float]
    axes: tuple[tuple[str, ...], ...]
    notes: tuple[str, str] | None = None
    bpm: tuple[int, int] | None = None
    """Usual tempo of a style; half of its loops lie there, the other half anywhere in BPM_RANGE."""


_LOOP_AXES = (LEVEL, TONE, HALL, STAGE, DRIVE)
_LONG = (0.8, 6.6)
_EVENTS = (2.0, 6.6)


def _loop(low: int, high: int) -> Traits:
    return Traits("drums", _EVENTS, _LOOP_AXES, bpm=(low, high))


def _hit(*axes: tuple[str, ...]) -> Traits:
    return Traits("hit", (0.8, 2.5), (LEVEL, ROOM, PAN, *axes))


def _note(
    seconds: tuple[float, float], *axes: tuple[str, ...], notes: tuple[str, str] = ("C3", "C6")
) -> Traits:
    return Traits("note", seconds, (LEVEL, *axes), notes)


_CATALOG = {
    "house_loop": _loop(116, 132),
    "techno_loop": _loop(124, 150),
    "hiphop_loop": _loop(78, 104),
    "dnb_loop": _loop(160, 180),
    "rock_loop": _loop(90, 150),
    "trap_loop": _loop(120, 160),
    "metronome": Traits("drums", _EVENTS, (LEVEL, PAN), bpm=BPM_RANGE),
    "kick_pulse": Traits("drums", _EVENTS, (LEVEL, HALL, DRIVE), bpm=BPM_RANGE),
    "kick": _hit(DRIVE),
    "snare": _hit(TONE),
    "closed_hat": _hit(),
    "open_hat": _hit(),
    "crash": _hit(TONE),
    "clap": _hit(TONE),
    "tom": _hit(REGISTER),
    "cowbell": _hit(REGISTER),
    "bass": _note(_LONG, TONE, DRIVE, notes=("C2", "B3")),
    "pluck": _note((0.8, 3.2), TONE, HALL, STAGE),
    "pad": _note((1.5, 6.6), TONE, HALL, STAGE),
    "bell": _note((1.0, 4.0), HALL, STAGE),
    "organ": _note(_LONG, TONE, HALL, STAGE),
    "flute": _note(_LONG, HALL, PAN),
    "electric_piano": _note((0.8, 4.0), TONE, HALL, STAGE),
    "sine_tone": _note(_LONG, PAN),
    "square_tone": _note(_LONG, PAN),
    "saw_tone": _note(_LONG, PAN),
    "noise_riser": Traits("riser", (1.5, 6.6), (LEVEL, HALL, STAGE)),
    "tone_riser": Traits("riser", (1.5, 6.6), (LEVEL, HALL, PAN)),
    "downlifter": Traits("riser", (1.5, 6.6), (LEVEL, HALL, STAGE)),
    "police_siren": Traits("siren", _EVENTS, (SPEED, LEVEL, HALL, PAN)),
    "two_tone_alarm": Traits("siren", _EVENTS, (SPEED, LEVEL, HALL, PAN)),
    "beep_alarm": Traits("siren", _EVENTS, (SPEED, REGISTER, LEVEL, PAN)),
    "rain": Traits("texture", _LONG, (FORCE, LEVEL, STAGE)),
    "wind": Traits("texture", (1.5, 6.6), (FORCE, LEVEL, STAGE)),
    "ocean": Traits("texture", _EVENTS, (FORCE, LEVEL, STAGE)),
    "static": Traits("texture", _LONG, (TONE, LEVEL, STAGE)),
    "fire": Traits("texture", (1.5, 6.6), (FORCE, LEVEL, STAGE)),
    "stream": Traits("texture", (1.5, 6.6), (FORCE, LEVEL, STAGE)),
    "door_knock": Traits("knock", _EVENTS, (SPEED, LEVEL, ROOM, PAN)),
    "hammer_wood": Traits("knock", _EVENTS, (SPEED, LEVEL, ROOM, PAN)),
    "hammer_metal": Traits("knock", _EVENTS, (SPEED, LEVEL, ROOM, PAN)),
    "footsteps_gravel": Traits("footsteps", _EVENTS, (SPEED, LEVEL, PAN)),
    "footsteps_wood": Traits("footsteps", _EVENTS, (SPEED, LEVEL, ROOM, PAN)),
    "footsteps_snow": Traits("footsteps", _EVENTS, (SPEED, LEVEL, PAN)),
    "bird": Traits("chirp", (1.5, 6.6), (SPEED, REGISTER, LEVEL, PAN)),
    "crickets": Traits("chirp", (1.5, 6.6), (SPEED, LEVEL, STAGE)),
    "frog": Traits("chirp", (1.5, 6.6), (SPEED, REGISTER, LEVEL, PAN)),
    "car_idle": Traits("engine", _LONG, (LEVEL, PAN)),
    "motorcycle": Traits("engine", _LONG, (SPEED, LEVEL, PAN)),
    "electric_hum": Traits("engine", _LONG, (REGISTER, LEVEL, PAN)),
    "fan": Traits("engine", _LONG, (SPEED, LEVEL, STAGE)),
    "helicopter": Traits("engine", _LONG, (SPEED, LEVEL, STAGE)),
}
KINDS = tuple(_CATALOG)
FAMILIES = tuple(dict.fromkeys(traits.family for traits in _CATALOG.values()))
TEST_TONES = ("sine_tone", "square_tone", "saw_tone")
_SHARES = {"drums": 0.28, "note": 0.32}


DESCRIPTORS = tuple(
    sorted({word for traits in _CATALOG.values() for axis in traits.axes for word in axis})
)


def family_of(kind: str) -> str:
    """Family of one of KINDS."""
    return _CATALOG[kind].family


def axes_of(kind: str) -> tuple[tuple[str, ...], ...]:
    """Axes of descriptors that a kind may have; at most one word of each applies to a sound."""
    return _CATALOG[kind].axes


def bpm_is_held_out(bpm: float) -> bool:
    """Whether a tempo is reserved for evaluation."""
    return bpm % 7 == 3


def hz_is_held_out(hz: float) -> bool:
    """Whether a frequency that is stated in Hz is reserved for evaluation."""
    return hz % 5 == 2


def is_near_held_out_note(hz: float) -> bool:
    """Whether a frequency lies within a fifth of a semitone of a note reserved for evaluation."""
    return any(abs(12 * np.log2(hz / note_hz(note))) < 0.2 for note in HELD_OUT_NOTES)


def draw_sound(
    rng: np.random.Generator,
    seconds_range: tuple[float, float] = (0.8, 6.6),
    *,
    held_out: bool = False,
) -> Sound:
    """Random sound, its length within `seconds_range`; tempo and pitch are reserved ones exactly if `held_out`."""
    kind = str(rng.choice(KINDS, p=_KIND_WEIGHTS))
    traits = _CATALOG[kind]
    bpm = None if traits.bpm is None else _draw_bpm(rng, traits.bpm, held_out)
    hz, note = _draw_pitch(rng, kind, held_out)
    seconds = _draw_seconds(rng, traits.seconds, seconds_range, bpm)
    return Sound(traits.family, kind, seconds, bpm, hz, note, _draw_descriptors(rng, traits.axes))


def _kind_weights() -> list[float]:
    """Probability of each kind: its family's share, split evenly; families without a share split the rest by kind."""
    families = [traits.family for traits in _CATALOG.values()]
    others = sum(family not in _SHARES for family in families)
    rest = (1 - sum(_SHARES.values())) / others
    return [_SHARES[f] / families.count(f) if f in _SHARES else rest for f in families]


_KIND_WEIGHTS = _kind_weights()


def _draw_bpm(rng: np.random.Generator, usual: tuple[int, int], held_out: bool) -> float:
    low, high = usual if rng.random() < 0.5 else BPM_RANGE
    return float(
        rng.choice([b for b in range(low, high + 1) if bpm_is_held_out(float(b)) == held_out])
    )


def _draw_pitch(
    rng: np.random.Generator, kind: str, held_out: bool
) -> tuple[float | None, str | None]:
    """(Hz, note name or None); test tones are mostly given in whole Hz, drawn evenly over octaves.

    So are instruments at times in training, because a model that only ever heard the training notes would play the
    nearest of them for a note that lies between.
    """
    span = _CATALOG[kind].notes
    if span is None:
        return None, None
    if kind in TEST_TONES and rng.random() < 0.6:
        hz = round(float(np.exp(rng.uniform(*np.log(HZ_RANGE)))))
        hz = hz - hz % 5 + (2 if held_out else int(rng.choice([0, 0, 0, 1, 3, 4])))
        return float(np.clip(hz, 67, 1997) if held_out else max(hz, HZ_RANGE[0])), None
    if kind not in TEST_TONES and not held_out and rng.random() < INSTRUMENT_HZ_SHARE:
        low, high = (np.log(note_hz(note)) for note in span)
        hz = float(round(float(np.exp(rng.uniform(low, high)))))
        if not (hz_is_held_out(hz) or is_near_held_out_note(hz)):
            return hz, None
    names = [note_name(m) for m in range(midi_number(span[0]), midi_number(span[1]) + 1)]
    note = str(rng.choice([n for n in names if (n in HELD_OUT_NOTES) == held_out]))
    return note_hz(note), note


def _draw_seconds(
    rng: np.random.Generator,
    usual: tuple[float, float],
    wanted: tuple[float, float],
    bpm: float | None,
) -> float:
    """Hundredths of a second within `wanted`, and within `usual` and at least four beats where that is possible."""
    least = usual[0] if bpm is None else max(usual[0], 4 * 60 / bpm)
    low, high = np.clip((least, usual[1]), *wanted)
    return float(np.clip(round(rng.uniform(low, high), 2), *wanted))


def _draw_descriptors(
    rng: np.random.Generator, axes: tuple[tuple[str, ...], ...]
) -> tuple[str, ...]:
    """At most one word of each axis; none is the commonest, so that undescribed sounds are alike."""
    drawn = [axis for axis in axes if rng.random() < (0.55 if axis in CHARACTER_AXES else 0.17)]
    return tuple(str(rng.choice(axis)) for axis in drawn)
