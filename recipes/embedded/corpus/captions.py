"""Captions of what is played: a shape, its slots filled, some of the descriptors, and what people add besides.

Beside what they state, captions carry words of quality, lengths, and words that nobody knows: a model that has seen
them beside a known word keeps that word's meaning.
"""

import tomllib
from functools import lru_cache
from typing import Any

import numpy as np

from recipes.embedded.corpus.sounds import CHORDAL, HERE, IN_KEY, ROOTS, Played, drums, instruments
from recipes.tiny.synth.captions import WORDS, articles, typed

ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
).split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
FLATS = {1: "Db", 3: "Eb", 6: "Gb", 8: "Ab", 10: "Bb"}
SHORT_CHORDS = {
    "major": ("", "maj"), "minor": ("m", "min"), "7": ("7",), "minor 7": ("m7",), "major 7": ("maj7",),
    "diminished": ("dim",), "augmented": ("aug",), "sus4": ("sus4",), "power": ("5",),
}  # fmt: skip
LONG_CHORDS = {"7": ("7", "dominant 7th", "seventh"), "minor 7": ("minor 7", "minor seventh"),
               "major 7": ("major 7", "major seventh"), "power": ("power", "5")}  # fmt: skip
BARE_RATE = 0.25
"""Share of captions that name an instrument or a style with one of its values at most, as most people type."""
UNKNOWN_RATE = 0.12
PHRASE_RATE = 0.22
SECONDS_RATE = 0.1
_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwz", "aeiou"


@lru_cache(maxsize=1)
def words() -> dict[str, dict[str, list[str]]]:
    """Return shapes and phrases."""
    return tomllib.loads((HERE / "words.toml").read_text("utf-8"))


def caption(
    sound: Played,
    rng: np.random.Generator,
    *,
    held_out: bool = False,
    plain: bool = False,
    bare: bool | None = None,
) -> str:
    """Return what a person might type to ask for a sound.

    Args:
        held_out: In a wording that no other caption has.
        plain: With nothing that says nothing of it.
        bare: With one of its pitch, chord, key, tempo, style and kit at most; if None by chance, but never where held out.
    """
    if bare is None:
        bare = not held_out and rng.random() < BARE_RATE
    form = "chord" if sound.form == "power_chord" else sound.form
    training, own = ("bare", "held_out_bare") if bare else ("training", "held_out")
    shapes = words()[own if held_out else training][form]
    text = _choice(rng, shapes).format(**_slots(sound, rng))
    text = with_descriptors(text, sound.descriptors, rng)
    return finished(text, sound.seconds, rng, plain=plain)


def finished(text: str, seconds: float, rng: np.random.Generator, *, plain: bool = False) -> str:
    """Return a text with articles, with what people add unless it is to be plain, and in the case of one typist."""
    return typed(articles(text if plain else _with_additions(text, seconds, rng)), rng)


def with_descriptors(text: str, descriptors: tuple[str, ...], rng: np.random.Generator) -> str:
    """Return a text with most of the descriptors, and without its "~"."""
    adjectives, tails = [], []
    for word in descriptors:
        if rng.random() < 0.2:
            continue
        if "~" in text and word in words()["adjectives"] and rng.random() < 0.6:
            adjectives.append(_choice(rng, words()["adjectives"][word]))
        else:
            tails.append(_choice(rng, words()["tails"][word]))
    text = text.replace("~", "".join(f"{word} " for word in adjectives), 1).replace("~", "")
    return (" | " if " | " in text else ", ").join([text, *tails])


def says(text: str, descriptor: str) -> bool:
    """Return whether a caption has one of the phrases of a descriptor, those of computed sounds included."""
    said = text.casefold()
    tables = (words()["adjectives"], words()["tails"], WORDS["adjectives"], WORDS["tails"])
    return any(phrase in said for table in tables for phrase in table.get(descriptor, ()))


