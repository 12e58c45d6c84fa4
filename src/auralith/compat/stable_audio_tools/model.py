"""A model under the attributes that programs read: `model.conditioner`, `model.pretransform`, `model.model` and so on.

The networks are ours; added are the reference's names and its flow of tensors. The conditioner gives {id: (states,
mask)}, `get_conditioning_inputs` routes them by id into the cross-attention context and the global vector. The text
encoder hides from torch, as in the reference: it is in no state dict and `train()` can't switch its dropout on. But
`to()` takes it along.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from auralith.conditioning import Conditioner
from auralith.config import DistributionShift, ModelConfig
from auralith.diffusion import shift_times
from auralith.errors import InvalidRequest, shown
from auralith.models.autoencoder import Autoencoder
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.models.latent_codec import LatentCodec
from auralith.numbers import real_number
from auralith.request import check_unicode
from auralith.text.encoder import TextEncoder, TextStates

Metadata = Mapping[str, Any]
"""One item's condition values by id: {"prompt": …, "seconds_start": …, "seconds_total": …}; other keys are ignored."""
ConditioningTensors = Mapping[str, Sequence[Tensor]]
"""States (batch, token, dim) and mask (batch, token) by condition id."""


class MultiConditioner(nn.Module):
    """Condition values to tensors, one entry per condition."""

    def __init__(
        self,
        config: ModelConfig,
        numbers: nn.ModuleDict,
        text: TextEncoder,
        default_keys: Mapping[str, str],
    ) -> None:
        """`default_keys` names for a condition the key to read where its own is missing."""
        super().__init__()
        self.conditioners = numbers
        self.default_keys = dict(default_keys)
        # a plain object: torch does not see the text encoder inside
        self.ours = Conditioner(config, numbers, text)

    def forward(
        self, batch_metadata: Sequence[Metadata], device: torch.device | str
    ) -> dict[str, tuple[Float[Tensor, "batch _ dim"], Bool[Tensor, "batch _"]]]:
        """States and mask of every condition, float32, on `device`.

        Raises InvalidRequest for a missing key or a value of another kind.
        """
        text_id = self.ours.config.text.id
        prompts = self._values(batch_metadata, text_id)
        for prompt in prompts:
            if not isinstance(prompt, str):
                raise InvalidRequest(f"{text_id} is {shown(prompt)}, not text; describe the sound")
            check_unicode(text_id, prompt)
        with torch.no_grad():
            text = self.ours.project(self.ours.encode_text(prompts))
        tensors = {text_id: (text.states.to(device), text.mask.to(device))}
        for name in self.ours.number_ids:
            embedder = self.conditioners[name]
            values = [_number(name, value) for value in self._values(batch_metadata, name)]
            states = embedder(torch.tensor(values, device=self.ours.text.device)).float()
            mask = torch.ones(states.shape[:2], dtype=torch.bool)
            tensors[name] = (states.to(device), mask.to(device))
        return tensors

    def _values(self, batch: Sequence[Metadata], name: str) -> list[Any]:
        """The values of a condition; lists of one are unwrapped, as data loaders make them."""
        found = []
        for index, item in enumerate(batch):
            key = name if name in item else self.default_keys.get(name, name)
            if key not in item:
                ids = ", ".join([self.ours.config.text.id, *self.ours.number_ids])
                raise InvalidRequest(
                    f"item {index} of the conditioning has no {key!r}; this model needs {ids}"
                )
            value = item[key]
            single = isinstance(value, (list, tuple)) and len(value) == 1
            found.append(value[0] if single else value)
        return found


@dataclass(frozen=True)
class TimeShift:
    """The shift of timesteps under the name that samplers of others call."""

    shift: DistributionShift

    def time_shift(self, t: Float[Tensor, "*time"], seq_len: int) -> Float[Tensor, "*time"]:
        """Return times moved toward noise for latents of `seq_len` frames."""
        return shift_times(t, self.shift, seq_len)


