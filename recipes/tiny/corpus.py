"""The corpus that a model learns from, as the stages of a recipe see it; here the procedural one.

A corpus draws sounds, describes and renders them. The same generator gives the same sound, caption and waveform.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from recipes.tiny import synth
from recipes.tiny.synth.signals import Stereo


class Describable(Protocol):
    """Facts that every sound states of itself, whatever made it."""

    @property
    def seconds(self) -> float: ...
    @property
    def bpm(self) -> float | None: ...
    @property
    def hz(self) -> float | None: ...
    @property
    def descriptors(self) -> tuple[str, ...]: ...


AnySound = TypeVar("AnySound", bound=Describable)


class Corpus(Protocol, Generic[AnySound]):
    """Sounds without end."""

    @property
    def labels(self) -> Mapping[str, tuple[str, ...]]:
        """Classes that captions tell apart, by the name of what they say: "kind", "chord"."""
        ...

    @property
    def descriptors(self) -> tuple[str, ...]:
        """Words of which a sound may have any number."""
        ...

    def draw(self, rng: np.random.Generator, *, held_out: bool = False) -> AnySound:
        """Return a sound; a held-out one has values that are kept for evaluation."""
        ...

    def caption(self, sound: AnySound, rng: np.random.Generator, *, held_out: bool = False) -> str:
        """Return what a person might type to ask for a sound."""
        ...

    def render(self, sound: AnySound, rng: np.random.Generator) -> Stereo:
        """Return the waveform of a sound, (2, samples) at 44.1 kHz."""
        ...

    def label(self, sound: AnySound) -> Mapping[str, str]:
        """Return the classes of a sound; a name is missing where a sound has none."""
        ...

    def to_json(self, sound: AnySound) -> dict[str, Any]:
        """Return a sound as JSON values."""
        ...

    def of_json(self, values: dict[str, Any]) -> AnySound:
        """Return the sound that `to_json` gave."""
        ...


class ProceduralCorpus:
    """The corpus that arithmetic makes."""

    labels: Mapping[str, tuple[str, ...]] = {"kind": synth.KINDS}
    descriptors = synth.DESCRIPTORS

    def draw(self, rng: np.random.Generator, *, held_out: bool = False) -> synth.Sound:
        return synth.draw_sound(rng, held_out=held_out)

    def caption(
        self, sound: synth.Sound, rng: np.random.Generator, *, held_out: bool = False
    ) -> str:
        return synth.caption(sound, rng, held_out=held_out)

    def render(self, sound: synth.Sound, rng: np.random.Generator) -> Stereo:
        return synth.render(sound, rng)

    def label(self, sound: synth.Sound) -> Mapping[str, str]:
        return {"kind": sound.kind}

    def to_json(self, sound: synth.Sound) -> dict[str, Any]:
        return asdict(sound)

    def of_json(self, values: dict[str, Any]) -> synth.Sound:
        fields: dict[str, Any] = values | {"descriptors": tuple(values["descriptors"])}
        return synth.Sound(**fields)
