"""Prompt and seconds → the context and the global vector that the diffusion transformer is conditioned on.

`model_config.json` routes every condition by its id to cross-attention, to the global vector, or to both. Text is
padded to the token limit; its padding rows are zero, or a trained vector, and take part in attention, as in the
reference. In the global
vector a text counts by the mean of its tokens. The null condition (guidance, dropout in training) is an all-zero
context with the global vector of the numbers alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from auralith.config import ModelConfig
from auralith.errors import Field, InvalidRequest
from auralith.models.embedders import LearnedPadding
from auralith.prompt_embedding import Prompt, PromptEmbedding, encodable, mix_prompts
from auralith.text.encoder import TextEncoder, TextStates
from auralith.text.recent import RecentStates


@dataclass(frozen=True)
class Conditioning:
    context: Float[Tensor, "context_row token dim"]
    """Rows of the first items of the batch alone where the others have no context."""
    global_embed: Float[Tensor, "batch global_dim"]


@dataclass(frozen=True)
class MaskedInput:
    """Input of a model trained for inpainting: which frames of a sound are kept (1), and their latents."""

    mask: Float[Tensor, "batch 1 frame"]
    latents: Float[Tensor, "batch channel frame"]
    """Zero where `mask` is."""

    @staticmethod
    def of(
        latents: Float[Tensor, "batch channel frame"], mask: Float[Tensor, "batch 1 frame"]
    ) -> "MaskedInput":
        return MaskedInput(mask, latents * mask)

    def channels(
        self, input_ids: Sequence[str], copies: int = 1
    ) -> Float[Tensor, "row extra frame"]:
        """Return the inputs side by side in the order of a model's `input_ids`, the whole batch `copies` times."""
        inputs = {"inpaint_mask": self.mask, "inpaint_masked_input": self.latents}
        return torch.cat([inputs[name] for name in input_ids], dim=1).repeat(copies, 1, 1)


Numbers = Mapping[str, Sequence[float] | Float[Tensor, " batch"]]
"""A value per item for each number condition, in its own unit."""


class Router:
    """Routes text states and numbers; enough for training on cached text, which needs no text encoder.

    `numbers` holds the networks of the conditions by id (`families.registry.condition_networks`).
    """

    def __init__(self, config: ModelConfig, numbers: nn.ModuleDict) -> None:
        self.config, self.numbers = config, numbers

    @property
    def number_ids(self) -> tuple[str, ...]:
        return tuple(condition.id for condition in self.config.numbers)

    def assemble(
        self, text: TextStates, numbers: Numbers, keep: Bool[Tensor, " batch"] | None = None
    ) -> Conditioning:
        """Route text and numbers; items whose `keep` is false get the null condition (dropout in training)."""
        text = self.project(text)
        if keep is not None:
            text = TextStates(text.states * keep[:, None, None], text.mask)
        routed = self._route(text.states, text.mean(), numbers)
        if keep is None:
            return routed
        return Conditioning(routed.context * keep[:, None, None], routed.global_embed)

    def _route(
        self,
        states: Float[Tensor, "batch token dim"],
        mean: Float[Tensor, "batch dim"],
        numbers: Numbers,
    ) -> Conditioning:
        embedded = self._embed(numbers, states.device)
        rows = [
            states if name == self.config.text.id else embedded[name]
            for name in self.config.context_ids
        ]
        return Conditioning(torch.cat(rows, dim=1), self.global_vector(mean, embedded))

    def project(self, text: TextStates, *, negative: bool = False) -> TextStates:
        """Return text states as the transformer takes them: in the width of the conditions, with their padding.

        The padding of a `negative` prompt is zero even where the model has a trained vector for it, as in the reference.
        """
        if self.config.text.id not in self.numbers:
            return text
        network = self.numbers[self.config.text.id]
        if negative and isinstance(network, LearnedPadding):
            return text
        return TextStates(network(text.states, text.mask), text.mask)

    def null(self, numbers: Numbers, device: torch.device) -> Float[Tensor, "batch global_dim"]:
        """The global vector of the null condition; its context is all zero and need not be built."""
        return self.global_vector(None, self._embed(numbers, device))

    def _embed(
        self, numbers: Numbers, device: torch.device
    ) -> dict[str, Float[Tensor, "batch 1 dim"]]:
        missing = [name for name in self.number_ids if name not in numbers]
        if missing:
            raise InvalidRequest(
                Field("condition"), f" {missing[0]!r} is missing; this model needs it"
            )
        return {
            name: self.numbers[name](
                torch.as_tensor(numbers[name], dtype=torch.float32, device=device)
            ).float()
            for name in self.number_ids
        }

    def global_vector(
        self,
        mean: Float[Tensor, "batch dim"] | None,
        embedded: Mapping[str, Float[Tensor, "batch 1 dim"]],
    ) -> Float[Tensor, "batch global_dim"]:
        """Numbers and the mean of the text's tokens, side by side; without text zeros stand for it."""
        parts = []
        for name in self.config.global_ids:
            if name != self.config.text.id:
                parts.append(embedded[name][:, 0])
            elif mean is not None:
                parts.append(mean)
            else:
                parts.append(torch.zeros_like(next(iter(embedded.values()))[:, 0]))
        return torch.cat(parts, dim=-1)


