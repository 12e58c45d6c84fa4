"""The latents of a whole sound, of which a part is known and windows of the rest are generated to fit.

Frames are counted from the beginning of the result. Encoding and decoding a span bring the context that the autoencoder
can see, as tiles do. A window is an ordinary generation whose known frames are held, and it is told where in the whole
it lies.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from auralith.conditioning import MaskedInput
from auralith.editing.constraints import hold
from auralith.errors import Field, InvalidRequest
from auralith.pipeline import Auralith, Steering
from auralith.request import GenerationRequest
from auralith.resolution import Resolver
from auralith.samplers import Step

OnStep = Callable[[Step], None] | None
Span = tuple[int, int]
"""First and the one after the last, in frames or samples."""


@dataclass
class Timeline:
    """Latents of `num_frames`, none of them known at first. `origin` is where frame 0 lies in the result, in samples."""

    model: Auralith
    num_frames: int
    seconds: float
    """Length of the result."""
    origin: int = 0

    def __post_init__(self) -> None:
        channels, device = self.model.config.audio.latent_channels, self.model.device
        self.latents: Float[Tensor, "one channel frame"] = torch.zeros(
            1, channels, self.num_frames, device=device
        )
        self.known: Bool[Tensor, " frame"] = torch.zeros(
            self.num_frames, dtype=torch.bool, device=device
        )

    @torch.inference_mode()
    def set(self, start: int, latents: Float[Tensor, "one channel frame"]) -> None:
        """Latents that are known from frame `start` on."""
        span = slice(start, start + latents.shape[-1])
        self.latents[..., span] = latents
        self.known[span] = True

    @torch.inference_mode()
    def fill(
        self,
        window: Span,
        request: GenerationRequest,
        passes: int,
        on_step: OnStep = None,
        keep: Span | None = None,
    ) -> None:
        """Generate what is unknown in a window of frames, no longer than the model's; all of it, or those of `keep`."""
        start, stop = window
        resolved = self._placed(window, request)
        num_frames = self.model.num_frames(resolved)
        padding = (0, num_frames - (stop - start))
        known = torch.nn.functional.pad(self.latents[..., start:stop], padding)
        held = torch.nn.functional.pad(self.known[start:stop], padding)
        steering = Steering(known * held, hold(known, held), passes)
        if self.model.config.input_ids:  # trained for inpainting: it is shown what is kept
            steering = Steering(shown=MaskedInput.of(known, held.to(known)[None, None]))
        made = self.model.denoise([resolved], steering, on_step)
        first, last = keep or window
        whole = torch.where(held, known, made)
        self.set(first, whole[..., first - start : last - start])

    def decode(self, span: Span) -> Float[Tensor, "channel sample"]:
        """The waveform of known frames; the frames around them are the context, as far as they are known."""
        start, stop = span
        first, last = self._context(start, stop)
        waveform = self.model.decode(self.latents[..., first:last])[0].cpu()
        rate = self.model.config.audio.samples_per_frame
        return waveform[:, (start - first) * rate : (stop - first) * rate]

    def _context(self, start: int, stop: int) -> Span:
        """Return a span with the known frames around it that its sound depends on, from the first of a group on."""
        autoencoder = self.model.autoencoder
        halo, group = autoencoder.decoder_halo, autoencoder.frame_group
        first, last = start, stop
        least = max(0, start - halo) // group * group
        while first > least and self.known[first - 1]:
            first -= 1
        most = min(self.num_frames, -(-(stop + halo) // group) * group)
        while last < most and self.known[last]:
            last += 1
        whole = -(-first // group) * group
        return (whole if whole <= start else first), last

    def _placed(self, window: Span, request: GenerationRequest) -> GenerationRequest:
        """The request for a window. A model that knows no start is told of each window as of a whole recording."""
        audio = self.model.config.audio
        start, stop = window
        seconds = audio.seconds((stop - start) * audio.samples_per_frame)
        if "seconds_start" not in self.model.conditioner.number_ids:
            return self.model.resolve(
                replace(request, seconds_total=seconds, seconds_output=seconds)
            )
        begins = max(0.0, audio.seconds(self.origin + start * audio.samples_per_frame))
        return self.model.resolve(
            replace(
                request,
                seconds_start=begins,
                seconds_total=max(self.seconds, begins + audio.seconds(1)),
                seconds_output=seconds,
            )
        )


def encode_span(
    model: Auralith, waveform: Float[Tensor, "channel sample"], span: Span
) -> Float[Tensor, "one latent frame"]:
    """Latents of some frames of a waveform at the model's rate; silence is what comes after it."""
    start, stop = span
    rate = model.config.audio.samples_per_frame
    halo, group = model.autoencoder.encoder_halo, model.autoencoder.frame_group
    first, last = max(0, start - halo) // group * group, -(-(stop + halo) // group) * group
    latents = model.encode(waveform[None, :, first * rate : last * rate])
    return latents[..., start - first : stop - first]


def fade_samples(model: Auralith, crossfade: float | None, sample_rate: int) -> int:
    """Length of a seam in samples at `sample_rate`: as asked for, or as far as new latents change the sound."""
    audio = model.config.audio
    if crossfade is None:
        crossfade = audio.seconds(model.autoencoder.seam_frames * audio.samples_per_frame)
    return max(1, round(crossfade * sample_rate))


def without_seconds(model: Resolver, request: GenerationRequest, edit: str) -> GenerationRequest:
    """The request with every default filled in but its seconds, which an edit takes from elsewhere.

    Raises `InvalidRequest` where they are given.
    """
    for name, default in (
        ("seconds_total", None),
        ("seconds_start", 0.0),
        ("seconds_output", None),
    ):
        if getattr(request, name) != default:
            raise InvalidRequest(Field(name), f" is set; {edit}, so leave it out")
    resolved = model.resolve(request)
    return replace(resolved, seconds_total=None, seconds_output=None)


def window_seed(seed: int, index: int) -> int:
    """The seed of a window, so that no two of a sound begin with the same noise; the first has the sound's."""
    if not index:
        return seed
    return int(np.random.SeedSequence(seed, spawn_key=(index,)).generate_state(1)[0])
