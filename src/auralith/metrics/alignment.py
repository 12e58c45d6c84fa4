"""CLAP score: the cosine of a sound's and its caption's embedding, averaged over ids.

Embedders that crop long sounds at random give another value with each seed; K draws of each sound give the spread that
comes of the crops alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from auralith.errors import shown
from auralith.metrics.values import Values, values_of


@dataclass(frozen=True)
class AlignmentScore:
    """A mean cosine, −1 … 1, with its spread over the draws of the crops."""

    values: Values
    """Mean cosine over the draws for each id."""
    draws: int
    """Fewest draws of a sound that has a value."""
    std_over_draws: float | None
    """Standard deviation (n − 1) of the score of one draw; None below 2 draws."""


def alignment_score(
    audio: Mapping[str, Float[np.ndarray, "_ _"]],
    text: Mapping[str, Float[np.ndarray, "_"]],
    ids: Sequence[str],
    *,
    seed: int = 0,
) -> AlignmentScore:
    """Return the mean over `ids` of the cosine of audio (draw, dim) and text (dim); an id that lacks one has failed.

    Raises:
        InvalidRequest: an id comes twice, or no id has a value.
    """
    cosines: dict[str, np.ndarray] = {}

    def compute(id: str) -> float:
        for table, side in ((audio, "audio"), (text, "text")):
            if id not in table:
                raise ValueError(f"{shown(id)} has no embedding of its {side}")
        cosines[id] = _cosines(audio[id], text[id])
        return float(cosines[id].mean())

    values = values_of(ids, compute, seed=seed)
    used = [cosines[id] for id in values.by_id]
    draws = min(map(len, used))
    scores = np.mean([row[:draws] for row in used], axis=0)
    return AlignmentScore(values, draws, float(scores.std(ddof=1)) if draws > 1 else None)


def _cosines(audio: np.ndarray, text: np.ndarray) -> Float[np.ndarray, " draw"]:
    """Return the cosine of each draw. Raises ValueError where there is none."""
    x, y = np.asarray(audio, np.float64), np.asarray(text, np.float64)
    if x.ndim != 2 or not len(x) or x.shape[1:] != y.shape:
        raise ValueError(f"embeddings of shapes {x.shape} and {y.shape} don't fit")
    norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y)
    if not (np.isfinite(norms) & (norms > 0)).all():
        raise ValueError("an embedding is zero or not finite")
    return x @ y / norms
