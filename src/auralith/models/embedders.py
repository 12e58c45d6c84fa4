"""Networks between a condition's value and its rows of the context, a small one per condition.

A number is embedded (arXiv 2407.14358, section 3.2); the states of a text encoder of another width are projected.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from auralith.config import NumberCondition

LOWEST_FREQUENCY, HIGHEST_FREQUENCY = 0.5, 10_000.0


class GeometricFeatures(nn.Module):
    """[cos 2πfu, sin 2πfu] of a value for the frequencies f of `geometric_frequencies`; in float32."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.count = num_features // 2
        self.register_buffer("held", None, persistent=False)
        self.held: Tensor | None

    def hold(self, device: torch.device) -> None:
        """Keep the frequencies in place of computing them anew, so that they are a constant of an exported graph."""
        self.held = geometric_frequencies(self.count, device)

    def forward(self, values: Float[Tensor, " batch"]) -> Float[Tensor, "batch feature"]:
        frequencies = self.held
        if frequencies is None:
            frequencies = geometric_frequencies(self.count, values.device)
        turns = values.float()[:, None] * frequencies
        if self.held is not None:
            # changes nothing, as values are not negative, but for runtimes that would multiply by both constants at once
            turns = turns.relu()
        angles = turns * (2 * math.pi)
        return torch.cat((angles.cos(), angles.sin()), dim=-1)


def geometric_frequencies(count: int, device: torch.device) -> Float[Tensor, " count"]:
    """Return frequencies from 0.5 to 10,000, evenly spaced in ln f, as the networks were trained with them: in float32.

    Their last bits depend on the device, and move the highest angles (up to 62,832) by a hundredth.
    """
    low, high = math.log(LOWEST_FREQUENCY), math.log(HIGHEST_FREQUENCY)
    ramp = torch.linspace(0, 1, count, dtype=torch.float32, device=device)
    return (ramp * (high - low) + low).exp()


class Fourier(nn.Module):
    """A module with Fourier frequencies, which stay in float32 when the model around it is cast.

    Rounded frequencies would merge neighboring timesteps.
    """

    def __init__(self, num_frequencies: int) -> None:
        super().__init__()
        self.frequencies = nn.Parameter(torch.empty(num_frequencies).normal_())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Fourier":
        """Move everything (`to()`, `half()` and others call this), but cast the children alone."""

        def in_float32(values: Tensor) -> Tensor:
            moved = fn(values)
            return moved if moved.dtype == torch.float32 else values.to(moved.device, torch.float32)

        if recurse:
            for child in self.children():
                child._apply(fn)
        super()._apply(in_float32, recurse=False)
        return self


class NumberEmbedder(Fourier):
    """[u, sin 2πuw, cos 2πuw] of the value scaled to u in [0, 1], then one linear layer."""

    def __init__(self, condition: NumberCondition, dim: int, num_frequencies: int = 128) -> None:
        super().__init__(num_frequencies)
        self.minimum, self.maximum = condition.minimum, condition.maximum
        self.linear = nn.Linear(2 * num_frequencies + 1, dim)

    def forward(self, values: Float[Tensor, " batch"]) -> Float[Tensor, "batch 1 dim"]:
        """Embeddings of values in their own unit (seconds); values out of range are clamped."""
        clamped = values.float().clamp(self.minimum, self.maximum)
        unit = ((clamped - self.minimum) / (self.maximum - self.minimum))[:, None]
        angles = 2 * math.pi * unit * self.frequencies
        features = torch.cat((unit, angles.sin(), angles.cos()), dim=-1)
        return self.linear(features.to(self.linear.weight.dtype))[:, None]


class IntegerEmbedder(nn.Module):
    """A row of a table for each whole number from 0 to the condition's maximum."""

    def __init__(self, condition: NumberCondition, dim: int) -> None:
        super().__init__()
        self.maximum = int(condition.maximum)
        self.table = nn.Embedding(self.maximum + 1, dim)

    def forward(self, values: Float[Tensor, " batch"]) -> Float[Tensor, "batch 1 dim"]:
        """Return the rows of whole numbers; values out of range are clamped."""
        return self.table(values.round().long().clamp(0, self.maximum))[:, None]


class GeometricNumberEmbedder(nn.Module):
    """`GeometricFeatures` of the value scaled to u in [0, 1], then one linear layer."""

    def __init__(self, condition: NumberCondition, dim: int, num_features: int = 256) -> None:
        super().__init__()
        self.minimum, self.maximum = condition.minimum, condition.maximum
        self.features = GeometricFeatures(num_features)
        self.linear = nn.Linear(num_features, dim)

    def forward(self, values: Float[Tensor, " batch"]) -> Float[Tensor, "batch 1 dim"]:
        """Embeddings of values in their own unit (seconds); values out of range are clamped."""
        clamped = values.float().clamp(self.minimum, self.maximum)
        unit = (clamped - self.minimum) / (self.maximum - self.minimum)
        return self.linear(self.features(unit).to(self.linear.weight.dtype))[:, None]


class TextProjection(nn.Linear):
    """A layer that brings the states of a text encoder to the width of the conditions; padding stays zero."""

    def forward(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, states: Float[Tensor, "batch token dim"], mask: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token width"]:
        """Return the states in float32."""
        return super().forward(states.to(self.weight.dtype)).float() * mask.unsqueeze(-1)


class LearnedPadding(nn.Module):
    """A trained vector that stands in the place of padding."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.vector = nn.Parameter(torch.zeros(dim))

    def forward(
        self, states: Float[Tensor, "batch token dim"], mask: Bool[Tensor, "batch token"]
    ) -> Float[Tensor, "batch token dim"]:
        """Return the states in float32, with the vector where `mask` is false."""
        return torch.where(mask.unsqueeze(-1), states.float(), self.vector.float())
