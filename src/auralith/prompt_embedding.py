"""A prompt as the model's text encoder understood it, to be given in place of the text, and mixtures of several.

    rain, thunder = model.encode_prompt("rain"), model.encode_prompt("thunder")
    model.generate(GenerationRequest(mix_prompts([(0.7, rain), (0.3, thunder)])))

Tags hold its text and a hash. A mixture is the weighted mean of the embeddings, token by token: first with first, second
with second. Where one text has ended its rows are zero, so what the longer text says from there on counts by its own
weight alone. The mean that stands in a global vector is that of each text's own tokens, mixed by the same weights.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import no_type_check

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.errors import InvalidRequest, shown


@no_type_check  # values come from people: the checks below are for any type
@dataclass(frozen=True, eq=False)
class PromptEmbedding:
    """One prompt, encoded.

    Raises:
        InvalidRequest: its tensors are not finite or don't fit each other, or its text is empty.
    """

    text: str
    """Says in words what was encoded, for tags and names of files."""
    states: Float[Tensor, "token dim"]
    """A row for each token, in the width of the model's conditions; zero after the end of the text."""
    mean: Float[Tensor, " dim"]
    """Mean of the text's tokens, for models whose global vector has the prompt in it."""

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise InvalidRequest("an embedding has no text; say in words what it is of")
        for name, axes in (("states", 2), ("mean", 1)):
            value = getattr(self, name)
            if (
                not isinstance(value, Tensor)
                or not value.is_floating_point()
                or value.dim() != axes
            ):
                raise InvalidRequest(
                    f"the embedding's {name} is {shown(value)}; give a tensor of floats with {axes} axes"
                )
            if not value.isfinite().all():
                raise InvalidRequest(f"the embedding's {name} holds NaN or infinity")
        if self.states.shape[1] != self.mean.shape[0]:
            raise InvalidRequest(
                f"the embedding's states are {self.states.shape[1]} wide, its mean {self.mean.shape[0]}; make them equal"
            )

    def record(self) -> "EmbeddingRecord":
        """Return what tags hold of it."""
        digest = hashlib.sha256(repr(tuple(self.states.shape)).encode())
        for part in (self.states, self.mean):
            digest.update(part.detach().float().cpu().contiguous().numpy().tobytes())
        return EmbeddingRecord(self.text, digest.hexdigest())


@dataclass(frozen=True)
class EmbeddingRecord:
    """Record of an embedding in a file's tags: enough to know it again, not to make a sound with it."""

    text: str
    embedding: str
    """SHA-256 of its numbers."""


Prompt = str | PromptEmbedding | EmbeddingRecord
"""The prompt of a request; a record stands for an embedding that isn't there, so nothing is made with it."""


def encodable(prompt: Prompt) -> str | PromptEmbedding:
    """Return the prompt of a resolved request, which is not a record of an embedding."""
    assert not isinstance(prompt, EmbeddingRecord)  # see `request.require_given`
    return prompt


def mix_prompts(parts: Sequence[tuple[float, PromptEmbedding]]) -> PromptEmbedding:
    """Return the weighted mean of embeddings of one model; weights may be of any size and sign, their sum is made 1.

    Raises `InvalidRequest` if the list is empty, the weights are not finite or have the sum 0, or they don't fit together.
    """
    if not parts:
        raise InvalidRequest("there is no embedding to mix; give (weight, embedding) pairs")
    total = math.fsum(weight for weight, _ in parts)
    if not math.isfinite(total) or abs(total) < 1e-6:
        raise InvalidRequest(f"the weights of a mixture have the sum {total:g}; choose others")
    first = parts[0][1]
    for _, part in parts:
        if part.states.shape != first.states.shape:
            raise InvalidRequest(
                f"embeddings of the shapes {tuple(first.states.shape)} and {tuple(part.states.shape)} can't be mixed; "
                "encode both with one model"
            )
    shares = [weight / total for weight, _ in parts]
    words = [f"{share:.4g} {part.text}" for share, (_, part) in zip(shares, parts, strict=True)]
    return PromptEmbedding(
        " + ".join(words),
        _weighted(shares, [part.states for _, part in parts]),
        _weighted(shares, [part.mean for _, part in parts]),
    )


def _weighted(shares: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    return torch.stack([s * value for s, value in zip(shares, values, strict=True)]).sum(0)
