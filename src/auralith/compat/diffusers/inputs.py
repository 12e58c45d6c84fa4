"""Inputs of the network in a call: conditions, noise and initial audio; and the waveforms at its end.

Prompts or their states, and seconds, become what the transformer is conditioned on, with rows copied per waveform. Under
guidance the conditioned rows come first. Without a negative prompt the unconditioned ones have no context at all, only
their global vector: the transformer then skips their cross-attention.
"""

import logging
from dataclasses import dataclass
from typing import no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.compat.diffusers.arguments import (
    Embeds,
    Extents,
    Generators,
    InitialAudio,
    Mask,
    Prompt,
    normal,
)
from auralith.compat.diffusers.components import Transformer, Vae, Waveform
from auralith.conditioning import Conditioner, Router
from auralith.diffusion import Guidance, Latents, Predictor, VObjective
from auralith.errors import InvalidRequest, NonFiniteError
from auralith.guided import guided
from auralith.text.encoder import TextStates

Rows = tuple[Float[Tensor, "context_row token dim"], Float[Tensor, "row global_dim"]]
"""Context and global vector; of the latter there may be more."""


@dataclass(frozen=True)
class Texts:
    """The states of the prompts, and of the negative prompts if there are any."""

    positive: TextStates
    negative: TextStates | None = None


class KindsDiffer(InvalidRequest, TypeError):
    """The negative prompt is of another type than the prompt: a TypeError to programs written for diffusers."""


@no_type_check  # values come from people: `check` is for any type
@dataclass(frozen=True)
class TextInputs:
    """The arguments of a call that are about text."""

    prompt: Prompt | None = None
    negative_prompt: Prompt | None = None
    prompt_embeds: Embeds | None = None
    negative_prompt_embeds: Embeds | None = None
    attention_mask: Mask | None = None
    negative_attention_mask: Mask | None = None

    def check(self) -> None:
        """Raise InvalidRequest for texts that exclude each other, are missing, or differ in shape."""
        embeds, negative_embeds = self.prompt_embeds, self.negative_prompt_embeds
        if self.prompt is not None and embeds is not None:
            raise InvalidRequest("give either prompt or prompt_embeds, not both")
        if self.prompt is None and embeds is None:
            raise InvalidRequest("give a prompt, or its states as prompt_embeds")
        if self.prompt is not None and not isinstance(self.prompt, (str, list)):
            kind = type(self.prompt).__name__
            raise InvalidRequest(f"prompt is a {kind}; give a string or a list of strings")
        if self.negative_prompt is not None and negative_embeds is not None:
            raise InvalidRequest("give either negative_prompt or negative_prompt_embeds, not both")
        if embeds is not None and negative_embeds is not None:
            self._check_shapes(embeds.shape, negative_embeds.shape)

    def _check_shapes(self, shape: torch.Size, negative_shape: torch.Size) -> None:
        if shape != negative_shape:
            raise InvalidRequest(
                f"prompt_embeds are {tuple(shape)} and negative_prompt_embeds {tuple(negative_shape)}; "
                "their shapes must be equal"
            )
        mask = self.attention_mask
        if mask is not None and mask.shape != shape[:2]:
            raise InvalidRequest(
                f"attention_mask is {tuple(mask.shape)} for prompt_embeds of {tuple(shape)}; "
                "it needs one value per token"
            )

    @property
    def num_prompts(self) -> int:
        if self.prompt_embeds is not None:
            return len(self.prompt_embeds)
        return len(self.prompt) if isinstance(self.prompt, list) else 1

    def encode(self, router: Router, *, guided: bool, device: torch.device) -> Texts:
        """Raises InvalidRequest for a negative prompt that does not fit, and for text without a text encoder."""
        if self.prompt_embeds is None:
            positive = _encoded(router, self._prompts())
        else:
            positive = _given(self.prompt_embeds, self.attention_mask, device)
        if not guided:
            return Texts(positive)
        if self.negative_prompt is not None:
            return Texts(positive, _encoded(router, self._negatives()))
        if self.negative_prompt_embeds is None:
            return Texts(positive)
        mask = self.negative_attention_mask
        return Texts(positive, _given(self.negative_prompt_embeds, mask, device))

    def _prompts(self) -> list[str]:
        assert self.prompt is not None  # as `check` has seen
        return [self.prompt] if isinstance(self.prompt, str) else self.prompt

    def _negatives(self) -> list[str]:
        prompt, negative = self.prompt, self.negative_prompt
        if isinstance(prompt, str) and isinstance(negative, str):
            return [negative]
        if not isinstance(prompt, list) or not isinstance(negative, list):
            kinds = (type(value).__name__ for value in (negative, prompt))
            raise KindsDiffer(
                "negative_prompt is a {}, prompt a {}; give both alike".format(*kinds)
            )
        if len(prompt) != len(negative):
            raise InvalidRequest(
                f"there are {len(negative)} negative prompts for {len(prompt)} prompts; give one for each"
            )
        return negative


