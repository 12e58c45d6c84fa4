"""Waveforms and latents that programs pass in: tensors or numpy arrays of any strides and number format, as float32.

The last axis is time and the one before it the channels, everywhere. Floats have full scale ±1. Integers are PCM as
soundfile and scipy read it: int16, int32 (24 bits in its upper bytes included) and uint8, each divided by its own full
scale. Integers of other widths have none that is agreed on, so they are refused.
"""

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from auralith.errors import InvalidRequest
from auralith.sound.levels import require_usable

AnyWaveform = Shaped[Tensor, "*axes sample"] | Shaped[np.ndarray, "*axes sample"]
"""(sample,) for mono, (channel, sample), and where several are taken (batch, channel, sample)."""
AnyLatents = Shaped[Tensor, "*batch latent frame"] | Shaped[np.ndarray, "*batch latent frame"]
"""(channel, frame) or (batch, channel, frame)."""

MOST_CHANNELS = 64
"""An axis that is longer than this, and than the one after it, does not count channels."""
_PCM = {torch.uint8: (128, 2.0**-7), torch.int16: (0, 2.0**-15), torch.int32: (0, 2.0**-31)}
"""The zero of each integer format, and what a step is worth at full scale 1."""


def waveform_of(values: object, name: str = "the waveform") -> Float[Tensor, "channel sample"]:
    """Return one sound as float32, on its device; mono may come without its axis. `name` stands in messages.

    Memory is shared where nothing has to be converted. Levels are not looked at.

    Raises:
        InvalidRequest: it is neither a tensor nor an array, of another kind of numbers, empty, or its axes are not
            (channel, sample).
    """
    found = _samples(values, name, "(channel, sample)")
    if found.ndim > 2:
        raise InvalidRequest(
            f"{name} has shape {_shape(values)}; give one sound, (channel, sample), such as the first of a batch, [0]"
        )
    return _with_axes(found, 2)


def waveforms_of(
    values: object, name: str = "the waveform", channels: int | None = None
) -> Float[Tensor, "batch channel sample"]:
    """Return one sound or a batch as (batch, channel, sample); where `channels` are given, mono goes to each of them.

    Raises:
        InvalidRequest: as `waveform_of`, and for another number of channels.
        AudioError: samples are not finite, or on the scale of integers.
    """
    found = _samples(values, name, "(channel, sample) or (batch, channel, sample)")
    found = _with_axes(found, 3)
    if channels is not None:
        if found.shape[1] not in (1, channels):
            raise InvalidRequest(
                f"{name} has {found.shape[1]:,} channels; this model takes {channels} or 1, as (channel, sample)"
            )
        found = found.expand(-1, channels, -1)
    require_usable(found.flatten(0, 1), name)
    return found


def latents_of(
    values: object, channels: int, name: str = "the latents"
) -> Float[Tensor, "batch channel frame"]:
    """Return the latents of one sound or of a batch as (batch, channel, frame), float32, on their device.

    Raises:
        InvalidRequest: they are neither a tensor nor an array of floats, empty, or their axes are not those of
            latents with so many channels.
    """
    found, expected = _strided(values, name, "(channel, frame)"), f"({channels}, frame)"
    if not found.is_floating_point():
        raise InvalidRequest(f"{name} are {_dtype(values)}; give floats")
    if found.ndim not in (2, 3) or found.shape[-2] != channels or not found.numel():
        raise InvalidRequest(
            f"{name} have shape {_shape(values)}; this model's are {expected} or (batch, {expected[1:]}"
        )
    return found.float().reshape(-1, *found.shape[-2:])


def batched(values: object) -> bool:
    """Return whether an array or tensor has the batch axis that a result should have too."""
    return isinstance(values, Tensor | np.ndarray) and values.ndim == 3


def check_axes(name: str, waveform: Tensor | np.ndarray) -> None:
    """Raise `InvalidRequest` for a waveform whose channels must be samples: (sample, channel)."""
    if waveform.ndim > 1 and waveform.shape[-2] > max(MOST_CHANNELS, waveform.shape[-1]):
        raise InvalidRequest(
            f"{name} has {waveform.shape[-2]:,} channels of {waveform.shape[-1]} samples; give"
            " (channel, sample), such as waveform.T of what soundfile reads"
        )


def _samples(values: object, name: str, axes: str) -> Float[Tensor, "*axes sample"]:
    """Return the samples in float32, full scale ±1, with the axes that they came with."""
    found = _strided(values, name, axes)
    if not 1 <= found.ndim <= 3 or not found.numel():
        raise InvalidRequest(f"{name} has shape {_shape(values)}; give samples as {axes}")
    check_axes(name, found)
    if found.is_floating_point():
        return found.float()
    if found.dtype not in _PCM:
        raise InvalidRequest(
            f"{name} is {_dtype(values)}; give floats with full scale ±1, or PCM as int16, int32 or uint8"
        )
    zero, step = _PCM[found.dtype]
    return (found.float() - zero) * step


def _strided(values: object, name: str, axes: str) -> Tensor:
    """Return a tensor that torch and numpy can compute with; numbers of other kinds than torch's are refused."""
    if isinstance(values, np.ndarray):
        return _of_numpy(values, name)
    if not isinstance(values, Tensor):
        raise InvalidRequest(
            f"{name} is of type {type(values).__name__}; give a torch tensor or a numpy array, {axes}"
        )
    if values.is_meta or values.layout != torch.strided:
        kind = "has no values" if values.is_meta else f"is stored as {values.layout}"
        raise InvalidRequest(f"{name} {kind}; give an ordinary tensor, {axes}")
    return values.detach().resolve_conj().resolve_neg().contiguous()


def _of_numpy(values: np.ndarray, name: str) -> Tensor:
    """Return a tensor of any array of numbers: torch takes no negative strides, foreign byte orders, read-only memory."""
    if values.dtype.kind not in "fiu":
        raise InvalidRequest(f"{name} is {_dtype(values)}; give an array of floats")
    dtype = np.float32 if values.dtype.kind == "f" else values.dtype.newbyteorder("=")
    with np.errstate(over="ignore"):  # infinity, which is looked for where it matters
        return torch.from_numpy(np.require(values, dtype, ["C", "A", "W", "E"]))


def _with_axes(found: Tensor, count: int) -> Tensor:
    return found[(None,) * (count - found.ndim)]


def _dtype(values: object) -> str:
    return str(getattr(values, "dtype", "")).removeprefix("torch.")


def _shape(values: object) -> tuple[int, ...]:
    return tuple(getattr(values, "shape", ()))
