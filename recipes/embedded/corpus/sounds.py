"""Draw of a sound that is played or hit, and its rendering.

A `Played` says everything that its caption may state. What is procedural (nature, machines, sirens, test tones) is a
`Sound` of the small recipe, drawn and rendered there.
"""

import tomllib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from recipes.embedded.corpus import scores
from recipes.embedded.corpus.fonts import Event, Preset, player
from recipes.embedded.corpus.scores import Register
from recipes.tiny.synth.pitch import midi_number, note_hz, note_name
from recipes.tiny.synth.signals import Stereo
from recipes.tiny.synth.sounds import HALL, LEVEL, STAGE, bpm_is_held_out

HERE = Path(__file__).parent
LEFT_OUT = HERE / "left_out.toml"
"""Presets that don't sound as they are named, which `check` writes, with the reasons."""
LENGTH = ("short", "sustained")
AXES = (LEVEL, HALL, STAGE)
ROOTS = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
CHORDS = {"major": 0.34, "minor": 0.34, "7": 0.09, "minor 7": 0.07, "major 7": 0.06, "diminished": 0.03,
          "augmented": 0.02, "sus4": 0.05}  # fmt: skip
LONGEST = 12.0
VELOCITIES = {"soft": (28, 52), "loud": (112, 127), "": (70, 104)}
Form = Literal[
    "note", "chord", "power_chord", "strum", "strumming", "arpeggio", "phrase", "chords", "bass_line", "loop", "hit"
]  # fmt: skip
TIMED = ("strumming", "arpeggio", "phrase", "chords", "bass_line", "loop")
"""Forms with a tempo."""
IN_KEY = {"phrase": scores.phrase, "chords": scores.chords, "bass_line": scores.bass_line}
"""Players of the forms that are in a key."""
CHORDAL = ("chord", "power_chord", "strum", "strumming", "arpeggio")


@dataclass(frozen=True)
class Played:
    """A sound of a SoundFont, before it is rendered; of what has a note, `hz` is its equal-tempered pitch."""

    kind: str
    """Instrument, kind of hit, or "style/kit" of a loop."""
    form: Form
    seconds: float
    preset: str
    velocity: int
    bpm: float | None = None
    hz: float | None = None
    note: str | None = None
    root: int | None = None
    """Pitch class of a chord or a key, 0 for C."""
    quality: str | None = None
    """Kind of chord, or major or minor for a key."""
    descriptors: tuple[str, ...] = ()


def every_instrument() -> Mapping[str, Mapping[str, Any]]:
    """Return the pitched instruments by name, with all of their presets."""
    return tomllib.loads((HERE / "instruments.toml").read_text("utf-8"))


@lru_cache(maxsize=1)
def instruments() -> Mapping[str, Mapping[str, Any]]:
    """Return the pitched instruments by name, without presets that don't sound as they are named."""
    left_out = tomllib.loads(LEFT_OUT.read_text("utf-8")) if LEFT_OUT.is_file() else {}
    found: dict[str, Mapping[str, Any]] = {}
    for name, one in every_instrument().items():
        kept = {
            key: [preset for preset in one[key] if preset not in left_out]
            for key in ("presets", "held_out")
            if key in one
        }
        if kept["presets"]:
            found[name] = {**one, **{key: presets for key, presets in kept.items() if presets}}
            if not kept.get("held_out", True):
                found[name] = {k: v for k, v in found[name].items() if k != "held_out"}
    return found


@lru_cache(maxsize=1)
def groups() -> Mapping[str, Mapping[str, Any]]:
    """Return the groups of instruments by name."""
    return tomllib.loads((HERE / "groups.toml").read_text("utf-8"))


@lru_cache(maxsize=1)
def drums() -> Mapping[str, Mapping[str, Any]]:
    """Return kits, keys, hits and styles."""
    return tomllib.loads((HERE / "drums.toml").read_text("utf-8"))