def _encoded(router: Router, prompts: list[str]) -> TextStates:
    if not isinstance(router, Conditioner):
        raise InvalidRequest(
            "this pipeline has no text encoder; give prompt_embeds instead of text"
        )
    return router.encode_text(prompts)


def _given(embeds: Embeds, mask: Mask | None, device: torch.device) -> TextStates:
    """States from outside; without a mask all of their rows count."""
    states = embeds.to(device, torch.float32)
    if mask is None:
        return TextStates(states, torch.ones(states.shape[:2], dtype=torch.bool, device=device))
    rows = mask.to(device).bool()
    return TextStates(states * rows.unsqueeze(-1), rows)


def route(router: Router, texts: Texts, extents: Extents, *, guided: bool, copies: int) -> Rows:
    """Context and global vector of every waveform, `copies` for each prompt."""
    values = {"seconds_start": extents.starts, "seconds_total": extents.totals}
    router.config.checked_conditions({})  # calls of diffusers have no arguments for others
    numbers = {name: values[name] for name in router.number_ids}
    if any(extents.starts) and "seconds_start" not in numbers:
        raise InvalidRequest("audio_start_in_s is not 0, but this model knows no start")
    found = [router.assemble(texts.positive, numbers)]
    if guided and texts.negative is not None:
        found.append(router.assemble(texts.negative, numbers))
    contexts = [one.context for one in found]
    if guided and texts.negative is None:
        none = torch.zeros_like(texts.positive.mask[:, 0])
        found.append(router.assemble(texts.positive, numbers, keep=none))
    context = torch.cat([c.repeat_interleave(copies, 0) for c in contexts])
    return context, torch.cat([one.global_embed.repeat_interleave(copies, 0) for one in found])


def predictor(transformer: Transformer, rows: Rows, batch: int, num_frames: int) -> Predictor:
    """The network under these conditions, without guidance yet. What all steps share is computed here."""
    context, global_embed = (part.to(transformer.dtype) for part in rows)
    network = transformer.network
    return guided(network, VObjective(), Guidance(), batch, context, global_embed, num_frames)


log = logging.getLogger(__name__)


def unit_noise(
    shape: tuple[int, int, int], generator: Generators, device: torch.device, given: Tensor | None
) -> Latents:
    """The noise to start from; a `given` one may have any number of frames. Raises InvalidRequest for other shapes."""
    if given is None:
        return normal(generator, shape, device)
    if given.ndim != 3 or given.shape[:2] != shape[:2]:
        raise InvalidRequest(
            f"latents are {tuple(given.shape)}; they must be ({shape[0]}, {shape[1]}, frames)"
        )
    return given.to(device, torch.float32)


def encode_initial(
    vae: Vae, waveforms: InitialAudio, num_frames: int, copies: int, generator: Generators
) -> Float[Tensor, "waveform latent frame"]:
    """Latents of initial audio, a sample for each of `copies` waveforms per prompt, in the prompts' order (defect B1).

    Padded or cropped to the frames, with a warning.
    """
    channels = vae.audio.channels
    audio = _with_channels(waveforms, channels)
    samples = num_frames * vae.hop_length
    missing = samples - audio.shape[-1]
    if missing:
        done = "padded with silence" if missing > 0 else "cropped"
        log.warning("initial audio has %d samples and is %s to %d", audio.shape[-1], done, samples)
    audio = torch.nn.functional.pad(audio, (0, missing))
    distribution = vae.encode(audio)[0].repeat(copies)
    return distribution.sample(generator).float()


def check_waveforms(waveforms: Tensor, prompts: int, channels: int) -> None:
    """Raise InvalidRequest unless there is one waveform per prompt, mono or with the model's channels."""
    shape = tuple(waveforms.shape)
    fits = waveforms.ndim == 2 or (waveforms.ndim == 3 and shape[1] in (1, 2, channels))
    if not fits or shape[0] != prompts:
        raise InvalidRequest(
            f"initial_audio_waveforms are {shape}; give ({prompts}, samples) or ({prompts}, channels, samples)"
        )


def _with_channels(
    waveforms: InitialAudio, channels: int
) -> Float[Tensor, "batch audio_channel sample"]:
    audio = waveforms.unsqueeze(1) if waveforms.ndim == 2 else waveforms
    if channels == 1:
        return audio.mean(1, keepdim=True)
    return audio.expand(-1, channels, -1) if audio.shape[1] == 1 else audio


def decode(vae: Vae, latents: Latents, counts: list[int]) -> Waveform:
    """The first `counts` samples of each item, zeros after them; only the frames that these depend on are decoded.

    Raises NonFiniteError where the latents are not finite.
    """
    if not latents.isfinite().all():
        raise NonFiniteError("the latents became NaN or infinite; try dtype=torch.float32")
    longest = max(counts)
    frames = vae.codec.frames_needed(vae.audio.num_frames(longest), latents.shape[-1])
    waveforms = vae.decode(latents[..., :frames])[0][..., :longest]
    for waveform, count in zip(waveforms, counts, strict=True):
        waveform[..., count:] = 0
    return waveforms
