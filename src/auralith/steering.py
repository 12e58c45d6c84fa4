"""Inputs that lead a generation from within, beside what its request says."""

from collections.abc import Callable
from dataclasses import dataclass

from auralith.conditioning import MaskedInput
from auralith.diffusion import Predictor
from auralith.noise import NoiseStream
from auralith.sound.arrays import AnyLatents


def _unconstrained(predictor: Predictor) -> Predictor:
    return predictor


@dataclass(frozen=True, eq=False)
class Steering:
    """Inputs that lead a generation besides its request."""

    init_latents: AnyLatents | None = None
    """Noised to the first level and started from, instead of noise alone; of every request, or of a single one without
    the batch axis. As many frames as the request is long."""
    constrain: Callable[[Predictor], Predictor] = _unconstrained
    """Puts something around the network, for every call that the sampler makes."""
    passes: int = 1
    """Times that every stretch of steps is walked; see `auralith.samplers.repaint`."""
    shown: MaskedInput | None = None
    """Part of a sound that a model trained for inpainting sees; None: nothing. Other models lack this input."""
    streams: NoiseStream | None = None
    """Random numbers in place of those of the requests' seeds."""

    @property
    def leads(self) -> bool:
        """Return whether anything leads the generation."""
        given = self.init_latents is not None or self.shown is not None
        return given or self.passes != 1 or self.constrain is not _unconstrained


UNSTEERED = Steering()
