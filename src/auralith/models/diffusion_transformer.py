"""The base of diffusion transformers: what a request keeps over all its steps is prepared once, a step is the rest.

`prepare` computes what depends on neither the latents nor the timestep; `step` is what a sampler calls; `forward` is both
in a row, for training. Rows of the batch beyond those that have a context (the unconditional half under guidance) skip
cross-attention: without biases, an all-zero context contributes exactly zero.
"""

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar, runtime_checkable

from jaxtyping import Bool, Float
from torch import Tensor, nn


@runtime_checkable
class PreparedRows(Protocol):
    """Values that stay the same over all steps of a request."""

    def first_rows(self, count: int) -> "PreparedRows":
        """Return the same for the first rows of the batch alone (the conditioned half under guidance)."""
        ...


Prepared = TypeVar("Prepared", bound=PreparedRows)


class DiffusionTransformer(nn.Module, ABC, Generic[Prepared]):
    """A network from noisy latents to velocities.

    `checkpoint_activations` keeps only the input of every block while gradients are on, and computes it twice.
    """

    checkpoint_activations: bool
    blocks: nn.ModuleList
    project_in: nn.Linear

    @abstractmethod
    def prepare(
        self,
        context: Float[Tensor, "context_row token context_dim"] | None,
        global_embed: Float[Tensor, "batch global_dim"],
        num_frames: int,
        extra: Float[Tensor, "batch extra frame"] | None = None,
        valid: Bool[Tensor, "batch frame"] | None = None,
        *,
        keeps_keys: bool = False,
    ) -> Prepared:
        """Compute what all steps share.

        `context` may have fewer rows than `global_embed`: the rest are unconditional. `extra` holds the channels beside
        the latents, zeros if None. `valid` marks the frames of a sound in a batch of several lengths, all if None; it
        is for networks that were trained with such a mask. Other frames are attended to by none; with `keeps_keys` only
        their values are zero, as in the reference without flash attention, where their keys still draw attention.
        """

    @abstractmethod
    def step(
        self,
        latents: Float[Tensor, "batch channel frame"],
        t: Float[Tensor, " batch"],
        prepared: Prepared,
    ) -> Float[Tensor, "batch channel frame"]:
        """One evaluation at timesteps t in [0, 1] (float32 even when the network is in half precision)."""

    @abstractmethod
    def kept_widths(self, *, adapted: bool, half: bool, checkpointed: bool) -> float:
        """Return the vectors of the network's width that a block keeps of a position for its backward pass.

        `adapted` trains adapters alone, `half` is autocast to 16 bits, in whose values it then counts; `checkpointed`
        keeps what `checkpoint_activations` leaves.
        """

    @abstractmethod
    def reset_parameters(self) -> None:
        """Zero the branches' last layers, so that training starts from the identity (as the reference does)."""

    def forward(
        self,
        latents: Float[Tensor, "batch channel frame"],
        t: Float[Tensor, " batch"],
        context: Float[Tensor, "batch token context_dim"] | None,
        global_embed: Float[Tensor, "batch global_dim"],
        extra: Float[Tensor, "batch extra frame"] | None = None,
        valid: Bool[Tensor, "batch frame"] | None = None,
    ) -> Float[Tensor, "batch channel frame"]:
        prepared = self.prepare(context, global_embed, latents.shape[-1], extra, valid)
        return self.step(latents, t, prepared)
