"""The procedural corpus as a dataset like any other: recordings that are rendered when they are read."""

import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.data.recording import Recording, Recordings
from auralith.foreign import parse_json
from auralith.sound.reading import SoundInfo
from recipes.tiny.synth import SAMPLE_RATE, Sound, clip, draw_sound

FIELD = "sound"


class ProceduralRecordings(Recordings):
    """Clips 0 to count − 1. They have no prompt of their own: captions are drawn from the sound in the metadata."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, i: int) -> Recording:
        # the first draw of `clip(i)`, without rendering
        sound = draw_sound(np.random.default_rng((i, 0)))
        name = f"clip-{i:06d}"
        return Recording(name, name, (), {FIELD: json.dumps(asdict(sound))})

    def info(self, i: int) -> SoundInfo:
        seconds = sound_of(self[i].metadata).seconds
        return SoundInfo(round(seconds * SAMPLE_RATE), SAMPLE_RATE, 2)

    def read(
        self, i: int, start: int = 0, stop: int | None = None
    ) -> tuple[Float[Tensor, "channel sample"], int]:
        return torch.from_numpy(clip(i).waveform[:, start:stop]).float(), SAMPLE_RATE


def sound_of(metadata: Mapping[str, str]) -> Sound:
    """The sound that a procedural recording says it is."""
    fields = parse_json(metadata[FIELD])
    return Sound(**{**fields, "descriptors": tuple(fields["descriptors"])})
