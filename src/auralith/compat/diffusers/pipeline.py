"""`StableAudioPipeline`: the model card's second usage, line by line.

A call has diffusers' own shape: conditions, latents, one scheduler step per network output, decoding. It does not share
the peer's defects: initial audio counts and meets its own prompt, a start never slices, seconds may differ per prompt,
latents honor `return_dict`. Arguments after `output_type` are ours. The state is float32 whatever the networks are in.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, no_type_check

import torch
from torch import Tensor
from tqdm.auto import tqdm

from auralith.compat.diffusers import arguments
from auralith.compat.diffusers.arguments import (
    Embeds,
    Extents,
    Generators,
    InitialAudio,
    Mask,
    Prompt,
    Seconds,
    check_generators,
)
from auralith.compat.diffusers.component import AudioPipelineOutput
from auralith.compat.diffusers.component_set import ComponentSet
from auralith.compat.diffusers.components import States
from auralith.compat.diffusers.inputs import (
    Rows,
    TextInputs,
    check_waveforms,
    decode,
    encode_initial,
    predictor,
    route,
    unit_noise,
)
from auralith.compat.diffusers.text_components import TextComponents
from auralith.conditioning import Conditioner, Router
from auralith.diffusion import Guidance, Latents
from auralith.numbers import real_number, whole_number

OUTPUT_TYPES = ("pt", "np", "latent")
StepCallback = Callable[[int, Tensor, Latents], None]
StepEndCallback = Callable[
    ["StableAudioPipeline", int, Tensor, dict[str, Tensor]], dict[str, Tensor]
]


@dataclass(frozen=True)
class Observer:
    """The callbacks of a call."""

    callback: StepCallback | None
    every: int
    on_step_end: StepEndCallback | None
    with_latents: bool

    def seen(self, pipeline: "StableAudioPipeline", index: int, t: Tensor, x: Latents) -> Latents:
        """Show x after a step; what `on_step_end` returns as "latents" takes its place."""
        if self.callback is not None and index % self.every == 0:
            self.callback(index, t, x)
        if self.on_step_end is None:
            return x
        tensors = {"latents": x} if self.with_latents else {}
        return self.on_step_end(pipeline, index, t, tensors).get("latents", x)


class StableAudioPipeline(ComponentSet):
    """Text to audio under diffusers' names."""

    _callback_tensor_inputs = ("latents",)
    _progress: Mapping[str, Any] = MappingProxyType({})
    _guidance_scale = 1.0
    _guided = False
    _num_timesteps = 0
    _interrupt = False

    @property
    def guidance_scale(self) -> float:
        """Return the guidance scale of the call under way; a callback may set `_guidance_scale`."""
        return self._guidance_scale

    @property
    def num_timesteps(self) -> int:
        return self._num_timesteps

    @property
    def interrupt(self) -> bool:
        """Return whether a callback has asked, by `_interrupt = True`, to stop denoising."""
        return self._interrupt

    def set_progress_bar_config(self, **settings: Any) -> None:
        """Arguments of tqdm's bar, such as `disable=True`."""
        self._progress = settings

    def progress_bar(self, total: int) -> "tqdm[Any]":
        return tqdm(total=total, **self._progress)

    @no_type_check  # values come from people: the checks are for any type
    @torch.no_grad()
    def __call__(
        self,
        prompt: Prompt | None = None,
        audio_end_in_s: Seconds | None = None,
        audio_start_in_s: Seconds = 0.0,
        num_inference_steps: int = 100,
        guidance_scale: float = 7.0,
        negative_prompt: Prompt | None = None,
        num_waveforms_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generators = None,
        latents: Latents | None = None,
        initial_audio_waveforms: InitialAudio | None = None,
        initial_audio_sampling_rate: int | None = None,
        prompt_embeds: Embeds | None = None,
        negative_prompt_embeds: Embeds | None = None,
        attention_mask: Mask | None = None,
        negative_attention_mask: Mask | None = None,
        return_dict: bool = True,
        callback: StepCallback | None = None,
        callback_steps: int = 1,
        output_type: Literal["pt", "np", "latent"] = "pt",
        *,
        audio_total_in_s: Seconds | None = None,
        init_noise_level: float = 1.0,
        callback_on_step_end: StepEndCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> Any:
        """Sounds for the prompts, in the order p0, p0, p1, p1; none is scored, none is left out.

        An `AudioPipelineOutput`, or a tuple without `return_dict`. Its `audios` are (batch, channel, sample) with
        int(end · rate) − int(start · rate) samples, neither normalized nor clipped; where seconds differ per prompt the
        shorter sounds end in zeros. Start and total tell the model where in a recording of `audio_total_in_s` seconds
        (the end, if None) the sound lies. Guidance is on above 1 only. Initial audio at the model's rate is noised to
        `init_noise_level`, at most the scheduler's `sigma_max`, and denoised from there: below 1 keeps much of it, 100
        little. `eta` has no effect, as in diffusers. `callback(step, t, latents)` looks on;
        `callback_on_step_end(pipeline, step, t, {"latents": …})` returns such a dict and may change them. Without a
        generator torch's global one is drawn from.

        Raises:
            InvalidRequest: an argument is out of its range; a ValueError too.
            NonFiniteError: the latents became NaN or infinite.
        """
        extents = Extents.of(audio_start_in_s, audio_end_in_s, audio_total_in_s, self._longest)
        text = TextInputs(
            prompt,
            negative_prompt,
            prompt_embeds,
            negative_prompt_embeds,
            attention_mask,
            negative_attention_mask,
        )
        initial = (initial_audio_waveforms, initial_audio_sampling_rate)
        callback_steps = whole_number("callback_steps", callback_steps)
        self._check(extents, callback_steps, text, *initial)
        num_inference_steps = whole_number("num_inference_steps", num_inference_steps)
        copies = whole_number("num_waveforms_per_prompt", num_waveforms_per_prompt)
        arguments.check_choice("output_type", output_type, OUTPUT_TYPES)
        for name in callback_on_step_end_tensor_inputs:
            arguments.check_choice("a callback's tensor", name, self._callback_tensor_inputs)
        extents = extents.per_prompt(text.num_prompts)
        self._guidance_scale = real_number("guidance_scale", guidance_scale)
        self._guided = self._guidance_scale > 1
        self._interrupt = False
        rows = self._conditions(text, extents, copies)
        level = real_number("init_noise_level", init_noise_level)
        first_level = None if initial_audio_waveforms is None else level
        self.scheduler.set_timesteps(
            num_inference_steps, self._execution_device, sigma_max=first_level
        )
        x = self.prepare_latents(
            text.num_prompts * copies,
            self.transformer.config.in_channels,
            int(self.transformer.config.sample_size),
            torch.float32,
            self._execution_device,
            generator,
            latents,
            initial_audio_waveforms,
            copies,
            self.vae.config.audio_channels,
        )
        observer = Observer(
            callback,
            callback_steps,
            callback_on_step_end,
            bool(callback_on_step_end_tensor_inputs),
        )
        x = self._denoise(x, rows, generator, observer)
        if output_type == "latent":
            result = x.to(self.dtype)
        else:
            counts = extents.num_samples(self.vae.sampling_rate)
            with self._at_work(self.vae):
                result = decode(self.vae, x, [n for n in counts for _ in range(copies)])
        if output_type == "np":
            result = result.cpu().float().numpy()
        return AudioPipelineOutput(result) if return_dict else (result,)

    @no_type_check
    def check_inputs(
        self,
        prompt: Prompt | None,
        audio_start_in_s: Seconds,
        audio_end_in_s: Seconds,
        callback_steps: int,
        negative_prompt: Prompt | None = None,
        prompt_embeds: Embeds | None = None,
        negative_prompt_embeds: Embeds | None = None,
        attention_mask: Mask | None = None,
        negative_attention_mask: Mask | None = None,
        initial_audio_waveforms: InitialAudio | None = None,
        initial_audio_sampling_rate: int | None = None,
    ) -> None:
        """Raise InvalidRequest for arguments that a call would refuse."""
        extents = Extents.of(audio_start_in_s, audio_end_in_s, None, self._longest)
        text = TextInputs(
            prompt,
            negative_prompt,
            prompt_embeds,
            negative_prompt_embeds,
            attention_mask,
            negative_attention_mask,
        )
        initial = (initial_audio_waveforms, initial_audio_sampling_rate)
        self._check(extents, callback_steps, text, *initial)

    @no_type_check
    def _check(
        self,
        extents: Extents,
        callback_steps: int,
        text: TextInputs,
        waveforms: InitialAudio | None,
        sampling_rate: int | None,
    ) -> None:
        limits = self.projection_model.config
        extents.check(limits.min_value, limits.max_value)
        whole_number("callback_steps", callback_steps)
        text.check()
        arguments.check_initial_audio(waveforms, sampling_rate, self.vae.sampling_rate)

    def encode_prompt(
        self,
        prompt: Prompt | None,
        device: torch.device | str,
        do_classifier_free_guidance: bool,
        negative_prompt: Prompt | None = None,
        prompt_embeds: Embeds | None = None,
        negative_prompt_embeds: Embeds | None = None,
        attention_mask: Mask | None = None,
        negative_attention_mask: Mask | None = None,
    ) -> States:
        """Projected text states with padding rows zero; those of negative prompts, where there are any, come first."""
        text = TextInputs(
            prompt,
            negative_prompt,
            prompt_embeds,
            negative_prompt_embeds,
            attention_mask,
            negative_attention_mask,
        )
        guided = do_classifier_free_guidance
        router = self._router
        texts = text.encode(router, guided=guided, device=torch.device(device))
        positive = router.project(texts.positive).states
        if texts.negative is None:
            return positive
        return torch.cat((router.project(texts.negative).states, positive))

    def encode_duration(
        self,
        audio_start_in_s: Seconds,
        audio_end_in_s: Seconds,
        device: torch.device | str,
        do_classifier_free_guidance: bool,
        batch_size: int,
    ) -> tuple[States, States]:
        """Rows of the start and of the recording's length, one per prompt, twice under guidance."""
        extents = Extents.of(audio_start_in_s, audio_end_in_s, None, math.inf).per_prompt(
            batch_size
        )
        starts, ends = (
            torch.tensor(values, device=device).repeat(2 if do_classifier_free_guidance else 1)
            for values in (extents.starts, extents.totals)
        )
        rows = self.projection_model(start_seconds=starts, end_seconds=ends)
        return rows.seconds_start_hidden_states, rows.seconds_end_hidden_states

    @no_type_check
    def prepare_latents(
        self,
        batch_size: int,
        num_channels_vae: int,
        sample_size: int,
        dtype: torch.dtype,
        device: torch.device,
        generator: Generators,
        latents: Latents | None = None,
        initial_audio_waveforms: InitialAudio | None = None,
        num_waveforms_per_prompt: int = 1,
        audio_channels: int = 2,
    ) -> Latents:
        """x at the scheduler's first level: unit noise or `latents`, scaled, with initial audio under it."""
        check_generators(generator, batch_size)
        shape = (batch_size, num_channels_vae, sample_size)
        noise = unit_noise(shape, generator, device, latents)
        if initial_audio_waveforms is None:
            return (noise * self.scheduler.init_noise_sigma).to(dtype)
        copies = num_waveforms_per_prompt
        check_waveforms(initial_audio_waveforms, batch_size // copies, audio_channels)
        with self._at_work(self.vae):
            clean = encode_initial(
                self.vae, initial_audio_waveforms, noise.shape[-1], copies, generator
            )
        return (clean.to(device) + noise * float(self.scheduler.sigmas[0])).to(dtype)

    @property
    def _longest(self) -> float:
        return self.transformer.config["sample_size"] * self.vae.hop_length / self.vae.sampling_rate

    @property
    def _router(self) -> Router:
        config, numbers = self.model_config, self.projection_model.numbers
        if self.text_encoder is None or self.tokenizer is None:
            return Router(config, numbers)
        return Conditioner(
            config, numbers, TextComponents(self.text_encoder, self.tokenizer).encoder()
        )

    def _conditions(self, text: TextInputs, extents: Extents, copies: int) -> Rows:
        with self._at_work(self.text_encoder, self.projection_model):
            router = self._router
            texts = text.encode(router, guided=self._guided, device=self._execution_device)
            return route(router, texts, extents, guided=self._guided, copies=copies)

    def _denoise(
        self, x: Latents, rows: Rows, generator: Generators, observer: Observer
    ) -> Latents:
        timesteps = self.scheduler.timesteps
        self._num_timesteps = len(timesteps)
        with self._at_work(self.transformer), self.progress_bar(len(timesteps)) as bar:
            network = predictor(self.transformer, rows, *x.shape[::2])
            for index, (t, time) in enumerate(zip(timesteps, timesteps.tolist(), strict=True)):
                if self._interrupt:
                    break
                guidance = Guidance(self._guidance_scale if self._guided else 1.0)
                z = self.scheduler.scale_model_input(x, t)
                v = replace(network, guidance=guidance)(z, time).v
                x = self.scheduler.step(v, t, x, generator=generator)[0]
                x = observer.seen(self, index, t, x)
                bar.update()
        return x
