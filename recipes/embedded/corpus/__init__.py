"""The corpus of the embedded model: instruments and drums of SoundFonts, real recordings, and what is synthesized.

instruments, groups, drums, words  what there is and what it is called, as tables
sounds  the draw of a sound     scores  what is played     fonts  who plays it     recordings  real ones
stage   how it is recorded      captions  what people would type for it
check   presets that don't sound as they are named, measured and left out
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np

from recipes.embedded.corpus import captions, recordings, scores, sounds
from recipes.embedded.corpus.recordings import Library, Recorded
from recipes.embedded.corpus.sounds import Played
from recipes.embedded.corpus.stage import staged
from recipes.tiny import synth
from recipes.tiny.synth.signals import Stereo

AnySound = Played | Recorded | synth.Sound
_TYPES: Mapping[str, type[Any]] = {"Played": Played, "Recorded": Recorded, "Sound": synth.Sound}
SHARES = {"instrument": 0.44, "loop": 0.28, "hit": 0.05, "recording": 0.11, "procedural": 0.12}
UNLIKE = frozenset(
    (
        "footsteps_gravel",
        "footsteps_wood",
        "crash",
        "kick",
        "car_idle",
        "fan",
        "hammer_wood",
        "electric_hum",
        "cowbell",
    )
)
"""Procedural kinds that a tagger of real sound does not recognize; fonts and recordings have them, or nothing has."""
_PROCEDURAL = frozenset(
    kind for kind in synth.KINDS
    if kind not in UNLIKE and (synth.family_of(kind) not in ("drums", "hit", "note") or kind in ("metronome",))
) | {"sine_tone", "square_tone", "saw_tone"}  # fmt: skip
_DESCRIPTORS = tuple(
    sorted({*synth.DESCRIPTORS, *sounds.LENGTH, *(word for axis in sounds.AXES for word in axis)})
)


@dataclass(frozen=True)
class Clip:
    """A rendered sound and its caption."""

    waveform: Stereo
    caption: str
    sound: AnySound


class Corpus:
    """Sounds that are drawn, rendered and described; with a library or without."""

    def __init__(self, library: Library | None = None) -> None:
        self.library = library
        self.labels = _labels(library)
        self.descriptors = _DESCRIPTORS
        shares = {name: share for name, share in SHARES.items() if name != "recording" or library}
        self._names = list(shares)
        self._shares = np.array(list(shares.values())) / sum(shares.values())

    def draw(self, rng: np.random.Generator, *, held_out: bool = False) -> AnySound:
        """Return a sound; a held-out one has presets, notes on an instrument, tempi and recordings of its own."""
        source = str(rng.choice(self._names, p=self._shares))
        if source == "recording":
            assert self.library is not None
            return self.library.draw(rng, held_out=held_out and bool(self.library.held_out))
        if source == "procedural":
            return _procedural(rng, held_out)
        draw = {
            "instrument": sounds.draw_instrument,
            "loop": sounds.draw_loop,
            "hit": sounds.draw_hit,
        }[source]
        return draw(rng, held_out=held_out)

    def render(self, sound: AnySound, rng: np.random.Generator) -> Stereo:
        """Return the waveform of a sound, (2, samples) at 44.1 kHz."""
        if isinstance(sound, synth.Sound):
            return synth.render(sound, rng)
        if isinstance(sound, Recorded):
            assert self.library is not None
            source = self.library.play(sound)
        else:
            source = sounds.play(sound, rng)
        return staged(source, frozenset(sound.descriptors), rng)

    def caption(
        self,
        sound: AnySound,
        rng: np.random.Generator,
        *,
        held_out: bool = False,
        plain: bool = False,
    ) -> str:
        """Return what a person might type to ask for a sound; plain: with nothing that says nothing of it."""
        if isinstance(sound, synth.Sound):
            text = synth.caption(sound, rng, held_out=held_out)
            return text if held_out else captions.finished(text, sound.seconds, rng, plain=plain)
        if isinstance(sound, Recorded):
            text = captions.with_descriptors(sound.text, sound.descriptors, rng)
            return captions.finished(text, sound.seconds, rng, plain=plain)
        return captions.caption(sound, rng, held_out=held_out, plain=plain)

    def label(self, sound: AnySound) -> Mapping[str, str]:
        """Return what a caption tells of a sound: its kind, and of music its form and its chord or key."""
        if isinstance(sound, Recorded):
            assert self.library is not None
            return {"kind": self.library.title(sound.kind)}
        if isinstance(sound, synth.Sound):
            return {"kind": sound.kind}
        kind, _, kit = sound.kind.partition("/")
        labels = {"kind": kind, "form": sound.form}
        if kit:
            labels["kit"] = kit
        if sound.root is not None:
            labels["root"] = sounds.ROOTS[sound.root]
        if sound.quality is not None:
            labels["quality"] = sound.quality
        return labels

    def to_json(self, sound: AnySound) -> dict[str, Any]:
        """Return a sound as JSON values."""
        return {"type": type(sound).__name__, **asdict(sound)}

    def of_json(self, values: dict[str, Any]) -> AnySound:
        """Return the sound that `to_json` gave."""
        values = dict(values)
        kind = _TYPES[values.pop("type")]
        return kind(**values | {"descriptors": tuple(values["descriptors"])})

    def clip(self, seed: int, *, held_out: bool = False) -> Clip:
        """Return the clip of a seed, the same every time."""
        rng = np.random.default_rng((seed, int(held_out)))
        sound = self.draw(rng, held_out=held_out)
        text = self.caption(sound, rng, held_out=held_out)
        return Clip(self.render(sound, rng), text, sound)


def _labels(library: Library | None) -> dict[str, tuple[str, ...]]:
    drums = sounds.drums()
    kinds = [*sounds.instruments(), *drums["styles"], *drums["hits"], *sorted(_PROCEDURAL)]
    if library is not None:
        kinds += library.titles
    return {
        "kind": tuple(dict.fromkeys(kinds)),
        "form": get_args(sounds.Form),
        "kit": tuple(drums["kits"]),
        "root": sounds.ROOTS,
        "quality": tuple(scores.QUALITIES),
    }


def _procedural(rng: np.random.Generator, held_out: bool) -> synth.Sound:
    while True:
        sound = synth.draw_sound(rng, held_out=held_out)
        if sound.kind in _PROCEDURAL:
            return sound


__all__ = [
    "AnySound",
    "Clip",
    "Corpus",
    "Library",
    "Played",
    "Recorded",
    "recordings",
]