def number_words(number: int) -> str:
    """Return a whole number below 1,000 in words."""
    if number < 20:
        return ONES[number]
    if number < 100:
        rest = f"-{ONES[number % 10]}" if number % 10 else ""
        return TENS[number // 10] + rest
    rest = f" {number_words(number % 100)}" if number % 100 else ""
    return f"{ONES[number // 100]} hundred{rest}"


def chord_name(root: int, quality: str, rng: np.random.Generator) -> str:
    """Return a chord as people write it: "C minor", "Cm", "Db maj7"."""
    name = _root_name(root, rng)
    if rng.random() < 0.25 and quality != "major":
        return name + _choice(rng, list(SHORT_CHORDS[quality]))
    return f"{name} {_choice(rng, list(LONG_CHORDS.get(quality, (quality,))))}"


def _slots(sound: Played, rng: np.random.Generator) -> dict[str, Any]:
    if sound.form == "hit":
        hit, kit = sound.kind.split("/")
        return {
            "thing": _choice(rng, drums()["hits"][hit]["words"]),
            "kit": _choice(rng, drums()["kits"][kit]["words"]),
        }
    slots: dict[str, Any] = {}
    if sound.bpm is not None:
        slots |= {"bpm": f"{sound.bpm:.0f}", "tempo": _tempo(int(sound.bpm), rng)}
    if sound.form == "loop":
        style, kit = sound.kind.split("/")
        return slots | {
            "style": _choice(rng, drums()["styles"][style]["words"]),
            "kit": _choice(rng, drums()["kits"][kit]["words"]),
        }
    slots["instrument"] = _choice(rng, instruments()[sound.kind]["words"])
    if sound.note is not None:
        slots["pitch"] = _pitch(sound, rng)
    elif sound.form in CHORDAL:
        slots["chord"] = chord_name(sound.root or 0, sound.quality or "", rng)
    elif sound.form in IN_KEY:
        slots["key"] = f"{_root_name(sound.root or 0, rng)} {sound.quality}"
    return slots


def _pitch(sound: Played, rng: np.random.Generator) -> str:
    if rng.random() < 0.2:
        return f"{sound.hz:.0f} Hz"
    note = sound.note or ""
    if len(note) == 3 and rng.random() < 0.25:  # C#4 is Db4
        note = FLATS[ROOTS.index(note[:2])] + note[2]
    return note


def _tempo(bpm: int, rng: np.random.Generator) -> str:
    draw = rng.random()
    if draw < 0.08:
        return f"{number_words(bpm)} bpm"
    if draw < 0.2:
        return f"{bpm} beats per minute"
    return f"{bpm}bpm" if draw < 0.26 else f"{bpm} BPM"


def _root_name(root: int, rng: np.random.Generator) -> str:
    if root in FLATS:
        draw = rng.random()
        if draw < 0.35:
            return FLATS[root]
        if draw < 0.5:
            return f"{ROOTS[root][0]} sharp"
    return ROOTS[root]


def _with_additions(text: str, seconds: float, rng: np.random.Generator) -> str:
    is_fields = " | " in text
    if not is_fields and rng.random() < PHRASE_RATE / 2:
        text = f"{_choice(rng, words()['phrases']['before'])} {text}"
    tails = []
    if rng.random() < PHRASE_RATE:
        tails.append(_choice(rng, words()["phrases"]["after"]))
    if rng.random() < SECONDS_RATE:
        shown = f"{seconds:.0f}" if rng.random() < 0.7 else f"{seconds:.1f}"
        tails.append(
            _choice(
                rng,
                [f"{shown} seconds", f"over {shown} seconds", f"{shown} s long", f"{shown} sec"],
            )
        )
    if rng.random() < UNKNOWN_RATE:
        tails.append(" ".join(_unknown(rng) for _ in range(int(rng.integers(1, 3)))))
    return (" | " if is_fields else ", ").join([text, *tails])


def _unknown(rng: np.random.Generator) -> str:
    """Return a word that does not exist."""
    syllables = (
        _choice(rng, list(_CONSONANTS)) + _choice(rng, list(_VOWELS))
        for _ in range(int(rng.integers(2, 4)))
    )
    return "".join(syllables) + _choice(rng, ["", "", "n", "r", "st"])


def _choice(rng: np.random.Generator, options: list[str]) -> str:
    return options[int(rng.integers(len(options)))]
