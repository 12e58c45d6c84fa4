"""Masks for training a model to inpaint: the mixture of stable-audio-tools' training."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from auralith.errors import Field, InvalidRequest
from auralith.numbers import check_integer


@dataclass(frozen=True)
class InpaintMasks:
    """Shares of items that hide random segments, everything, or what follows a random moment; the defaults are published."""

    segments: float = 0.1
    everything: float = 0.8
    continuation: float = 0.1
    max_segments: int = 10

    def __post_init__(self) -> None:
        shares = (self.segments, self.everything, self.continuation)
        if not (min(shares) >= 0 and abs(sum(shares) - 1) <= 1e-6):
            raise InvalidRequest(
                *(Field("segments"), ", ", Field("everything"), " and ", Field("continuation")),
                f" are {shares}; they must not be negative and add up to 1",
            )
        check_integer(self, "max_segments", 1)

    def kept_frames(
        self, num_sounding: int, num_frames: int, rng: np.random.Generator
    ) -> Float[np.ndarray, " frame"]:
        """Return 1 for frames that are shown, 0 for those to make anew.

        Segments and continuations lie in the first `num_sounding` frames, so the padding behind them is shown.
        """
        kept = np.ones(num_frames, dtype=np.float32)
        num_sounding = min(num_sounding, num_frames)
        kind = rng.choice(3, p=(self.segments, self.everything, self.continuation))
        if kind == 1:
            kept[:] = 0
        elif kind == 2 and num_sounding:
            kept[rng.integers(0, num_sounding, endpoint=True) : num_sounding] = 0
        elif num_sounding:
            self._hide_segments(kept[:num_sounding], rng)
        return kept

    def _hide_segments(self, kept: Float[np.ndarray, " frame"], rng: np.random.Generator) -> None:
        """Hide up to `max_segments` segments, together no longer than the whole; they may overlap."""
        count = int(rng.integers(1, self.max_segments, endpoint=True))
        longest = max(1, len(kept) // count)
        for _ in range(count):
            length = int(rng.integers(1, longest, endpoint=True))
            start = int(rng.integers(0, len(kept) - length, endpoint=True))
            kept[start : start + length] = 0
