"""Interface of embedders: a sound of any rate and channels in, a row of numbers for each of its windows out.

Level, resampling, channels and windows are an embedder's own affair, in the order of the metric it serves; all of it
stands in `protocol`, so that values made in different ways are never compared. A result depends on the sound and the
seed alone, not on what else is embedded.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from auralith.errors import AudioError, CheckpointError
from auralith.models.lazy_tensor import Weights, require_tensors, weights_of
from auralith.numbers import is_finite
from auralith.sound.levels import LEAST_PEAK, require_usable
from auralith.weights import WeightsOrigin

ProtocolValue = str | int | float | None
CPU = torch.device("cpu")
PEAK = 10 ** (-1 / 20)
"""Peak that the metrics of arXiv 2407.14358 bring every sound to: -1 dBFS."""
OWN_NETWORK = WeightsOrigin("other", "a network given in Python")


@runtime_checkable
class Embedder(Protocol):
    """A network, or a formula, that turns windows of sound into vectors."""

    @property
    def name(self) -> str:
        """Return the name that `open_embedder` knows it by, such as "openl3-env"."""
        ...

    @property
    def dim(self) -> int: ...

    @property
    def origin(self) -> WeightsOrigin:
        """Return whether its weights are the published ones. Not part of `protocol`, which has their hash."""
        ...

    def protocol(self) -> dict[str, ProtocolValue]:
        """Return all that decides a value beside the sound: front end, weights' SHA-256, resampler, windows, level."""
        ...

    def embed(
        self, waveform: Float[Tensor, "channel sample"], sample_rate: int, seed: int = 0
    ) -> Float[Tensor, "window dim"]:
        """Return one float32 row for each window, on the CPU. The seed is for embedders that draw crops.

        Raises:
            AudioError: the sound is silent ("silent"), too short ("too_short"), not finite ("nan_samples"), or of
                channels or a rate that the embedder does not take.
        """
        ...


@runtime_checkable
class Classifier(Embedder, Protocol):
    """An embedder that also names what it hears."""

    @property
    def classes(self) -> tuple[str, ...]: ...

    def logits(
        self, waveform: Float[Tensor, "channel sample"], sample_rate: int
    ) -> Float[Tensor, "window class"]:
        """Return one float32 row for each window, on the CPU, before softmax or sigmoid. Raises as `embed` does."""
        ...


def checked(
    waveform: Float[Tensor, "channel sample"], sample_rate: int
) -> Float[Tensor, "channel sample"]:
    """Return the sound as float32 on the CPU.

    Raises:
        AudioError: it lacks samples or a rate, is silent (below -100 dBFS), not finite, or on the scale of integers.
    """
    if not waveform.numel():
        raise AudioError("the sound holds no samples; leave it out", "no_samples")
    if not is_finite(sample_rate) or sample_rate < 1:
        raise AudioError(f"the sample rate is {sample_rate} Hz; at least 1 is needed", "bad_rate")
    waveform = waveform.detach().cpu().float()
    require_usable(waveform, "the sound")
    if float(waveform.abs().max()) <= LEAST_PEAK:
        raise AudioError("the sound is silent (below -100 dBFS); leave it out", "silent")
    return waveform


def at_peak(waveform: Float[Tensor, "channel sample"]) -> Float[Tensor, "channel sample"]:
    """Return the sound with its largest magnitude, over all channels, at -1 dBFS."""
    return waveform * (PEAK / float(waveform.abs().max()))


def mono(waveform: Float[Tensor, "channel sample"]) -> Float[Tensor, "1 sample"]:
    """Return the mean of all channels."""
    return waveform.mean(dim=0, keepdim=True)


def windows(
    waveform: Float[Tensor, "1 sample"], size: int, hop: int
) -> Iterator[Float[Tensor, " sample"]]:
    """Yield windows of `size` samples at the starts 0, hop … below N − hop, at least one; the last may be shorter.

    At 10 s and a hop of 5 s, 10 s give 1 window, 10.5 s 2, 20 s 3, 47 s 9.
    """
    num_samples = waveform.shape[1]
    for start in range(0, max(hop, num_samples - hop), hop):
        yield waveform[0, start : start + size]


def state_digest(state: Mapping[str, Tensor]) -> str:
    """Return a SHA-256 over names, shapes and float32 values of weights: the same for every form of file."""
    digest = hashlib.sha256()
    for name in sorted(state):
        values = state[name].detach().to("cpu", torch.float32).contiguous()
        digest.update(f"{name}{tuple(values.shape)}".encode())
        digest.update(values.numpy().data)
    return digest.hexdigest()


def load_strictly(network: nn.Module, weights: Weights, path: Path, name: str) -> None:
    """Give a network on the meta device the weights of a file, in float32, and put it into eval mode.

    Raises:
        CheckpointError: other names or shapes than those of the network called `name`, or values that are not finite.
    """
    require_tensors(
        weights,
        weights_of(network.state_dict()),
        path,
        fits=name,
        remedy=f"get the published weights of {name}",
    )
    state = {name: tensor.read().float() for name, tensor in weights.items()}
    for key, values in state.items():
        if not bool(torch.isfinite(values).all()):
            raise CheckpointError(f"{path}: tensor {key!r} is not finite; get the file again")
    network.load_state_dict(state, assign=True)
    network.eval().requires_grad_(False)