class Pretransform(nn.Module):
    """The autoencoder: waveform to latents and back, in tiles that equal the whole."""

    def __init__(self, config: ModelConfig, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.model = autoencoder.requires_grad_(False)
        self.scale = config.latent_scale
        self.downsampling_ratio = config.audio.samples_per_frame
        self.io_channels = config.audio.channels
        self.encoded_channels = config.audio.latent_channels
        self.sample_rate = config.audio.sample_rate

    def encode(
        self, x: Float[Tensor, "batch channel sample"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "batch latent frame"]:
        """Latents of the whole frames in a waveform at the model's rate, in the autoencoder's dtype.

        The mean of the posterior, or with a generator a sample of it; the reference always samples, from torch's global
        generator.
        """
        if x.shape[1] != self.io_channels or x.shape[-1] < self.downsampling_ratio:
            raise InvalidRequest(
                f"the waveform has {x.shape[1]} channels of {x.shape[-1]} samples; encoding needs "
                f"{self.io_channels} channels and at least {self.downsampling_ratio} samples"
            )
        posterior = self.codec.encode(x)
        latents = posterior.mean
        if generator is not None:
            noise = torch.randn(latents.shape, generator=generator, device=generator.device)
            latents = posterior.sample(noise.to(latents))
        return latents.to(self._dtype)

    def decode(
        self, z: Float[Tensor, "batch latent frame"]
    ) -> Float[Tensor, "batch audio_channel sample"]:
        """The waveform of latents, not normalized, in the autoencoder's dtype."""
        return self.codec.decode(z)

    @property
    def codec(self) -> LatentCodec:
        return LatentCodec(self.model, self.scale)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype


class ConditionedDiffusionModel(nn.Module):
    """The whole model. `model` is our `DiT`: its own call differs from the reference's, that of this class doesn't."""

    conditioner: MultiConditioner
    """Absent from an unconditional model, as in the reference."""

    def __init__(
        self,
        config: ModelConfig,
        dit: DiffusionTransformer[Any],
        pretransform: Pretransform,
        conditioner: MultiConditioner | None,
    ) -> None:
        """`conditioner` is None for an unconditional model."""
        super().__init__()
        # first, so that next(model.parameters()) has the model's dtype: the DiT begins with exact frequencies
        self.pretransform = pretransform
        if conditioner is not None:
            self.conditioner = conditioner
        self.model = dit
        self.config = config
        self.io_channels = config.audio.latent_channels
        self.sample_rate = config.audio.sample_rate
        self.min_input_length = config.audio.samples_per_frame
        self.diffusion_objective = config.objective
        shift = config.distribution_shift
        self.dist_shift = None if shift is None else TimeShift(shift)
        self.cross_attn_cond_ids, self.global_cond_ids = config.context_ids, config.global_ids
        self.input_concat_ids, self.prepend_cond_ids = config.input_ids, ()

    @property
    def device(self) -> torch.device:
        return self.model.project_in.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.model.project_in.weight.dtype

    def forward(
        self,
        x: Float[Tensor, "batch channel frame"],
        t: Float[Tensor, " batch"],
        cond: ConditioningTensors | None = None,
    ) -> Float[Tensor, "batch channel frame"]:
        """The network's output for one condition, without guidance (for training, and for one's own samplers)."""
        if not self.config.is_conditional:
            return self.model(x, t, None, x.new_zeros(x.shape[0], 0))
        if cond is None:
            raise InvalidRequest("cond is missing; give the conditioner's tensors")
        context, _ = self.cross_attn_cond(cond)
        global_embed = self.global_cond(cond, cond).to(x.dtype)
        return self.model(x, t, context.to(x.dtype), global_embed, self.input_concat_cond(cond))

    def get_conditioning_inputs(
        self, conditioning_tensors: ConditioningTensors, negative: bool = False
    ) -> dict[str, Tensor | None]:
        """The tensors of a conditioner routed by id, under the reference's names. Raises InvalidRequest."""
        context, mask = self.cross_attn_cond(conditioning_tensors)
        inputs: dict[str, Tensor | None] = {
            "cross_attn_cond": context,
            "cross_attn_mask": mask,
            "global_cond": self.global_cond(conditioning_tensors, conditioning_tensors),
            "input_concat_cond": self.input_concat_cond(conditioning_tensors),
        }
        if negative:
            return {f"negative_{name}": tensor for name, tensor in inputs.items()}
        return inputs | {"prepend_cond": None, "prepend_cond_mask": None}

    def routed(self, tensors: ConditioningTensors) -> dict[str, tuple[Tensor, Tensor]]:
        """States and mask of the conditions that the network uses. Raises InvalidRequest if one is missing."""
        ids = dict.fromkeys((*self.cross_attn_cond_ids, *self.global_cond_ids))
        for name in ids:
            if name not in tensors or len(tensors[name]) != 2:
                raise InvalidRequest(
                    f"the conditioning tensors have no states and mask of {name!r}; this model needs {', '.join(ids)}"
                )
        return {name: (tensors[name][0], tensors[name][1]) for name in ids}

    def cross_attn_cond(
        self, tensors: ConditioningTensors
    ) -> tuple[Float[Tensor, "batch token dim"], Bool[Tensor, "batch token"]]:
        """Return the context of the network, and a mask of its rows without the padding."""
        routed = self.routed(tensors)
        pairs = [routed[name] for name in self.cross_attn_cond_ids]
        context = torch.cat([states.to(self.device) for states, _ in pairs], dim=1)
        return context, torch.cat([mask.to(self.device).bool() for _, mask in pairs], dim=1)

    def global_cond(
        self, numbers: ConditioningTensors, text: ConditioningTensors | None
    ) -> Float[Tensor, "batch global_dim"]:
        """The global vector; a text in it is the mean of its tokens, or zero for an empty text."""
        text_id = self.config.text.id
        ids = [name for name in self.global_cond_ids if name != text_id]
        embedded = {name: numbers[name][0].to(self.device) for name in ids}
        if text is None or text_id not in self.global_cond_ids:
            return self.conditioner.ours.global_vector(None, embedded)
        states, mask = (tensor.to(self.device) for tensor in text[text_id])
        return self.conditioner.ours.global_vector(TextStates(states, mask.bool()).mean(), embedded)

    def input_concat_cond(
        self, tensors: ConditioningTensors
    ) -> Float[Tensor, "batch extra frame"] | None:
        """The input channels beside the latents; None where the model has none. Raises InvalidRequest if one is missing."""
        missing = [name for name in self.input_concat_ids if name not in tensors]
        if missing:
            raise InvalidRequest(
                f"the conditioning tensors have no {missing[0]!r}; this model was trained for inpainting: use "
                "generate_diffusion_cond_inpaint"
            )
        if not self.input_concat_ids:
            return None
        inputs = [tensors[name][0].to(self.device) for name in self.input_concat_ids]
        return torch.cat(inputs, dim=1)

    def _apply(
        self, fn: Callable[[Tensor], Tensor], recurse: bool = True
    ) -> "ConditionedDiffusionModel":
        """Take the text encoder along; `to()` and `half()` call this."""
        super()._apply(fn, recurse)
        if self.config.is_conditional:
            self.conditioner.ours.text.model._apply(fn, recurse)
        return self


def _number(name: str, value: object) -> float:
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.reshape(())
    return real_number(name, value)
