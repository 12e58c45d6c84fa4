"""Parts of a sound made anew, also by a model that was not trained for it (RePaint, arXiv 2201.09865).

The latents of the rest are held while the free ones are denoised; see `constraints` and `samplers.repaint`. A model that
was trained for inpainting is shown them in its mask channels instead, and each stretch is walked once. A sound
longer than the model's window is worked on window by window around the ranges. Outside a range and its seams the
result has the file's own samples, at its own rate and channels.
"""

import math
from dataclasses import replace

import torch

from auralith.config import AudioFormat
from auralith.editing.clip import Clip, require_channels
from auralith.editing.splice import place, splice
from auralith.editing.timeline import (
    OnStep,
    Span,
    Timeline,
    encode_span,
    fade_samples,
    window_seed,
    without_seconds,
)
from auralith.edits import Inpainting
from auralith.errors import Field, InvalidRequest
from auralith.pipeline import Audio, Auralith
from auralith.request import GenerationRequest

CONTEXT_SHARE = 8
"""A window keeps at least this part of its length as context on each side of what it fills."""


def inpaint(
    model: Auralith,
    request: GenerationRequest,
    clip: Clip,
    inpainting: Inpainting,
    on_step: OnStep = None,
) -> Audio:
    """The clip with its ranges made anew under the prompt; the rest is its own, sample for sample.

    Raises `InvalidRequest` for a range beyond the end of the clip, or too long for the model; `AudioError` for a clip
    with more channels than the model.
    """
    settings = without_seconds(model, request, "inpainting keeps the length of the sound")
    require_channels(clip, model.config.audio)
    inpainting.require_inside(clip.seconds)
    audio = model.config.audio
    waveform = clip.at(audio)
    num_frames = audio.num_frames(waveform.shape[-1])
    fade = fade_samples(model, inpainting.crossfade, clip.sample_rate)
    margin = audio.num_frames(math.ceil(fade * audio.sample_rate / clip.sample_rate)) + 1
    free = [_frames_of(audio, span, num_frames) for span in inpainting.ranges]
    timeline = Timeline(model, num_frames, clip.seconds)
    windows = _windows(model, free, num_frames, margin)
    for window in windows:
        timeline.set(window[0], encode_span(model, waveform, window))
    for start, stop in free:
        timeline.known[start:stop] = False
    for index, window in enumerate(windows):
        seed = window_seed(settings.seed or 0, index)
        timeline.fill(window, replace(settings, seed=seed), inpainting.passes, on_step)
    made = torch.zeros_like(clip.waveform)
    for span in _joined([(start - margin, stop + margin) for start, stop in free], num_frames):
        place(made, *clip.like(timeline.decode(span), audio, span[0] * audio.samples_per_frame))
    spans = [
        (round(start * clip.sample_rate), round(end * clip.sample_rate))
        for start, end in inpainting.ranges
    ]
    spliced = splice(clip.waveform, made, spans, fade)
    origin = model.provenance(settings, edit=inpainting, source=clip.source)
    return model.audio(spliced, origin, clip.sample_rate, clip.subtype)


def _frames_of(audio: AudioFormat, seconds: tuple[float, float], num_frames: int) -> Span:
    """The frames that hold any of a range."""
    first, last = (audio.num_samples(value) / audio.samples_per_frame for value in seconds)
    start = min(math.floor(first), num_frames - 1)
    return start, max(start + 1, min(math.ceil(last), num_frames))


def _windows(model: Auralith, free: list[Span], num_frames: int, margin: int) -> list[Span]:
    """Windows that together hold all free spans, each with context around what it fills."""
    longest = model.config.window_frames
    if num_frames <= longest:
        return [(0, num_frames)]
    room = longest - 2 * max(longest // CONTEXT_SHARE, margin + model.autoencoder.decoder_halo)
    audio = model.config.audio
    if room < 1:
        raise InvalidRequest(
            Field("ranges"),
            f": this model can't fill parts of sounds longer than its window, "
            f"{audio.seconds(model.config.window_samples):.2f} s; inpaint a shorter sound, or use a shorter crossfade",
        )
    windows: list[Span] = []
    for start, stop in _grouped(free, room):
        if stop - start > room:
            seconds = (audio.seconds(n * audio.samples_per_frame) for n in (stop - start, room))
            raise InvalidRequest(
                Field("ranges"),
                ": {:.2f} s is too long for this model, which fills at most {:.2f} s inside a longer "
                "sound; choose a shorter one".format(*seconds),
            )
        first = min(max(0, (start + stop - longest) // 2), num_frames - longest)
        windows.append((first, first + longest))
    return windows


def _grouped(spans: list[Span], room: int) -> list[Span]:
    """Neighbors together, as many as there is room for."""
    groups = [spans[0]]
    for start, stop in spans[1:]:
        first = groups[-1][0]
        if stop - first <= room:
            groups[-1] = (first, stop)
        else:
            groups.append((start, stop))
    return groups


def _joined(spans: list[Span], num_frames: int) -> list[Span]:
    """Spans cut to the sound; those that meet become one."""
    joined: list[Span] = []
    for start, stop in spans:
        start, stop = max(0, start), min(stop, num_frames)
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined
