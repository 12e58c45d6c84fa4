"""Sounds whose end runs into their start: a loop is seamless, because nothing in its making depends on where it begins.

The latents are one turn of a circle: the network sees them turned by another angle at every call, the decoder sees the
other end beyond each end. A loop is rarely a whole number of frames long; it is made of the nearest number of them and
its tempo and pitch then moved by the rest (half a frame at most: 0.6 % of four seconds) by resampling it as the
periodic signal it is.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.editing.constraints import join_ends
from auralith.editing.timeline import OnStep, without_seconds
from auralith.edits import Loop
from auralith.errors import Field, InvalidRequest
from auralith.numbers import limit_of
from auralith.pipeline import Audio, Auralith, Steering
from auralith.request import GenerationRequest
from auralith.resolution import Resolver

SHORTEST_FRAMES = 10
"""Below this, half a frame would be more than 5 % of pitch."""
TURNS = 4


def make_loop(
    model: Auralith, request: GenerationRequest, loop: Loop, on_step: OnStep = None
) -> Audio:
    """A loop of exactly its samples. The model is told that it is a part of something longer, which doesn't end.

    Raises `InvalidRequest` if the loop is longer than the model's window, or shorter than ten frames.
    """
    settings = without_seconds(model, request, "a loop has its own length")
    audio, num_samples = model.config.audio, loop.num_samples(model.config.audio.sample_rate)
    require_fit(model, num_samples)
    num_frames = round(num_samples / audio.samples_per_frame)
    placed = model.resolve(
        replace(
            settings,
            seconds_total=audio.seconds(model.config.window_samples),
            seconds_output=audio.seconds(_seen_frames(model, num_frames) * audio.samples_per_frame),
        )
    )
    steering = Steering(constrain=join_ends(num_frames, _turns(loop)))
    latents = model.denoise([placed], steering, on_step)[..., :num_frames]
    waveform = resample_periodic(model.decode_circular(latents)[0].cpu(), num_samples)
    return model.audio(waveform, model.provenance(settings, edit=loop))


def resample_periodic(
    waveform: Float[Tensor, "channel sample"], num_samples: int
) -> Float[Tensor, "channel resampled"]:
    """One period of a periodic signal with another number of samples: its Fourier series, cut or continued by zeros."""
    size = waveform.shape[-1]
    if size == num_samples:
        return waveform
    spectrum = torch.fft.rfft(waveform.double())
    common = math.ceil(min(size, num_samples) / 2)  # below the Nyquist frequency of both
    series = torch.zeros(waveform.shape[0], num_samples // 2 + 1, dtype=spectrum.dtype)
    series[:, :common] = spectrum[:, :common]
    return (torch.fft.irfft(series, num_samples) * (num_samples / size)).to(waveform.dtype)


def require_fit(model: Resolver, num_samples: int) -> None:
    """Raise `InvalidRequest` if a loop of so many samples is longer than the model's window, or shorter than ten frames."""
    audio, longest = model.config.audio, model.config.window_samples
    shortest = SHORTEST_FRAMES * audio.samples_per_frame
    if not shortest <= num_samples <= longest:
        raise InvalidRequest(
            f"the loop is {audio.seconds(num_samples):.3f} s long; this model makes loops from "
            f"{audio.seconds(shortest):.3f} to {audio.seconds(longest):.3f} s: choose other ",
            Field("seconds"),
            ", ",
            Field("bars"),
            " or ",
            Field("bpm"),
            limit=limit_of(least=audio.seconds(shortest), most=audio.seconds(longest)),
        )


def _seen_frames(model: Auralith, num_frames: int) -> int:
    """Return how many frames the network is shown: the loop and half a turn more, as far as its window reaches."""
    return min(num_frames + num_frames // 2, model.config.window_frames)


def _turns(loop: Loop) -> int:
    """Into how many equal parts the circle is turned: of whole beats, where they are known."""
    if loop.bars is None:
        return TURNS
    beats = loop.bars * loop.beats_per_bar
    return next((turns for turns in (TURNS, 3, 5, 2) if beats % turns == 0), max(beats, 2))
