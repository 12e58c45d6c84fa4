"""Names of an export's graphs, and of the tensors that go in and out.

| graph | computes |
|---|---|
| `text_encoder` | states of token ids, zero where the mask is |
| `conditioner` | context and global vectors from states and numbers |
| `prepare` | what all steps of a request share: projected global vector, keys and values of the context of every block |
| `step` | one evaluation of the transformer |
| `decoder` | a waveform from latents; of the embedded model the spectrum that its synthesis begins with |
"""

from dataclasses import dataclass

Axes = tuple[int | str, ...]
"""Sizes of a tensor's axes, or names of those that may have any; axes of one name have one size."""
TEXT_ENCODER, CONDITIONER, PREPARE, STEP, DECODER = NAMES = (
    "text_encoder",
    "conditioner",
    "prepare",
    "step",
    "decoder",
)
ROWS = ("batch", "context_row")
"""Axes that a part of a batch takes the first rows of."""


@dataclass(frozen=True)
class Port:
    """A tensor that goes into a graph or comes out of it."""

    name: str
    axes: Axes
    is_integer: bool = False
    """Says whether it holds whole numbers, as int64, in place of float32."""
