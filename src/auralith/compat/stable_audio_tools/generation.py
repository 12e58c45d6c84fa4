"""The reference's three ways to generate: conditioned, unconditioned, and the inpainting of models trained for it.

Arguments, their order and their defaults are the reference's, and so is the order of random draws (`run`). Results are
raw: the whole `sample_size` in the model's dtype, neither trimmed nor normalized.
"""

from collections.abc import Sequence
from typing import no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.compat.stable_audio_tools.model import (
    ConditionedDiffusionModel,
    ConditioningTensors,
    Metadata,
)
from auralith.compat.stable_audio_tools.run import (
    Call,
    Callback,
    Number,
    SamplerArguments,
    Sound,
    guidance_of,
    guided,
    unconditioned,
)
from auralith.diffusion import Guidance
from auralith.errors import InvalidRequest


@torch.no_grad()
def generate_diffusion_cond(
    model: ConditionedDiffusionModel,
    steps: int = 250,
    cfg_scale: Number = 6,
    conditioning: Sequence[Metadata] | None = None,
    conditioning_tensors: ConditioningTensors | None = None,
    negative_conditioning: Sequence[Metadata] | None = None,
    negative_conditioning_tensors: ConditioningTensors | None = None,
    batch_size: int = 1,
    sample_size: int = 2097152,
    sample_rate: int = 48000,
    seed: int = -1,
    device: torch.device | str = "cuda",
    init_audio: Sound | None = None,
    init_noise_level: Number = 1.0,
    return_latents: bool = False,
    *,
    sampler_type: str | None = None,
    sigma_min: Number | None = None,
    sigma_max: Number | None = None,
    rho: Number = 1.0,
    callback: Callback | None = None,
    scale_phi: Number = 0.0,
    cfg_interval: tuple[Number, Number] = (0, 1),
) -> Float[Tensor, "batch channel time"]:
    """Waveforms (b, d, n) of a conditioning, or with `return_latents` their latents.

    Args:
        steps: network calls of the one-call samplers.
        cfg_scale: guidance scale, active unless 1; `scale_phi` (0 to 1) rescales it, `cfg_interval` says where it acts.
        conditioning: one dict per item; or `conditioning_tensors`, what `model.conditioner` made of it.
        negative_conditioning: what to steer away from, with all the keys of `conditioning`; or its tensors.
        batch_size: the number of items.
        sample_size: samples per item, rounded down to whole latent frames.
        sample_rate: has no effect, as in the reference; the model's rate is used.
        seed: 0 to 2^63 − 1, or −1 for a new one, which is logged.
        device: where the random numbers are drawn; must be the model's.
        init_audio: (sample rate, waveform) to start from, noised to `init_noise_level` in place of `sigma_max`.
        sampler_type: "dpmpp-2m-sde" by default, for rectified flow "euler".
        sigma_min: with `sigma_max` the range of noise levels, 0.01 to 100 by default; rectified flow begins at t =
            `sigma_max`, at most 1, and ignores `sigma_min` and `rho`.

    Raises:
        InvalidRequest: a value is out of range, or the model can't do what is asked for.
        NonFiniteError: the latents became NaN or infinite.
    """
    run = Call(
        model=model,
        batch_size=batch_size,
        sample_size=sample_size,
        seed=seed,
        device=device,
        init_audio=init_audio,
        init_noise_level=init_noise_level,
        return_latents=return_latents,
        sampling=SamplerArguments(steps, sampler_type, sigma_min, sigma_max, rho),
        callback=callback,
    )
    guidance = guidance_of(cfg_scale, scale_phi, cfg_interval)
    positive = (conditioning, conditioning_tensors)
    return _conditioned(
        run, guidance, positive, (negative_conditioning, negative_conditioning_tensors)
    )


