"""The networks that a latent cache is made with (sound to latents and back, prompts to text states), and checks of them.

Recordings are encoded whole, with silence behind them, so that a crop sees what was around it and its end fades into
silence as the autoencoder has it. The weights are known by their hash, which caches carry. A check before the first step
catches what otherwise costs days, parts of the model that were never trained: it returns a line to show, and refuses
what can't be right.
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from auralith.conditioning import Conditioner
from auralith.config import AudioFormat
from auralith.data.crops import AudioOptions, prepare
from auralith.data.latents import LatentCache
from auralith.data.recording import Recordings
from auralith.errors import AuralithError, CheckpointError, InvalidRequest, NonFiniteError
from auralith.metrics.codec import si_sdr
from auralith.models.autoencoder import Autoencoder
from auralith.models.latent_codec import LatentCodec
from auralith.pipeline import Auralith

TEXT_BATCH = 32


class LatentEncoder:
    """The networks that a cache is made with, and the hashes of their weights.

    Keep the weights in float32, so that their hash does not depend on the machine; `compute` is the number format the
    autoencoder calculates in. Without a conditioner there is no text. Latents are divided by `latent_scale`.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        audio: AudioFormat,
        conditioner: Conditioner | None = None,
        *,
        latent_scale: float = 1.0,
        device: torch.device | None = None,
        compute: torch.dtype = torch.float32,
    ) -> None:
        self.autoencoder, self.audio, self.conditioner = autoencoder, audio, conditioner
        self.codec, self.compute = LatentCodec(autoencoder, latent_scale), compute
        self.device = device or torch.device("cpu")
        self.autoencoder_hash = weights_hash(autoencoder)
        self.text_hash = None if conditioner is None else weights_hash(conditioner.text.model)
        self.tail_frames = autoencoder.tail_frames

    @classmethod
    def of(cls, model: Auralith, compute: torch.dtype = torch.float32) -> "LatentEncoder":
        return cls(
            model.autoencoder,
            model.config.audio,
            model.conditioner,
            latent_scale=model.codec.latent_scale,
            device=model.device,
            compute=compute,
        )

    @torch.inference_mode()
    def encode(
        self, waveform: Float[Tensor, "channel sample"]
    ) -> tuple[Float[Tensor, "latent frame"], Float[Tensor, "latent frame"]]:
        """Mean and standard deviation in float32, on the CPU: the frames with sound, then `tail_frames` of silence."""
        rate = self.audio.samples_per_frame
        num_frames = self.audio.num_frames(waveform.shape[-1])
        # twice the tail: the last frames of what is encoded feel the edge there, and are dropped
        missing = (num_frames + 2 * self.tail_frames) * rate - waveform.shape[-1]
        padded = nn.functional.pad(waveform, (0, missing))[None].to(self.device)
        with torch.autocast(
            self.device.type, self.compute, enabled=self.compute is not torch.float32
        ):
            posterior = self.codec.encode(padded)
        mean, std = (
            part[0, :, : num_frames + self.tail_frames].cpu()
            for part in (posterior.mean, posterior.std)
        )
        return mean, std

    @torch.inference_mode()
    def decode(self, latents: Float[Tensor, "latent frame"]) -> Float[Tensor, "channel sample"]:
        """Waveform of latents in float32, on the CPU."""
        return self.codec.decode(latents[None])[0].float().cpu()

    def silence(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of a frame that has nothing but silence around it."""
        nothing = torch.zeros(
            self.audio.channels, 2 * self.tail_frames * self.audio.samples_per_frame
        )
        mean, std = self.encode(nothing)
        middle = mean.shape[-1] // 2
        return tuple(mean[:, middle].tolist()), tuple(std[:, middle].tolist())

    @torch.inference_mode()
    def texts(self, prompts: Sequence[str]) -> dict[str, Float[Tensor, "token dim"]]:
        """States of the real tokens of each prompt in float16, on the CPU."""
        assert self.conditioner is not None
        states: dict[str, Tensor] = {}
        for start in range(0, len(prompts), TEXT_BATCH):
            batch = prompts[start : start + TEXT_BATCH]
            text = self.conditioner.encode_text(batch)
            real = text.mask.sum(1).tolist()
            for prompt, rows, count in zip(batch, text.states.cpu(), real, strict=True):
                states[prompt] = rows[:count].half()
                if not states[prompt].isfinite().all():
                    raise NonFiniteError(f"the text states of {prompt!r} are NaN or too large")
        return states


def weights_hash(network: nn.Module) -> str:
    """SHA-256 over names, shapes and float32 values: the same for a network and its lossless copy in another dtype."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update(np.ascontiguousarray(value.detach().float().cpu().numpy()).data)
    return digest.hexdigest()


def stored_reconstruction(
    encoder: LatentEncoder,
    cache: LatentCache,
    recordings: Recordings,
    index: int = 0,
    seconds: float = 10.0,
) -> tuple[Float[Tensor, "channel sample"], Float[Tensor, "channel sample"]]:
    """The beginning of a cached recording, decoded from its stored latents, and the original, to compare them.

    Raises:
        CheckpointError: the recording is no longer in the dataset.
    """
    record = cache.record(index)
    position = next((i for i in range(len(recordings)) if recordings[i].id == record.id), None)
    if position is None:
        raise CheckpointError(f"{record.path} is cached, but no longer in the dataset")
    options = AudioOptions(encoder.audio.sample_rate, encoder.audio.channels, resample=True)
    original = prepare(*recordings.read(position), options, record.path)
    original = original[:, : encoder.audio.num_samples(seconds)]
    frames = encoder.audio.num_frames(original.shape[-1])
    # decoded with what follows it, as its last samples depend on that
    decoded = encoder.decode(cache.latents(index, 0, frames + encoder.tail_frames))
    return decoded[:, : original.shape[-1]], original


CHECKED = 4
CHECKED_SECONDS = 6.0
LEAST_CORRELATION = 0.5
SPREAD = (0.1, 10.0)
REMEDY = "name a trained model, or give --no-checks if this is meant"


def check_reconstruction(encoder: LatentEncoder, recordings: Recordings) -> str:
    """SI-SDR of a few recordings through the autoencoder, and how far its spectrum follows theirs.

    An autoencoder that makes its own phase has a low SI-SDR by design; its spectrum tells whether it was trained.
    Raises InvalidRequest if it follows less than half.
    """
    ratios, followed = [], []
    options = AudioOptions(encoder.audio.sample_rate, encoder.audio.channels, resample=True)
    for i in np.linspace(0, len(recordings) - 1, min(CHECKED, len(recordings)), dtype=int):
        try:
            original = prepare(*recordings.read(int(i)), options, recordings[int(i)].path)
        except AuralithError:
            continue  # the report names it
        original = original[:, : encoder.audio.num_samples(CHECKED_SECONDS)]
        mean, _ = encoder.encode(original)
        made = encoder.decode(mean)[:, : original.shape[-1]]
        ratios.append(float(si_sdr(made, original)))
        followed.append(spectral_correlation(made, original))
    if not ratios:
        raise InvalidRequest("no recording could be read to check the autoencoder with")
    follows = float(np.mean(followed))
    line = (
        f"autoencoder: SI-SDR {np.mean(ratios):.1f} dB, spectrum followed {follows:.0%} "
        f"({len(ratios)} recordings)"
    )
    if not follows >= LEAST_CORRELATION:
        raise InvalidRequest(f"{line}: it looks untrained; {REMEDY}")
    return line


def check_latents(cache: LatentCache) -> str:
    """Spread of the latents, which the transformer expects near 1. Raises InvalidRequest far from it."""
    count = min(64, len(cache))
    chosen = np.linspace(0, len(cache) - 1, count, dtype=int).tolist()
    values = torch.cat([cache.latents(i, 0, cache.num_frames(i), None).flatten() for i in chosen])
    spread = float(values.std())
    line = f"latents: mean {float(values.mean()):.2f}, standard deviation {spread:.2f}"
    if not SPREAD[0] <= spread <= SPREAD[1]:
        raise InvalidRequest(f"{line}, not between {SPREAD[0]} and {SPREAD[1]}; {REMEDY}")
    return line


def spectral_correlation(
    made: Float[Tensor, "channel sample"], original: Float[Tensor, "channel sample"]
) -> float:
    """Correlation of two log spectrograms, 1 where they differ in level alone; 0 for silence."""
    pictures: Sequence[Tensor] = [_log_spectrum(sound) for sound in (made, original)]
    correlation = float(torch.corrcoef(torch.stack([p.flatten() for p in pictures]))[0, 1])
    return correlation if np.isfinite(correlation) else 0.0


def _log_spectrum(sound: Float[Tensor, "channel sample"]) -> Float[Tensor, "band time"]:
    size = 1_024
    mono = torch.nn.functional.pad(sound.mean(0), (0, max(0, size - sound.shape[-1])))
    magnitude = torch.stft(
        mono, size, size // 2, window=torch.hann_window(size), return_complex=True
    )
    level = magnitude.abs()
    floor = 1e-3 * float(level.max()) + 1e-9
    # bands of 16 bins: fine structure of noise is not the autoencoder's to keep
    return (level[:512].unflatten(0, (32, 16)).mean(1) + floor).log()
