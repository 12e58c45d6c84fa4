"""Training the waveform autoencoder against a discriminator (arXiv 2407.14358, sections 3.1 and 4.1).

Even steps train the autoencoder, odd ones the discriminator, each on a batch of its own. During the warm-up the
autoencoder does not hear the discriminator, which may learn already. In the autoencoder's turn the
discriminator's weights get no gradient, in the discriminator's turn the decoded waveforms carry none. Real and decoded
waveforms go through the discriminator in one call then, which replicas (DDP) need. With a frozen encoder, the second
phase of the published training, latents stay what they are and only the decoder goes on.

All convolutions that are trained are weight-normed, as published; `trained_oobleck` folds that into plain weights.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from auralith.config import OobleckConfig
from auralith.data.crops import AudioOptions, read_crop
from auralith.data.recording import Recordings
from auralith.errors import AudioError, Field, InvalidRequest
from auralith.metrics.codec import codec_metrics
from auralith.models.autoencoder import Oobleck, weight_normed
from auralith.models.discriminator import Discriminator
from auralith.numbers import check_integer
from auralith.sound.levels import peak_db
from auralith.training.epochs import SPLIT_COLUMN, ChunkSampling, Epochs, roles_of, split_up
from auralith.training.losses import (
    adversarial_loss,
    feature_matching_loss,
    hinge_loss,
    kl_divergence,
    stft_loss,
)
from auralith.training.optimizers import OptimizerSettings
from auralith.training.task import Batch, Share, item_rng

AUTOENCODER, DISCRIMINATOR = "autoencoder", "discriminator"
VALIDATION_STREAM = 2**40
REPLACEMENTS = 16
"""Recordings tried in place of one whose crop is silent or that can't be read."""


@dataclass(frozen=True)
class AutoencoderSettings:
    """Weights are those of the published loss; the published batch is 4 crops on each of 32 GPUs."""

    batch_size: int = 16
    """Crops of a step, over all processes and parts."""
    crop_samples: int = 65_536
    crops: AudioOptions = AudioOptions(flip_probability=0.5)
    sampling: ChunkSampling = ChunkSampling()
    split_column: str = SPLIT_COLUMN
    """Field that says which recordings are trained on and which validate; "" ignores it."""
    freeze_encoder: bool = False
    warmup_steps: int = 0
    """Steps before the autoencoder hears the discriminator."""
    warmup_mode: Literal["adversarial", "full"] = "adversarial"
    """During the warm-up "adversarial" trains the discriminator on odd steps, as published; "full" does not."""
    stft_weight: float = 1.0
    stft_normalized_by: Literal["decoded", "original"] = "decoded"
    """See `losses.stft_loss`; "decoded" as published."""
    adversarial_weight: float = 0.1
    matching_weight: float = 5.0
    kl_weight: float = 1e-4
    validation_items: int = 32

    def __post_init__(self) -> None:
        check_integer(self, "batch_size", 1)
        for name in ("validation_items", "warmup_steps"):
            check_integer(self, name, 0)


def _published(learning_rate: float) -> OptimizerSettings:
    return OptimizerSettings(
        learning_rate=learning_rate,
        betas=(0.8, 0.99),
        weight_decay=1e-3,
        warmup=0.999,
        gamma=200_000.0,
    )


@dataclass(frozen=True)
class AutoencoderOptimization:
    """Settings of both networks' optimizers; the defaults are the published ones."""

    autoencoder: OptimizerSettings = field(default_factory=lambda: _published(1.5e-4))
    discriminator: OptimizerSettings = field(default_factory=lambda: _published(3e-4))


class Reconstruction(NamedTuple):
    decoded: Float[Tensor, "batch channel sample"]
    mean: Float[Tensor, "batch latent frame"]
    std: Float[Tensor, "batch latent frame"]


class AutoencoderNetwork(nn.Module):
    """An Oobleck as it is trained: in one call, and weight-normed but for a frozen encoder, whose weights stay exact."""

    def __init__(self, autoencoder: Oobleck, *, freeze_encoder: bool = False) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        if freeze_encoder:
            autoencoder.encoder.requires_grad_(False)
        weight_normed(autoencoder.decoder if freeze_encoder else autoencoder)

    def forward(
        self,
        waveform: Float[Tensor, "batch channel sample"],
        noise: Float[Tensor, "batch latent frame"],
    ) -> Reconstruction:
        posterior = self.autoencoder.encode(waveform)
        decoded = self.autoencoder.decode(posterior.sample(noise))
        return Reconstruction(decoded, posterior.mean, posterior.std)


