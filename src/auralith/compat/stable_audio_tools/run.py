"""One call of a generating function: its checks, its random numbers, its sampler, its network.

The numbers come in the reference's order (initial noise, the autoencoder's draw for init audio, then the sampler's) from
generators that are seeded as the reference seeds the global ones. What a call can't do is one line before the network
runs.
"""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, no_type_check

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from auralith.compat.stable_audio_tools.model import (
    ConditionedDiffusionModel,
    ConditioningTensors,
    Metadata,
)
from auralith.conditioning import MaskedInput
from auralith.config import DistributionShift
from auralith.diffusion import (
    OBJECTIVES,
    Guidance,
    Objective,
    Predictor,
    RectifiedFlow,
    VObjective,
)
from auralith.errors import InvalidRequest, NonFiniteError
from auralith.guided import guided as guided_network
from auralith.noise import ReferenceNoise
from auralith.numbers import real_number, whole_number
from auralith.samplers import Sampler, Schedule, SigmaSampler, Step, find_sampler
from auralith.sound.arrays import AnyWaveform, check_axes, waveforms_of
from auralith.sound.resampling import resample

Number = float | int
Sound = tuple[int, AnyWaveform]
"""(sample rate in Hz, waveform): a waveform is (sample), (channel, sample) or (batch, channel, sample)."""
Callback = Callable[[dict[str, Any]], Any]
"""Called after every step with x (the state after it), denoised, i (from 0), sigma, sigma_hat and t."""

Network = Callable[[Tensor | None], Predictor]
"""From the input channels beside the latents, if the model has any, to the guided network."""

log = logging.getLogger(__name__)


@no_type_check  # values come from people: the checks below are for any type
@dataclass(frozen=True)
class SamplerArguments:
    """The sampler's arguments; what is None takes the reference's default for the objective."""

    steps: int
    sampler_type: str | None
    sigma_min: Number | None
    sigma_max: Number | None
    rho: Number

    def resolve(
        self,
        objective: Objective,
        first_level: Number | None,
        num_frames: int,
        shift: DistributionShift | None,
    ) -> tuple[Sampler, Schedule]:
        """Raises InvalidRequest. `first_level` replaces sigma_max."""
        if isinstance(objective, VObjective):
            sampler, low, high = "dpmpp-2m-sde", 0.01, 100.0
        else:
            sampler, low, high = "euler", 0.0, 1.0
        wanted = self.sigma_max if first_level is None else first_level
        found = find_sampler(sampler if self.sampler_type is None else self.sampler_type, objective)
        rho = real_number("rho", self.rho)
        schedule = Schedule(
            whole_number("steps", self.steps),
            real_number("sigma_min", low if self.sigma_min is None else self.sigma_min),
            real_number("sigma_max", high if wanted is None else wanted),
            rho if "polyexponential" in found.schedules else None,
            num_frames,
            shift,
        )
        found.levels(schedule)
        return found, schedule


