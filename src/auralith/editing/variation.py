"""The same sound made anew: its latents with noise on them, denoised under the prompt (SDEdit, arXiv 2108.01073)."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.editing.clip import Clip
from auralith.editing.timeline import OnStep, without_seconds
from auralith.edits import Variation
from auralith.errors import Field, InvalidRequest
from auralith.pipeline import Audio, Auralith, Steering
from auralith.request import GenerationRequest, starting_from


def vary(
    model: Auralith,
    request: GenerationRequest,
    clip: Clip,
    variation: Variation,
    on_step: OnStep = None,
) -> Audio:
    """A variation of a clip: as long as it is, at the model's sample rate and channels.

    Raises `InvalidRequest` if the clip is longer than the model's window, or the noise level can't be reached.
    """
    return vary_batch(model, [request], [clip], variation, on_step)[0]


def vary_batch(
    model: Auralith,
    requests: Sequence[GenerationRequest],
    clips: Sequence[Clip],
    variation: Variation,
    on_step: OnStep = None,
) -> list[Audio]:
    """Variations of several clips, the first of the first request and so on."""
    if len(requests) != len(clips):
        raise InvalidRequest(
            f"{len(requests)} prompts and {len(clips)} sounds to vary; give one sound for each prompt"
        )
    waveforms = [_at_model(model, clip) for clip in clips]
    settings = [
        without_seconds(model, request, "a variation is as long as its sound")
        for request in requests
    ]
    placed = [
        _placed(model, request, waveform, variation)
        for request, waveform in zip(settings, waveforms, strict=True)
    ]
    sounds: dict[int, Audio] = {}
    for indices in model.groups(placed):
        group = [placed[index] for index in indices]
        latents = _latents(
            model, group, [waveforms[index] for index in indices], variation, on_step
        )
        for place, index in enumerate(indices):
            size = waveforms[index].shape[-1]
            waveform = _decoded(model, latents[place], size)
            origin = model.provenance(
                settings[index], place, len(group), variation, clips[index].source
            )
            sounds[index] = model.audio(waveform, origin)
    return [sounds[index] for index in range(len(requests))]


def _at_model(model: Auralith, clip: Clip) -> Float[Tensor, "channel sample"]:
    waveform = clip.at(model.config.audio)
    if waveform.shape[-1] > model.config.window_samples:
        longest = model.config.audio.seconds(model.config.window_samples)
        raise InvalidRequest(
            f"the sound is {clip.seconds:.2f} s long; this model varies at most {longest:.2f} s at once: cut it"
        )
    return waveform


def _placed(
    model: Auralith, request: GenerationRequest, waveform: Tensor, variation: Variation
) -> GenerationRequest:
    """The request with the sound's length, and the noise level to start from as its sigma_max."""
    seconds = model.config.audio.seconds(waveform.shape[-1])
    resolved = model.resolve(replace(request, seconds_total=seconds))
    if variation.is_round_trip:
        return resolved
    level = variation.init_noise_level
    if level is None:
        level = model.sampler(resolved).level_of(variation.strength, model.schedule(resolved))
    elif level <= (resolved.sigma_min or 0.0):
        raise InvalidRequest(
            Field("init_noise_level"),
            f" is {level:g}; it must be above ",
            Field("sigma_min"),
            f", {resolved.sigma_min:g}",
        )
    return model.resolve(starting_from(resolved, level))


@torch.inference_mode()
def _latents(
    model: Auralith,
    group: list[GenerationRequest],
    waveforms: list[Tensor],
    variation: Variation,
    on_step: OnStep,
) -> Sequence[Float[Tensor, "one channel frame"]]:
    """Return the latents of each item. One is encoded at a time, so that its latents don't depend on its neighbors."""
    if variation.is_round_trip:
        return [model.encode(waveform[None]) for waveform in waveforms]
    num_samples = model.num_frames(group[0]) * model.config.audio.samples_per_frame
    encoded = [  # silence fills the window, as in training
        model.encode(torch.nn.functional.pad(waveform, (0, num_samples - waveform.shape[-1]))[None])
        for waveform in waveforms
    ]
    return model.denoise(group, Steering(torch.cat(encoded)), on_step).split(1)


def _decoded(model: Auralith, latents: Tensor, num_samples: int) -> Float[Tensor, "channel sample"]:
    frames = model.frames_to_decode(num_samples, latents.shape[-1])
    return model.decode(latents[..., :frames])[0, :, :num_samples].cpu()