def draw_instrument(rng: np.random.Generator, *, held_out: bool = False) -> Played:
    """Return a note, a chord, a phrase or the like on an instrument; held out: of a preset for evaluation alone."""
    names = [name for name, one in instruments().items() if not held_out or "held_out" in one]
    name = str(rng.choice(names))
    one = instruments()[name]
    group = groups()[one["group"]]
    forms = {form: share for form, share in group.items() if form != "rings"}
    form = str(rng.choice(list(forms), p=np.array(list(forms.values())) / sum(forms.values())))
    preset = str(rng.choice(one["held_out"] if held_out else one["presets"]))
    says = _descriptors(rng, AXES)
    common: dict[str, Any] = {"kind": name, "form": form, "preset": preset}
    if form == "note":
        return _drawn_note(common, one, bool(group["rings"]), says, rng, held_out)
    bpm = float(rng.choice(_tempi(60, 170, held_out))) if form in TIMED else None
    seconds = _music_seconds(form, bpm, rng)
    quality = _quality(form, rng)
    return Played(
        **common, seconds=seconds, velocity=_velocity(says, rng), bpm=bpm, root=int(rng.integers(12)),
        quality=quality, descriptors=says,
    )  # fmt: skip


def draw_loop(rng: np.random.Generator, *, held_out: bool = False) -> Played:
    """Return a drum loop of a style on a kit."""
    styles, kits = drums()["styles"], drums()["kits"]
    style = str(rng.choice(list(styles)))
    kit = str(rng.choice(styles[style]["kits"]))
    low, high = styles[style]["bpm"] if rng.random() < 0.6 else (70, 180)
    bpm = float(rng.choice(_tempi(low, high, held_out)))
    preset = str(rng.choice(kits[kit]["held_out" if held_out else "presets"]))
    says = _descriptors(rng, AXES)
    return Played(f"{style}/{kit}", "loop", _music_seconds("loop", bpm, rng), preset,
                  _velocity(says, rng), bpm=bpm, descriptors=says)  # fmt: skip


def draw_hit(rng: np.random.Generator, *, held_out: bool = False) -> Played:
    """Return a single hit of a drum or another percussion instrument."""
    name = str(rng.choice(list(drums()["hits"])))
    kit = str(rng.choice(drums()["hits"][name]["kits"]))
    preset = str(rng.choice(drums()["kits"][kit]["held_out" if held_out else "presets"]))
    says = _descriptors(rng, AXES)
    seconds = float(round(rng.uniform(0.6, 2.5), 2))
    return Played(f"{name}/{kit}", "hit", seconds, preset, _velocity(says, rng), descriptors=says)


def play(sound: Played, rng: np.random.Generator) -> Stereo:
    """Return what a sound plays, dry, at the level of its font."""
    return player().play(Preset.parse(sound.preset), _events(sound, rng), sound.seconds)


def _events(sound: Played, rng: np.random.Generator) -> list[Event]:
    if sound.form == "loop":
        return loop_events(sound, rng)
    if sound.form == "hit":
        keys = drums()["keys"][sound.kind.split("/")[0]]
        return scores.note(int(rng.choice(keys)), sound.seconds, sound.velocity)
    one = instruments()[sound.kind]
    register = Register(*(midi_number(note) for note in one["range"]))
    if sound.form == "note":
        assert sound.note is not None
        held = 0.25 if "short" in sound.descriptors else sound.seconds - _release(sound)
        return [Event(0.0, held, midi_number(sound.note), sound.velocity)]
    return _musical_events(sound, register, rng)


def _musical_events(sound: Played, register: Register, rng: np.random.Generator) -> list[Event]:
    root, quality, bpm = sound.root, sound.quality, sound.bpm or 0.0
    assert root is not None and quality is not None
    velocity, seconds = sound.velocity, sound.seconds
    match sound.form:
        case "chord" | "power_chord":
            keys = scores.chord_keys(root, quality, register)
            return scores.chord(keys, seconds - _release(sound), velocity, rng)
        case "strum":
            keys = scores.guitar_keys(root, quality, register)
            return scores.strum(keys, 0.0, seconds - _release(sound), velocity, rng)
        case "strumming":
            keys = scores.guitar_keys(root, quality, register)
            return scores.strumming(keys, bpm, seconds, velocity, rng)
        case "arpeggio":
            return scores.arpeggio(
                scores.chord_keys(root, quality, register), bpm, seconds, velocity, rng
            )
        case _:
            part = scores.Part(root, quality, bpm, seconds, velocity, register)
            return IN_KEY[sound.form](part, rng)


