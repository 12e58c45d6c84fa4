"""The waveforms that programs pass in, brought to the model's rate, length and channels."""

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.errors import InvalidRequest
from auralith.sound.arrays import AnyWaveform, waveforms_of
from auralith.sound.resampling import resample


def prepare_audio(
    audio: AnyWaveform,
    in_sr: int,
    target_sr: int,
    target_length: int,
    target_channels: int,
    device: torch.device | str,
) -> Float[Tensor, "batch channel target"]:
    """(sample), (channel, sample) or (batch, channel, sample) at another rate, cut or padded with silence at its end.

    Mono becomes stereo by repetition, anything becomes mono by its mean, and of more than two channels stereo takes the
    first two. Raises InvalidRequest for what is not a waveform, and AudioError for NaN and infinity.
    """
    items = waveforms_of(audio, "the audio")
    if in_sr <= 0:
        raise InvalidRequest(f"the audio's sample rate is {in_sr} Hz; it must be above 0")
    resampled = torch.stack([resample(item, in_sr, target_sr) for item in items])
    length = min(target_length, resampled.shape[-1])
    fitted = resampled.new_zeros(*resampled.shape[:2], target_length)
    fitted[..., :length] = resampled[..., :length]
    return _with_channels(fitted, target_channels).to(device)


def _with_channels(
    waveform: Float[Tensor, "batch channel sample"], channels: int
) -> Float[Tensor, "batch target sample"]:
    if channels == 1:
        return waveform.mean(1, keepdim=True)
    if waveform.shape[1] == 1:
        return waveform.repeat(1, channels, 1)
    if waveform.shape[1] < channels:
        raise InvalidRequest(
            f"the audio has {waveform.shape[1]} channels; give 1 or at least {channels}"
        )
    return waveform[:, :channels]
