"""What a tagger is: one window of mono sound in, the probability of each AudioSet class in each frame out."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class TaggerFacts:
    """A tagger's name and its clock."""

    name: str
    sample_rate: int
    """Hz, of what it hears."""
    window_samples: int
    """Of one window, a whole number of frames."""
    hop_samples: int
    """Of one frame."""

    @property
    def frames_per_window(self) -> int:
        return self.window_samples // self.hop_samples

    def seconds(self, num_frames: int) -> float:
        """Rounded once, so that 3,000 frames of 10 ms are 30 s exactly."""
        return num_frames * self.hop_samples / self.sample_rate

    def frames(self, seconds: float) -> int:
        """The fewest frames that last so long."""
        return -int(-seconds * self.sample_rate // self.hop_samples)


@runtime_checkable
class Tagger(Protocol):
    """Made from names alone; weights are loaded when first needed, and `CheckpointError` is raised then."""

    @property
    def facts(self) -> TaggerFacts: ...

    def weights_sha256(self) -> str:
        """Of the file of weights, in hexadecimal; calculated once."""
        ...

    def framewise(self, waveform: Float[np.ndarray, "sample"]) -> Float[np.ndarray, "frame label"]:
        """Probabilities, 0 … 1, for exactly one window: `frames_per_window` rows of 527."""
        ...
