"""Held-out prompts in fixed numbers of each kind, each with the sound of the corpus that it describes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

from recipes.embedded.corpus import AnySound, Corpus, Recorded
from recipes.embedded.corpus.captions import caption
from recipes.embedded.corpus.sounds import CHORDAL, Played, instruments
from recipes.tiny import synth
from recipes.tiny.synth.signals import Stereo

SHARES: Mapping[str, float] = {
    "note": 0.26, "bass": 0.08, "chord": 0.14, "phrase": 0.14, "loop": 0.18, "hit": 0.05, "recording": 0.07,
    "procedural": 0.08, "bare": 0.1,
}  # fmt: skip
"""Kinds of sounds; and prompts that name hardly more than an instrument or a style."""
PITCHED = ("note", "bass")
CASES, REFERENCES, BARE = 31, 32, 33
"""Streams of random numbers: the prompts, the sounds that neighbors are looked for among, and the bare prompts."""


@dataclass(frozen=True)
class Case:
    """A prompt and the sound of the corpus that it describes."""

    prompt: str
    group: str
    """A key of `SHARES`."""
    sound: AnySound
    waveform: Stereo


def group_of(sound: AnySound) -> str:
    """Return the key of `SHARES` that a sound counts to if its prompt is not bare."""
    if isinstance(sound, Recorded):
        return "recording"
    if isinstance(sound, synth.Sound):
        return "procedural"
    if sound.form in ("loop", "hit"):
        return sound.form
    is_bass = instruments()[sound.kind]["group"] == "basses"
    if sound.form == "note":
        return "bass" if is_bass else "note"
    return "chord" if sound.form in CHORDAL else "phrase"


def quotas(number: int, corpus: Corpus) -> dict[str, int]:
    """Return the cases of each group, `number` in all; without recordings their share goes to the others."""
    shares = {
        name: share for name, share in SHARES.items() if name != "recording" or corpus.library
    }
    total = sum(shares.values())
    sizes = {name: int(number * share / total) for name, share in shares.items()}
    sizes["note"] += number - sum(sizes.values())
    return sizes


def draw_cases(corpus: Corpus, number: int, seed: int) -> Iterator[Case]:
    """Yield held-out cases; the same ones for the same seed."""
    left = quotas(number, corpus)
    bare = left.pop("bare")
    for index in count():
        if not any(left.values()):
            break
        rng = np.random.default_rng((seed, index, CASES))
        sound = corpus.draw(rng, held_out=True)
        group = group_of(sound)
        if left.get(group):
            left[group] -= 1
            prompt = corpus.caption(sound, rng, held_out=True)
            yield Case(prompt, group, sound, corpus.render(sound, rng))
    yield from islice(_bare_cases(corpus, seed), bare)


def _bare_cases(corpus: Corpus, seed: int) -> Iterator[Case]:
    for index in count():
        rng = np.random.default_rng((seed, index, BARE))
        sound = corpus.draw(rng, held_out=True)
        if isinstance(sound, Played) and sound.form != "hit":
            prompt = caption(sound, rng, held_out=True, bare=True)
            yield Case(prompt, "bare", sound, corpus.render(sound, rng))


def draw_references(corpus: Corpus, per_name: int, seed: int) -> Iterator[tuple[Played, Stereo]]:
    """Yield held-out sounds of instruments and kits, so many of each name, apart from the cases."""
    left: dict[tuple[str, str], int] = {}
    for index in range(400 * per_name):
        rng = np.random.default_rng((seed, index, REFERENCES))
        sound = corpus.draw(rng, held_out=True)
        if not isinstance(sound, Played) or sound.form == "hit":
            continue
        name = timbre_of(sound)
        if left.setdefault(name, per_name):
            left[name] -= 1
            yield sound, corpus.render(sound, rng)


def timbre_of(sound: Played) -> tuple[str, str]:
    """Return what a neighbor must share with a sound: ("kit", its kit) of a loop, else ("instrument", its name)."""
    if sound.form == "loop":
        return "kit", sound.kind.split("/")[1]
    return "instrument", sound.kind