def trained_oobleck(config: OobleckConfig, state: Mapping[str, Tensor]) -> Oobleck:
    """The autoencoder with plain weights, from the (averaged) state of an `AutoencoderNetwork`."""
    frozen = "autoencoder.encoder.conv_in.weight" in state  # weight norm leaves two other names
    network = AutoencoderNetwork(Oobleck(config), freeze_encoder=frozen)
    network.load_state_dict(dict(state), strict=True)
    for module in list(network.modules()):
        if is_parametrized(module, "weight"):
            remove_parametrizations(module, "weight")
    return network.autoencoder.eval().requires_grad_(True)


class AutoencoderTask:
    """Random crops of recordings, by default every recording as likely as any other."""

    name = "autoencoder"

    def __init__(
        self,
        autoencoder: Oobleck,
        discriminator: Discriminator,
        recordings: Recordings,
        settings: AutoencoderSettings,
        optimization: AutoencoderOptimization,
        seed: int,
        usable: Sequence[int] | None = None,
    ) -> None:
        """`usable` are the positions of the recordings to take, by default all."""
        network = AutoencoderNetwork(autoencoder, freeze_encoder=settings.freeze_encoder)
        self.networks: dict[str, nn.Module] = {AUTOENCODER: network, DISCRIMINATOR: discriminator}
        self.optimization = {
            AUTOENCODER: optimization.autoencoder,
            DISCRIMINATOR: optimization.discriminator,
        }
        self.recordings, self.settings, self.seed = recordings, settings, seed
        self.unreadable: dict[str, str] = {}
        """Path and reason of recordings that were replaced because they could not be read."""
        frame = autoencoder.samples_per_frame
        self.noise_shape = autoencoder.config.latent_channels, settings.crop_samples // frame
        _check(autoencoder, discriminator, settings)
        self.trained, self.held_out = self._split(
            range(len(recordings)) if usable is None else usable
        )
        self.epochs = Epochs(recordings, self.trained, settings.sampling, seed)

    def turn(self, step: int) -> str:
        trained = step >= self.settings.warmup_steps or self.settings.warmup_mode == "adversarial"
        return DISCRIMINATOR if step % 2 and trained else AUTOENCODER

    def batch(self, step: int, share: Share) -> Batch:
        size = self.settings.batch_size
        places = share.positions(size)
        rngs = [item_rng(self.seed, step, place) for place in places]
        due = [self.epochs.recording(step * size + place) for place in places]
        crops = [self._audible_crop(index, rng) for index, rng in zip(due, rngs, strict=True)]
        return self._items(crops, rngs)

    def losses(
        self, batch: Batch, step: int, networks: Mapping[str, nn.Module]
    ) -> dict[str, Tensor]:
        waveform = batch["waveform"]
        if self.turn(step) == AUTOENCODER:
            made = networks[AUTOENCODER](waveform, batch["noise"])
            with torch.autocast(waveform.device.type, enabled=False):
                losses = self._reconstruction_losses(made, waveform)
            if step >= self.settings.warmup_steps:
                losses |= self._adversarial_losses(made, waveform, networks[DISCRIMINATOR])
            return losses
        with torch.no_grad():
            decoded = networks[AUTOENCODER](waveform, batch["noise"]).decoded
        judgments = networks[DISCRIMINATOR](torch.cat((waveform, decoded)))
        halves = [judgment.score.chunk(2) for judgment in judgments]
        return {"hinge": hinge_loss(*zip(*halves, strict=True))}

    def validate(self, networks: Mapping[str, nn.Module]) -> dict[str, float]:
        """Codec metrics of held-out recordings: means over one crop each, silent ones left out, always the same noise."""
        device = next(networks[AUTOENCODER].parameters()).device
        figures = []
        for item in self._validation_items:
            waveform, noise = item["waveform"], item["noise"]
            made = networks[AUTOENCODER](waveform.to(device), noise.to(device))
            decoded = made.decoded[0].float().cpu()
            metrics = codec_metrics(decoded, waveform[0], self.settings.crops.sample_rate)
            figures.append(asdict(metrics))
        names = figures[0] if figures else ()
        return {name: float(np.mean([figure[name] for figure in figures])) for name in names}

    def _reconstruction_losses(self, made: Reconstruction, waveform: Tensor) -> dict[str, Tensor]:
        settings = self.settings
        distance = stft_loss(
            made.decoded, waveform, settings.crops.sample_rate, settings.stft_normalized_by
        )
        losses = {"stft": settings.stft_weight * distance}
        if not settings.freeze_encoder:
            losses["kl"] = settings.kl_weight * kl_divergence(made.mean, made.std)
        return losses

    def _adversarial_losses(
        self, made: Reconstruction, waveform: Tensor, discriminator: nn.Module
    ) -> dict[str, Tensor]:
        with torch.no_grad():
            real = discriminator(waveform)
        with without_gradients(discriminator):
            fake = discriminator(made.decoded)
        return {
            "adversarial": self.settings.adversarial_weight * adversarial_loss(fake),
            "matching": self.settings.matching_weight * feature_matching_loss(real, fake),
        }

    def _items(self, crops: Sequence[Tensor], rngs: Sequence[np.random.Generator]) -> Batch:
        noise = [rng.standard_normal(self.noise_shape, dtype=np.float32) for rng in rngs]
        waveform = torch.stack(list(crops))
        seconds = waveform.shape[0] * waveform.shape[2] / self.settings.crops.sample_rate
        return {
            "waveform": waveform,
            "noise": torch.from_numpy(np.stack(noise)),
            "audio_seconds": torch.tensor(seconds),
        }

    def _audible_crop(
        self, index: int | None, rng: np.random.Generator
    ) -> Float[Tensor, "channel sample"]:
        """Return a crop of the recording that is due, or of one drawn at random where none is, where that one is silent
        or where it can't be read.
        """
        for _ in range(REPLACEMENTS):
            if index is None:
                index = self.trained[int(rng.integers(len(self.trained)))]
            crop = self._crop(index, self.settings.crops, rng)
            if crop is not None:
                return crop
            index = None
        reasons = [f" ({reason})" for reason in self.unreadable.values()]
        raise InvalidRequest(
            f"{REPLACEMENTS} recordings in a row are silent or unreadable{''.join(reasons[-1:])}; "
            "look at the dataset, or lower ",
            Field("silence_db"),
        )

    def _crop(
        self, index: int, options: AudioOptions, rng: np.random.Generator
    ) -> Float[Tensor, "channel sample"] | None:
        """A crop of one recording, none if it is silent or can't be read."""
        try:
            crop = read_crop(self.recordings, index, self.settings.crop_samples, options, rng)
        except (AudioError, InvalidRequest) as error:
            self.unreadable[self.recordings[index].path] = str(error)
            return None
        return crop.waveform if peak_db(crop.waveform) >= options.silence_db else None

    @cached_property
    def _validation_items(self) -> list[Batch]:
        """One item each, so that figures are those of files; not flipped, not louder."""
        options = replace(self.settings.crops, flip_probability=0.0, gain_db=0.0)
        items = []
        for index in self.held_out:
            rng = item_rng(self.seed, VALIDATION_STREAM, index)
            crop = self._crop(index, options, rng)
            if crop is not None:
                items.append(self._items([crop], [rng]))
        return items

    def _split(self, usable: Sequence[int]) -> tuple[list[int], list[int]]:
        """Recordings that are trained on and that are held out for validation, in a random order."""
        order = np.random.default_rng([self.seed, VALIDATION_STREAM]).permutation(len(usable))
        chosen = [usable[int(place)] for place in order]
        metadata = (self.recordings[index].metadata for index in chosen)
        roles = roles_of(metadata, self.settings.split_column)
        trained, held_out = split_up(chosen, roles, self.settings.validation_items)
        if not trained:
            raise InvalidRequest("there are no recordings to train on; name a dataset with some")
        return trained, held_out


@contextmanager
def without_gradients(network: nn.Module) -> Iterator[None]:
    """Calls pass gradients to their inputs but leave none in the network's weights."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def _check(
    autoencoder: Oobleck, discriminator: Discriminator, settings: AutoencoderSettings
) -> None:
    frame, longest = autoencoder.samples_per_frame, max(discriminator.config.fft_sizes)
    if settings.crop_samples % frame or settings.crop_samples < longest:
        raise InvalidRequest(
            Field("crop_samples"),
            f" is {settings.crop_samples}; it must be a multiple of {frame}, "
            f"the samples of a latent frame, and at least {longest}",
        )
    channels = {
        "autoencoder": autoencoder.config.channels,
        "discriminator": discriminator.config.channels,
        "crops": settings.crops.channels,
    }
    if len(set(channels.values())) > 1 or channels["crops"] > 2:
        raise InvalidRequest(f"channels must be equal, 1 or 2; these are {channels}")