@no_type_check
@dataclass(frozen=True, eq=False)
class Call:
    """One call: everything but its conditioning, checked when made."""

    model: ConditionedDiffusionModel
    batch_size: int
    sample_size: int
    seed: int
    device: torch.device | str
    init_audio: Sound | None
    init_noise_level: Number
    return_latents: bool
    sampling: SamplerArguments
    callback: Callback | None
    inpaint_audio: Sound | None = None
    inpaint_mask: Tensor | None = None

    def __post_init__(self) -> None:
        model = self.model
        for name, least in (("batch_size", 1), ("sample_size", 1), ("seed", -1)):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), least))
        if self.sample_size < model.min_input_length:
            raise InvalidRequest(
                f"sample_size is {self.sample_size}; it must be at least {model.min_input_length}"
            )
        positions = model.config.dit.max_positions
        if positions and self.num_frames > positions:
            raise InvalidRequest(
                f"sample_size is {self.sample_size}; this model makes at most "
                f'{model.config.window_samples}, its model_config["sample_size"]'
            )
        _check_device(self.device, model)
        self._sampler()

    @property
    def num_frames(self) -> int:
        return self.sample_size // self.model.min_input_length

    def tensors(
        self,
        name: str,
        items: Sequence[Metadata] | None,
        tensors: ConditioningTensors | None,
    ) -> ConditioningTensors:
        """Those of the items, unless they are given; checked against the batch and the model."""
        if not self.model.config.is_conditional:
            raise InvalidRequest(
                f"this model is unconditional, so it takes no {name}; use generate_diffusion_uncond"
            )
        if tensors is None:
            made = self.model.conditioner(self._items(name, items), self.model.device)
            return self.tensors(name, None, made)
        width = self.model.config.condition_dim
        for states, mask in self.model.routed(tensors).values():
            fits = states.dim() == 3 and states.shape[::2] == (self.batch_size, width)
            if not fits or mask.shape != states.shape[:2]:
                raise InvalidRequest(
                    f"{name}_tensors hold states of shape {tuple(states.shape)} with a mask {tuple(mask.shape)}; "
                    f"batch_size {self.batch_size} needs ({self.batch_size}, tokens, {width}) and its mask"
                )
        return tensors

    def result(self, network: Network) -> Float[Tensor, "batch channel time"]:
        """Runs the sampler to its end."""
        seed = secrets.randbelow(2**32 - 1) if self.seed == -1 else int(self.seed)
        log.info("seed %d", seed)
        shape = (self.batch_size, self.model.io_channels, self.num_frames)
        noise = ReferenceNoise(seed, shape, self.model.device)
        init_latents = self._encoded("init_audio", self.init_audio, noise.generator)
        predict = network(self._extra(noise.generator))
        sampler, schedule = self._sampler()
        latents = noise.initial()
        # the reference does not shift the level that rk4 noises to
        level = schedule.t_max if isinstance(predict.objective, RectifiedFlow) else None
        for step in sampler.steps(predict, schedule, noise, init_latents, level):
            latents = step.x
            if self.callback is not None:
                self.callback(_callback_dict(step, sampler, predict.objective))
        if not latents.isfinite().all():
            raise NonFiniteError(
                f"the latents became NaN or infinite (seed {seed}); use float32, another sampler_type or a lower "
                "cfg_scale"
            )
        latents = latents.to(self.model.dtype)
        return latents if self.return_latents else self.model.pretransform.decode(latents)

    def _items(self, name: str, items: Sequence[Metadata] | None) -> Sequence[Metadata]:
        if items is None:
            raise InvalidRequest(f"{name} is missing; give it, or {name}_tensors")
        if isinstance(items, Mapping):
            raise InvalidRequest(f"{name} is a dict; give a list with one dict per item")
        if len(items) != self.batch_size:
            raise InvalidRequest(
                f"{name} has {len(items)} items, but batch_size is {self.batch_size}; make them equal"
            )
        return items

    def _sampler(self) -> tuple[Sampler, Schedule]:
        objective = OBJECTIVES[self.model.config.objective]
        first_level = None if self.init_audio is None else self.init_noise_level
        shift = self.model.config.distribution_shift
        return self.sampling.resolve(objective, first_level, self.num_frames, shift)

    def _extra(self, generator: torch.Generator) -> Float[Tensor, "batch extra frame"] | None:
        """The channels that an inpainting model sees beside the latents; None for any other."""
        ids, device = self.model.input_concat_ids, self.model.device
        if not ids:
            return None
        latents = self._encoded("inpaint_audio", self.inpaint_audio, generator)
        if latents is None:
            shape = (self.batch_size, self.model.io_channels, self.num_frames)
            latents = torch.zeros(shape, device=device)
        mask = latents.new_zeros(self.batch_size, 1, self.num_frames)
        if self.inpaint_mask is not None:
            wanted = self._checked_mask(self.inpaint_mask).to(device, torch.float32)
            mask += torch.nn.functional.interpolate(
                wanted[:, None], self.num_frames, mode="nearest"
            )
        return MaskedInput.of(latents, mask).channels(ids)

    def _checked_mask(self, mask: object) -> Float[Tensor, "row sample"]:
        if not isinstance(mask, Tensor) or mask.dim() != 2 or len(mask) not in (1, self.batch_size):
            raise InvalidRequest(
                f"inpaint_mask must be a tensor of shape (1 or {self.batch_size}, sample_size), 1 where the sound is kept"
            )
        if not ((mask >= 0) & (mask <= 1)).all():
            raise InvalidRequest("inpaint_mask must hold values from 0 (made anew) to 1 (kept)")
        return mask

    def _encoded(
        self, name: str, sound: Sound | None, generator: torch.Generator
    ) -> Float[Tensor, "batch channel frame"] | None:
        if sound is None:
            return None
        rate, waveform = _sound(name, sound)
        model, channels = self.model, self.model.pretransform.io_channels
        prepared = prepare_audio(
            waveform, rate, model.sample_rate, self.sample_size, channels, model.device
        )
        if prepared.shape[0] not in (1, self.batch_size):
            raise InvalidRequest(
                f"{name} holds {prepared.shape[0]} waveforms, but batch_size is {self.batch_size}; give one, or "
                "one per item"
            )
        latents = model.pretransform.encode(prepared, generator).float()
        return latents.expand(self.batch_size, -1, -1)


