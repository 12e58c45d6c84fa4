"""Instrument and kit of a sound: those of the nearest held-out sound in an embedding that others trained."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from auralith.embedders.embedder import Embedder
from recipes.embedded.corpus.sounds import Played
from recipes.embedded.evaluation.cases import timbre_of
from recipes.tiny.synth.signals import SAMPLE_RATE, Stereo

LEAST_SECONDS = 3.2
"""Shorter sounds are padded with silence, so that the embedder has a whole window."""


@dataclass(frozen=True)
class Neighbors:
    """Held-out sounds as vectors of unit length around their mean, each with its timbre."""

    embedder: Embedder
    mean: Float[np.ndarray, " dim"]
    rows: Float[np.ndarray, "sound dim"]
    timbres: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, embedder: Embedder, sounds: Iterable[tuple[Played, Stereo]]) -> "Neighbors":
        """Return the neighbors that sounds make."""
        pairs = [(timbre_of(sound), embedded(embedder, wave)) for sound, wave in sounds]
        rows = np.stack([row for _, row in pairs])
        mean = rows.mean(axis=0)
        return cls(embedder, mean, unit(rows - mean), tuple(timbre for timbre, _ in pairs))

    def name(self, waveform: Stereo, among: str) -> str:
        """Return the instrument or the kit, as `among` says, of the nearest sound by the cosine."""
        row = unit(embedded(self.embedder, waveform) - self.mean)
        fitting = [i for i, (what, _) in enumerate(self.timbres) if what == among]
        return self.timbres[fitting[int((self.rows[fitting] @ row).argmax())]][1]


def embedded(embedder: Embedder, waveform: Stereo) -> Float[np.ndarray, " dim"]:
    """Return the mean over a sound's windows."""
    missing = round(LEAST_SECONDS * SAMPLE_RATE) - waveform.shape[1]
    padded = np.pad(waveform, ((0, 0), (0, max(0, missing))))
    return embedder.embed(torch.from_numpy(padded).float(), SAMPLE_RATE).mean(0).numpy()


def unit(rows: Float[np.ndarray, "*axes dim"]) -> Float[np.ndarray, "*axes dim"]:
    """Return rows of length 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-9)