class Conditioner(Router):
    """A router with the text encoder before it, whose last states are remembered."""

    def __init__(self, config: ModelConfig, numbers: nn.ModuleDict, text: TextEncoder) -> None:
        super().__init__(config, numbers)
        self.text = text
        self._recent = RecentStates()

    def __call__(
        self,
        prompts: Sequence[str | PromptEmbedding],
        numbers: Numbers,
        *,
        negative: bool = False,
    ) -> Conditioning:
        """Conditioning of a batch of prompts, which may be negative ones, and their numbers."""
        return self._route(*self._encoded(prompts, negative=negative), numbers)

    def both(
        self,
        prompts: Sequence[str | PromptEmbedding],
        negatives: Sequence[str | PromptEmbedding] | None,
        numbers: Numbers,
        *,
        guided: bool,
    ) -> Conditioning:
        """Return the conditioning of a batch and, if it is `guided`, that of negative prompts or of none behind it."""
        found = self(prompts, numbers)
        if not guided:
            return found
        if negatives is None:
            return Conditioning(
                found.context, torch.cat((found.global_embed, self.null(numbers, self.text.device)))
            )
        negative = self(negatives, numbers, negative=True)
        context = torch.cat((found.context, negative.context))
        return Conditioning(context, torch.cat((found.global_embed, negative.global_embed)))

    def embed(self, prompts: Sequence[str | PromptEmbedding]) -> list[PromptEmbedding]:
        """Return prompts encoded, as values that a batch takes in their place."""
        texts = [prompt if isinstance(prompt, str) else prompt.text for prompt in prompts]
        return list(map(PromptEmbedding, texts, *self._encoded(prompts)))

    def mix(self, parts: Sequence[tuple[float, Prompt]]) -> str | PromptEmbedding:
        """Return the one prompt that weighted ones amount to: one alone as it is, else the mean of their embeddings."""
        weights, prompts = zip(*parts, strict=True)
        if len(prompts) == 1:
            return encodable(prompts[0])
        embedded = self.embed([encodable(prompt) for prompt in prompts])
        return mix_prompts(list(zip(weights, embedded, strict=True)))

    def _encoded(
        self, prompts: Sequence[str | PromptEmbedding], *, negative: bool = False
    ) -> tuple[Float[Tensor, "batch token dim"], Float[Tensor, "batch dim"]]:
        """Return states and means, with the texts among the prompts encoded as one batch."""
        device = self.text.device
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        encoded: Iterator[tuple[Tensor, Tensor]] = iter(())
        if texts:
            text = self.project(self.encode_text(texts), negative=negative)
            encoded = zip(text.states, text.mean(), strict=True)
        found = [
            next(encoded)
            if isinstance(prompt, str)
            else (prompt.states.to(device).float(), prompt.mean.to(device).float())
            for prompt in prompts
        ]
        states, means = zip(*found, strict=True)
        return torch.stack(states), torch.stack(means)

    def encode_text(self, prompts: Sequence[str]) -> TextStates:
        """Return the states of prompts, each cut to the token limit with a warning (`TextEncoder.encode`)."""
        return self._recent.encode(self.text, prompts, self.config.text.max_tokens)