def guided(
    model: ConditionedDiffusionModel,
    positive: ConditioningTensors,
    negative: ConditioningTensors | None,
    guidance: Guidance,
    num_frames: int,
    extra: Float[Tensor, "batch extra frame"] | None = None,
) -> Predictor:
    """The guided network. The unconditioned half has a context of zeros, or the negative one with its padding zeroed."""
    context, _ = model.cross_attn_cond(positive)
    global_embed = model.global_cond(positive, positive)
    num_rows = context.shape[0]
    if guidance.scale != 1:
        global_embed = torch.cat((global_embed, model.global_cond(positive, negative)))
        if negative is not None:
            states, mask = model.cross_attn_cond(negative)
            if states.shape != context.shape:
                raise InvalidRequest(
                    f"the negative conditioning has {states.shape[1]} tokens, the conditioning {context.shape[1]}; "
                    "make both with the same conditioner"
                )
            context = torch.cat((context, states * mask.unsqueeze(-1)))
    return _predictor(model, context, global_embed, num_rows, guidance, num_frames, extra)


def unconditioned(
    model: ConditionedDiffusionModel, batch_size: int, sample_size: int, num_frames: int
) -> Predictor:
    if not model.config.is_conditional:
        nothing = torch.zeros(batch_size, 0, device=model.device)
        return _predictor(model, None, nothing, batch_size, Guidance(), num_frames)
    seconds = {"seconds_start": 0.0, "seconds_total": sample_size / model.sample_rate}
    numbers = {}
    for name in model.conditioner.ours.number_ids:
        if name not in seconds:
            raise InvalidRequest(
                f"this model can't generate without conditioning: it needs {name!r}; use generate_diffusion_cond"
            )
        embedder = model.conditioner.conditioners[name]
        states = embedder(torch.full((batch_size,), seconds[name], device=model.device))
        numbers[name] = (states.float(),)
    global_embed = model.global_cond(numbers, None)
    return _predictor(model, None, global_embed, batch_size, Guidance(), num_frames)