@torch.no_grad()
def generate_diffusion_uncond(
    model: ConditionedDiffusionModel,
    steps: int = 250,
    batch_size: int = 1,
    sample_size: int = 2097152,
    seed: int = -1,
    device: torch.device | str = "cuda",
    init_audio: Sound | None = None,
    init_noise_level: Number = 1.0,
    return_latents: bool = False,
    *,
    sampler_type: str | None = None,
    sigma_min: Number | None = None,
    sigma_max: Number | None = None,
    rho: Number = 1.0,
    callback: Callback | None = None,
) -> Float[Tensor, "batch channel time"]:
    """Waveforms of an unconditional model; of any other by the null condition that it was trained with for guidance.

    The timing of the null condition says that each item is a whole recording of `sample_size`. For the rest see
    `generate_diffusion_cond`.
    """
    run = Call(
        model=model,
        batch_size=batch_size,
        sample_size=sample_size,
        seed=seed,
        device=device,
        init_audio=init_audio,
        init_noise_level=init_noise_level,
        return_latents=return_latents,
        sampling=SamplerArguments(steps, sampler_type, sigma_min, sigma_max, rho),
        callback=callback,
    )
    return run.result(lambda _: unconditioned(model, batch_size, sample_size, run.num_frames))


@torch.no_grad()
def generate_diffusion_cond_inpaint(
    model: ConditionedDiffusionModel,
    steps: int = 250,
    cfg_scale: Number = 6,
    conditioning: Sequence[Metadata] | None = None,
    conditioning_tensors: ConditioningTensors | None = None,
    negative_conditioning: Sequence[Metadata] | None = None,
    negative_conditioning_tensors: ConditioningTensors | None = None,
    batch_size: int = 1,
    sample_size: int = 2097152,
    seed: int = -1,
    device: torch.device | str = "cuda",
    init_audio: Sound | None = None,
    init_noise_level: Number = 1.0,
    inpaint_audio: Sound | None = None,
    inpaint_mask: Tensor | None = None,
    return_latents: bool = False,
    *,
    sampler_type: str | None = None,
    sigma_min: Number | None = None,
    sigma_max: Number | None = None,
    rho: Number = 1.0,
    callback: Callback | None = None,
    scale_phi: Number = 0.0,
    cfg_interval: tuple[Number, Number] = (0, 1),
) -> Float[Tensor, "batch channel time"]:
    """Waveforms of a model trained for inpainting; without mask and sound it makes everything anew.

    Args:
        inpaint_audio: (sample rate, waveform), of which is kept what the mask says.
        inpaint_mask: (1 or batch, sample_size): 1 where the sound is kept, 0 where it is made anew. The reference doesn't
            repeat one mask over a batch; here it is.

    The other arguments are those of `generate_diffusion_cond`. What is kept is not pasted back, as in the reference.

    Raises:
        InvalidRequest: a value is out of range; or `inpaint_audio` or `inpaint_mask` is given to a model without the input
            channels for it, where the reference ignores them without a word.
    """
    given = inpaint_audio is not None or inpaint_mask is not None
    if given and not model.input_concat_ids:
        raise InvalidRequest(
            "this checkpoint was not trained for inpaint_audio and inpaint_mask (its input_concat_ids are empty); "
            "inpaint without training instead, with `auralith inpaint`"
        )
    run = Call(
        model=model,
        batch_size=batch_size,
        sample_size=sample_size,
        seed=seed,
        device=device,
        init_audio=init_audio,
        init_noise_level=init_noise_level,
        return_latents=return_latents,
        sampling=SamplerArguments(steps, sampler_type, sigma_min, sigma_max, rho),
        callback=callback,
        inpaint_audio=inpaint_audio,
        inpaint_mask=inpaint_mask,
    )
    guidance = guidance_of(cfg_scale, scale_phi, cfg_interval)
    positive = (conditioning, conditioning_tensors)
    return _conditioned(
        run, guidance, positive, (negative_conditioning, negative_conditioning_tensors)
    )


Items = tuple[Sequence[Metadata] | None, ConditioningTensors | None]
"""A conditioning in either form."""


@no_type_check  # values come from people: `Call.tensors` checks them
def _conditioned(
    run: Call, guidance: Guidance, positive: Items, negative: Items
) -> Float[Tensor, "batch channel time"]:
    model = run.model
    tensors = run.tensors("conditioning", *positive)
    negatives = None
    if negative != (None, None):
        negatives = run.tensors("negative_conditioning", *negative)
    return run.result(
        lambda extra: guided(model, tensors, negatives, guidance, run.num_frames, extra)
    )