def loop_events(sound: Played, rng: np.random.Generator) -> list[Event]:
    """Return the hits of a loop: a bar of each voice that repeats, swung as the style is."""
    style, keys = drums()["styles"][sound.kind.split("/")[0]], drums()["keys"]
    assert sound.bpm is not None
    step, swing = 15.0 / sound.bpm, style.get("swing", 0.0)
    events = []
    for voice in (name for name in style if name in keys):  # in the order of the table
        bar, key = str(rng.choice(style[voice])), int(keys[voice][0])
        for index in range(int(np.ceil(sound.seconds / step))):
            if bar[index % 16] != ".":
                late = 2 * step * swing * (index % 4 == 2)
                loudness = sound.velocity * int(bar[index % 16]) / 9
                velocity = int(np.clip(loudness + rng.integers(-5, 6), 1, 127))
                events.append(Event(index * step + late, 0.9 * step, key, velocity))
    return events


def _release(sound: Played) -> float:
    """Return the time before the end at which a note is let go, so that it has died away by then."""
    return min(0.3, 0.2 * sound.seconds)


def _drawn_note(
    common: dict[str, Any], one: Mapping[str, Any], rings: bool, says: tuple[str, ...], rng: np.random.Generator,
    held_out: bool,
) -> Played:  # fmt: skip
    low, high = (midi_number(note) for note in one["range"])
    names = [note_name(key) for key in range(low, high + 1)]
    kind = common["kind"]
    fitting = [name for name in names if note_is_held_out(kind, name) == held_out] or names
    name = str(rng.choice(fitting))
    length = ""
    if rng.random() < 0.3:
        length = str(rng.choice(("short",) if rings else LENGTH))
        says = (*says, length)
    span = {"short": (0.6, 1.5), "sustained": (3.0, 8.0)}.get(length, (1.0, 4.5))
    return Played(
        **common, seconds=float(round(rng.uniform(*span), 2)), velocity=_velocity(says, rng), hz=note_hz(name),
        note=name, descriptors=says,
    )  # fmt: skip


def note_is_held_out(instrument: str, note: str) -> bool:
    """Whether a note of an instrument is reserved for evaluation: a seventh of each one's, others on each.

    No note is reserved on all instruments: a model that never heard D4 plays its neighbor instead.
    """
    return (midi_number(note) + zlib.crc32(instrument.encode())) % 7 == 3


def _music_seconds(form: str, bpm: float | None, rng: np.random.Generator) -> float:
    """Return a length: some whole bars of what has a tempo, a third of it cut anywhere; a few long ones."""
    if bpm is None:
        return float(round(rng.uniform(1.2, 5.0), 2))
    bar = 240.0 / bpm
    longest = LONGEST if rng.random() < 0.25 else 7.0
    if rng.random() < 0.5:
        bars = int(rng.integers(1, max(2, int(longest / bar) + 1)))
        return float(round(min(longest, max(bars * bar, 2.0)), 2))
    return float(round(rng.uniform(2.2, longest), 2))


def _quality(form: str, rng: np.random.Generator) -> str:
    if form == "power_chord":
        return "power"
    if form in IN_KEY:
        return str(rng.choice(("major", "minor")))
    return str(rng.choice(list(CHORDS), p=list(CHORDS.values())))


def _tempi(low: int, high: int, held_out: bool) -> list[int]:
    return [bpm for bpm in range(low, high + 1) if bpm_is_held_out(float(bpm)) == held_out]


def _velocity(says: tuple[str, ...], rng: np.random.Generator) -> int:
    word = next((word for word in says if word in VELOCITIES), "")
    return int(rng.integers(*VELOCITIES[word]))


def _descriptors(rng: np.random.Generator, axes: tuple[tuple[str, ...], ...]) -> tuple[str, ...]:
    drawn = [axis for axis in axes if rng.random() < 0.2]
    return tuple(str(rng.choice(axis)) for axis in drawn)