def _predictor(
    model: ConditionedDiffusionModel,
    context: Float[Tensor, "context_row token dim"] | None,
    global_embed: Float[Tensor, "row global_dim"],
    num_rows: int,
    guidance: Guidance,
    num_frames: int,
    extra: Float[Tensor, "batch extra frame"] | None = None,
) -> Predictor:
    """The network as samplers see it. The first `num_rows` are the conditioned ones."""
    dit, dtype = model.model, model.dtype
    cast = None if context is None else context.to(dtype)
    if extra is not None:
        extra = extra.repeat(global_embed.shape[0] // num_rows, 1, 1)
    objective = OBJECTIVES[model.config.objective]
    return guided_network(
        dit, objective, guidance, num_rows, cast, global_embed.to(dtype), num_frames, extra
    )


def _callback_dict(step: Step, sampler: Sampler, objective: Objective) -> dict[str, Any]:
    """The same keys for every sampler; levels are 0-d tensors. The reference's sigma is sin(πt/2) along t."""
    level = step.noise_level
    if isinstance(sampler, SigmaSampler):
        sigma, t = level, objective.t_from_sigma(level)
    else:
        sigma, t = float(objective.path(level).sigma), level
    levels = {"sigma": sigma, "sigma_hat": sigma, "t": t}
    tensors = {name: torch.tensor(value) for name, value in levels.items()}
    return {"x": step.x, "denoised": step.denoised, "i": step.index, **tensors}


def guidance_of(scale: Number, rescale: Number, interval: tuple[Number, Number]) -> Guidance:
    scale, rescale = real_number("cfg_scale", scale), real_number("scale_phi", rescale)
    low, high = (real_number("cfg_interval", bound) for bound in interval)
    if not 0 <= rescale <= 1:
        raise InvalidRequest(f"scale_phi is {rescale}; it must be from 0 to 1")
    if not 0 <= low <= high <= 1:
        raise InvalidRequest(f"cfg_interval is {interval}; give two ascending numbers from 0 to 1")
    return Guidance(scale, rescale, (low, high))


def _check_device(device: torch.device | str, model: ConditionedDiffusionModel) -> None:
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise InvalidRequest(
            f"device {device!r} is unknown; use cpu, cuda, cuda:1 or mps"
        ) from None
    if wanted.type != model.device.type or wanted.index not in (None, model.device.index):
        raise InvalidRequest(
            f'device is "{wanted}", but the model is on {model.device}; pass device="{model.device}", or move the '
            f'model with model.to("{wanted}")'
        )


def _sound(name: str, sound: object) -> Sound:
    match sound:
        case (rate, Tensor() | np.ndarray() as waveform):
            check_axes(name, waveform)
            return whole_number(f"the sample rate of {name}", rate, None), waveform
        case _:
            raise InvalidRequest(f"{name} is a {type(sound).__name__}; give (sample rate, tensor)")


def prepare_audio(
    audio: AnyWaveform,
    in_sr: int,
    target_sr: int,
    target_length: int,
    target_channels: int,
    device: torch.device | str,
) -> Float[Tensor, "batch channel target"]:
    """(sample), (channel, sample) or (batch, channel, sample) at another rate, cut or padded with silence at its end.

    Mono becomes stereo by repetition, anything becomes mono by its mean, and of more than two channels stereo takes the
    first two. Raises InvalidRequest for what is not a waveform, and AudioError for NaN and infinity.
    """
    items = waveforms_of(audio, "the audio")
    if in_sr <= 0:
        raise InvalidRequest(f"the audio's sample rate is {in_sr} Hz; it must be above 0")
    resampled = torch.stack([resample(item, in_sr, target_sr) for item in items])
    length = min(target_length, resampled.shape[-1])
    fitted = resampled.new_zeros(*resampled.shape[:2], target_length)
    fitted[..., :length] = resampled[..., :length]
    return _with_channels(fitted, target_channels).to(device)


def _with_channels(
    waveform: Float[Tensor, "batch channel sample"], channels: int
) -> Float[Tensor, "batch target sample"]:
    if channels == 1:
        return waveform.mean(1, keepdim=True)
    if waveform.shape[1] == 1:
        return waveform.repeat(1, channels, 1)
    if waveform.shape[1] < channels:
        raise InvalidRequest(
            f"the audio has {waveform.shape[1]} channels; give 1 or at least {channels}"
        )
    return waveform[:, :channels]
