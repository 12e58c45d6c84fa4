"""A corpus as a dataset like any other: recordings that are rendered when they are read."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.data.recording import Recording, Recordings
from auralith.foreign import parse_json
from auralith.sound.extent import SoundInfo
from recipes.tiny.corpus import Corpus, Describable, ProceduralCorpus
from recipes.tiny.synth import SAMPLE_RATE, Sound

FIELD = "sound"


class CorpusRecordings(Recordings):
    """Clips 0 to count − 1. They have no prompt of their own: captions are drawn from the sound in the metadata."""

    def __init__(self, corpus: Corpus[Any], count: int) -> None:
        self._corpus, self._count = corpus, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: int) -> Recording:
        sound = self._corpus.draw(np.random.default_rng((i, 0)))
        name = f"clip-{i:06d}"
        return Recording(name, name, (), {FIELD: json.dumps(self._corpus.to_json(sound))})

    def info(self, i: int) -> SoundInfo:
        seconds = described(self._corpus, self[i].metadata).seconds
        return SoundInfo(round(seconds * SAMPLE_RATE), SAMPLE_RATE, 2)

    def read(
        self, i: int, start: int = 0, stop: int | None = None
    ) -> tuple[Float[Tensor, "channel sample"], int]:
        waveform = rendered(self._corpus, i)
        return torch.from_numpy(waveform[:, start:stop]).float(), SAMPLE_RATE


def rendered(corpus: Corpus[Any], seed: int) -> Float[np.ndarray, "channel sample"]:
    """Return the clip of a seed, whose caption is drawn before it is rendered."""
    rng = np.random.default_rng((seed, 0))
    sound = corpus.draw(rng)
    corpus.caption(sound, rng)
    return corpus.render(sound, rng)


def described(corpus: Corpus[Any], metadata: Mapping[str, str]) -> Describable:
    """Return the sound that a recording of a corpus says it is."""
    return corpus.of_json(parse_json(metadata[FIELD]))


class ProceduralRecordings(CorpusRecordings):
    """Clips of the procedural corpus."""

    def __init__(self, count: int) -> None:
        super().__init__(ProceduralCorpus(), count)


def sound_of(metadata: Mapping[str, str]) -> Sound:
    """Return the sound that a procedural recording says it is."""
    return ProceduralCorpus().of_json(parse_json(metadata[FIELD]))
