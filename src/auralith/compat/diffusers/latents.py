"""Start and end of a generation: the noise, initial audio under it, and the waveforms."""

import logging

import torch
from jaxtyping import Float
from torch import Tensor

from auralith.compat.diffusers.arguments import InitialAudio
from auralith.compat.diffusers.components import Vae, Waveform
from auralith.compat.diffusers.randomness import Generators, normal
from auralith.diffusion import Latents
from auralith.errors import InvalidRequest, NonFiniteError

log = logging.getLogger(__name__)


def unit_noise(
    shape: tuple[int, int, int], generator: Generators, device: torch.device, given: Tensor | None
) -> Latents:
    """The noise to start from; a `given` one may have any number of frames. Raises InvalidRequest for other shapes."""
    if given is None:
        return normal(generator, shape, device)
    if given.ndim != 3 or given.shape[:2] != shape[:2]:
        raise InvalidRequest(
            f"latents are {tuple(given.shape)}; they must be ({shape[0]}, {shape[1]}, frames)"
        )
    return given.to(device, torch.float32)


def encode_initial(
    vae: Vae, waveforms: InitialAudio, num_frames: int, copies: int, generator: Generators
) -> Float[Tensor, "waveform latent frame"]:
    """Latents of initial audio, a sample for each of `copies` waveforms per prompt, in the prompts' order (defect B1).

    Padded or cropped to the frames, with a warning.
    """
    channels = vae.audio.channels
    audio = _with_channels(waveforms, channels)
    samples = num_frames * vae.hop_length
    missing = samples - audio.shape[-1]
    if missing:
        done = "padded with silence" if missing > 0 else "cropped"
        log.warning("initial audio has %d samples and is %s to %d", audio.shape[-1], done, samples)
    audio = torch.nn.functional.pad(audio, (0, missing))
    distribution = vae.encode(audio)[0].repeat(copies)
    return distribution.sample(generator).float()


def check_waveforms(waveforms: Tensor, prompts: int, channels: int) -> None:
    """Raise InvalidRequest unless there is one waveform per prompt, mono or with the model's channels."""
    shape = tuple(waveforms.shape)
    fits = waveforms.ndim == 2 or (waveforms.ndim == 3 and shape[1] in (1, 2, channels))
    if not fits or shape[0] != prompts:
        raise InvalidRequest(
            f"initial_audio_waveforms are {shape}; give ({prompts}, samples) or ({prompts}, channels, samples)"
        )


def _with_channels(
    waveforms: InitialAudio, channels: int
) -> Float[Tensor, "batch audio_channel sample"]:
    audio = waveforms.unsqueeze(1) if waveforms.ndim == 2 else waveforms
    if channels == 1:
        return audio.mean(1, keepdim=True)
    return audio.expand(-1, channels, -1) if audio.shape[1] == 1 else audio


def decode(vae: Vae, latents: Latents, counts: list[int]) -> Waveform:
    """The first `counts` samples of each item, zeros after them; only the frames that these depend on are decoded.

    Raises NonFiniteError where the latents are not finite.
    """
    if not latents.isfinite().all():
        raise NonFiniteError("the latents became NaN or infinite; try dtype=torch.float32")
    longest = max(counts)
    frames = vae.codec.frames_needed(vae.audio.num_frames(longest), latents.shape[-1])
    waveforms = vae.decode(latents[..., :frames])[0][..., :longest]
    for waveform, count in zip(waveforms, counts, strict=True):
        waveform[..., count:] = 0
    return waveforms
