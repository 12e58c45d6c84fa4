"""Networks of text encoders, which make a state of every token from ids and the mask of the real ones."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class TextNetwork(nn.Module, ABC):
    """Base of the networks."""

    @property
    @abstractmethod
    def embedding(self) -> nn.Embedding:
        """Return the embedding of the tokens."""

    @abstractmethod
    def forward(
        self, ids: Int[Tensor, "batch token"], mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token dim"]:
        """Return the states of tokens; `mask` is 1 where a token is real and 0 where it is padding."""

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.weight.dtype
