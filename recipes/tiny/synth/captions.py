"""Captions: a shape for what the sound is, its slots filled, some of its descriptors, and habits of typing.

A training caption and a held-out one never share a shape. Descriptors are left out often, because people do; those
that are stated stand as adjectives where the shape has a place for them, or follow after a comma.
"""

import re
import tomllib
from pathlib import Path

import numpy as np

from recipes.tiny.synth.sounds import CHARACTER_AXES, TEST_TONES, Sound

WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text(encoding="utf-8"))
_ARTICLE = re.compile(r"\b([Aa])n? (?=(?!aug)(\S+))")
"""Not before "augmented", which follows the root of a chord."""
_VOWEL_SOUND = re.compile(r"[aeio]|u(?!ni|ku)|8\d|11\b|18\b|[aef]#?\d$", re.IGNORECASE)
_CONSONANT_SOUND = re.compile(r"one\b|once\b", re.IGNORECASE)
_MOST_STATED = 2


def caption(sound: Sound, rng: np.random.Generator, *, held_out: bool = False) -> str:
    """A sentence or a line of fields that a person might type to ask for the sound."""
    shapes = WORDS["held_out" if held_out else "training"]
    candidates = [shape for group in _groups(sound) for shape in shapes[group]]
    text = _choice(rng, candidates).format(**_slots(sound, rng))
    text = _with_descriptors(text, sound, rng)
    return typed(articles(text), rng)


def _choice(rng: np.random.Generator, options: list[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _groups(sound: Sound) -> tuple[str, ...]:
    """Names of the groups of shapes that can state everything that must be stated of the sound."""
    if sound.kind in WORDS["styles"]:
        return ("loop", "style")
    if sound.kind in WORDS["pulses"]:
        return ("loop",)
    if sound.hz is None:
        return ("scene",)
    if sound.note is None:
        return ("frequency", "test frequency") if sound.kind in TEST_TONES else ("frequency",)
    return ("note", "held note") if sound.kind in WORDS["sustained"] else ("note",)


def _slots(sound: Sound, rng: np.random.Generator) -> dict[str, str]:
    """Text for each slot that a shape of the sound's groups may have."""
    kind = sound.kind
    if kind in WORDS["things"]:
        thing = _choice(rng, WORDS["things"][kind])
        bare = re.sub(r"^an? ", "", thing)
        return {"thing": thing, "bare": bare, "clause": _choice(rng, WORDS["clauses"][kind])}
    if kind in WORDS["instruments"]:
        pitch = {"hz": f"{sound.hz:.0f}"} if sound.note is None else {"note": sound.note}
        return {"instrument": _choice(rng, WORDS["instruments"][kind]), **pitch}
    bpm = f"{sound.bpm:.0f}"
    if kind in WORDS["pulses"]:
        return {"bpm": bpm, "loop": _choice(rng, WORDS["pulses"][kind])}
    style, noun = _choice(rng, WORDS["styles"][kind]), _choice(rng, WORDS["loops"])
    return {"bpm": bpm, "style": style, "loop_noun": noun, "loop": f"{style} {noun}"}


def _with_descriptors(text: str, sound: Sound, rng: np.random.Generator) -> str:
    """The text with up to two of the sound's descriptors, and without its "~"."""
    known = WORDS["adjectives"] | WORDS["own_adjectives"].get(sound.kind, {})
    adjectives, tails = [], []
    for word in _stated(sound, rng):
        if "~" in text and word in known and rng.random() < 0.65:
            adjectives.append(_choice(rng, known[word]))
        else:
            tails.append(_choice(rng, WORDS["tails"][word]))
    text = text.replace("~", "".join(f"{word} " for word in adjectives), 1)
    return (" | " if " | " in text else ", ").join([text, *tails])


def _stated(sound: Sound, rng: np.random.Generator) -> list[str]:
    """The descriptors that the caption mentions: most that belong to the event, half of those of the recording."""
    character = {word for axis in CHARACTER_AXES for word in axis}
    words = [w for w in sound.descriptors if rng.random() < (0.8 if w in character else 0.5)]
    return words[:_MOST_STATED]


def articles(text: str) -> str:
    """The text with "a" or "an" as the sound of the next word asks."""

    def corrected(match: re.Match[str]) -> str:
        word = match[2].rstrip(",.:")
        vowel = _VOWEL_SOUND.match(word) and not _CONSONANT_SOUND.match(word)
        return f"{match[1]}n " if vowel else f"{match[1]} "

    return _ARTICLE.sub(corrected, text)


def typed(text: str, rng: np.random.Generator) -> str:
    """The text with the case and the final period of one typist."""
    if rng.random() < 0.3:
        text = text.replace("BPM", "bpm")
    habit = rng.random()
    if habit < 0.45:
        text = text[0].upper() + text[1:]
    elif habit < 0.65:
        text = text.lower()
    ends = rng.random() < 0.2 and " | " not in text and not text.endswith(".")
    return f"{text}." if ends else text
