"""The base of diffusion transformers: what a request keeps over all its steps is prepared once, a step is the rest.

`prepare` computes what depends on neither the latents nor the timestep; `step` is what a sampler calls; `forward` is both
in a row, for training. A step enters the latents as rows, leads them through the blocks and leaves with the output. Rows of the batch beyond those that have a context (the unconditional half under guidance) skip
cross-attention: without biases, an all-zero context contributes exactly zero.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from auralith.models.step_cache import StepCache


@runtime_checkable
class PreparedRows(Protocol):
    """Values that stay the same over all steps of a request."""

    def rows(self, selection: slice) -> "PreparedRows":
        """Return the same for some rows of the batch alone, such as the conditioned half under guidance."""
        ...


Prepared = TypeVar("Prepared", bound=PreparedRows)


class DiffusionTransformer(nn.Module, ABC, Generic[Prepared]):
    """A network from noisy latents to velocities.

    `checkpoint_activations` keeps only the input of every block while gradients are on, and computes it twice.
    """

    checkpoint_activations: bool
    blocks: nn.ModuleList
    project_in: nn.Linear
    project_out: nn.Linear
    conv_out: nn.Conv1d

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

    def step(
        self,
        latents: Float[Tensor, "batch channel frame"],
        t: Float[Tensor, " batch"],
        prepared: Prepared,
        cache: StepCache | None = None,
    ) -> Float[Tensor, "batch channel frame"]:
        """One evaluation at timesteps t in [0, 1] (float32 even when the network is in half precision).

        With a cache the blocks behind the first are skipped where it allows that.
        """
        x, modulation = self.enter(latents, t, prepared)
        if cache is None:
            x = self._through(x, modulation, prepared, 0, len(self.blocks))
        else:
            first = self._through(x, modulation, prepared, 0, 1)

            def others(rows: slice) -> Tensor:
                own = None if modulation is None else modulation[rows]
                own_prepared: Any = prepared.rows(rows)
                return self._through(first[rows], own, own_prepared, 1, len(self.blocks))

            x = cache.rows_after(x, first, others)
        out = self.project_out(x[:, -latents.shape[-1] :]).transpose(1, 2)
        return self.conv_out(out) + out

    @abstractmethod
    def enter(
        self,
        latents: Float[Tensor, "batch channel frame"],
        t: Float[Tensor, " batch"],
        prepared: Prepared,
    ) -> tuple[Float[Tensor, "batch position dim"], Float[Tensor, "batch six_dims"] | None]:
        """Return the rows before the first block, those of the latents last, and what modulates the blocks of this step."""

    @abstractmethod
    def block_inputs(
        self,
        index: int,
        modulation: Float[Tensor, "batch six_dims"] | None,
        prepared: Prepared,
    ) -> tuple[Any, ...]:
        """Return what a block takes besides its rows."""

    def _through(
        self,
        x: Float[Tensor, "batch position dim"],
        modulation: Float[Tensor, "batch six_dims"] | None,
        prepared: Prepared,
        start: int,
        stop: int,
    ) -> Float[Tensor, "batch position dim"]:
        """Return the rows behind the blocks from `start` to before `stop`."""
        for index in range(start, stop):
            block, given = self.blocks[index], self.block_inputs(index, modulation, prepared)
            if self.checkpoint_activations and torch.is_grad_enabled():
                x = checkpoint(block, x, *given, use_reentrant=False, preserve_rng_state=False)
            else:
                x = block(x, *given)
        return x

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


def change_first(
    x: Float[Tensor, "batch position dim"],
    count: int,
    change: Callable[[Float[Tensor, "conditional position dim"]], Tensor],
) -> Float[Tensor, "batch position dim"]:
    """Return `x` with what `change` makes of its first `count` items: those that have a context to attend to."""
    if count == x.shape[0]:
        return change(x)
    # split, not sliced: torch.export gives slices sizes of nested minima, which grow with every block
    first, others = x.split((count, x.shape[0] - count))
    return torch.cat((change(first), others))
