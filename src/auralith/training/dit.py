"""Training the diffusion transformer on cached latents (paper, section 3.3 and the published training config).

An item of a batch is a window of one recording: a random crop where the recording is longer, padded with the latent of
silence where it is shorter. The padding counts, so that the model learns where a sound ends. Where a model masks padding
(`ModelConfig.masks_padding`), an item ends at random behind its sound instead, and what lies behind that is seen by none. A
tenth of the items gets the null condition, which guidance needs. Everything random of an item comes from its own stream (`task.item_rng`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from auralith.conditioning import MaskedInput, Router
from auralith.config import ModelConfig
from auralith.data.conditions import recording_conditions
from auralith.data.crops import crop_start, crop_timing
from auralith.data.latents import LatentRecord
from auralith.diffusion import OBJECTIVES, Objective, shift_times
from auralith.errors import Field, InvalidRequest
from auralith.models.diffusion_transformer import DiffusionTransformer
from auralith.numbers import check_integer, check_number
from auralith.text.encoder import TextStates
from auralith.training.epochs import SPLIT_COLUMN, roles_of, split_up
from auralith.training.noising import InpaintMasks, TimestepSettings, even_uniform
from auralith.training.optimizers import OptimizerSettings
from auralith.training.task import Batch, Share, item_rng

VALIDATION_TIMES = (0.1, 0.3, 0.5, 0.7, 0.9)
EPOCH_STREAM = 2**40
BATCH_STREAM = 2**41
MASK_STREAM = 2**42


@runtime_checkable
class LatentSource(Protocol):
    """Interface of the latents that are trained on; `data.latents.LatentCache` is one."""

    def __len__(self) -> int: ...

    def record(self, index: int) -> LatentRecord: ...

    def latents(
        self, index: int, start: int, stop: int, rng: np.random.Generator | None
    ) -> Float[Tensor, "channel frame"]: ...


TextSource = Callable[[Sequence[int], Sequence[np.random.Generator]], TextStates]
"""The text states of items, their wordings drawn from their streams."""


@dataclass(frozen=True)
class DiTSettings:
    batch_size: int = 16
    """Recordings of a step, over all processes and parts; a window of each."""
    window_frames: int = 0
    """Latent frames of a window; 0: the model's own."""
    batch_frames: int = 0
    """Above 0: whole recordings of similar length instead of windows, as many as have this many frames together."""
    bucket_frames: int = 12
    condition_dropout: float = 0.1
    timesteps: TimestepSettings = TimestepSettings()
    one_shot_probability: float = 0.0
    """Share of the items that are trained at t = 1, from noise alone (published for few-step models)."""
    sample_latents: bool = True
    """Draw latents from the autoencoder's posterior instead of taking its mean."""
    mask_padding: bool = False
    """Leave padding out of the loss. The published model counts it."""
    mask_padding_dropout: float = 0.0
    """Share of the steps that count padding all the same, so that silence is learned too."""
    silence_seconds: float = 0.0
    """Mean of the silence behind a sound that counts where padding is masked; its length is exponentially distributed."""
    kept_weight: float = 1.0
    """Weight of the frames that a model trained for inpainting is shown, where padding is masked: their mean error beside
    that of the others."""
    whole_seconds: bool = True
    """Round seconds_start down and seconds_total up, as the published model was trained."""
    validation_items: int = 32
    split_column: str = SPLIT_COLUMN
    """Field that says which recordings are trained on and which validate; "" ignores it."""
    inpainting: InpaintMasks = InpaintMasks()
    """Parts that a model trained for inpainting is shown; other models don't use it."""

    def __post_init__(self) -> None:
        for name in ("batch_size", "bucket_frames"):
            check_integer(self, name, 1)
        for name in ("window_frames", "batch_frames", "validation_items"):
            check_integer(self, name, 0)
        check_number(self, "condition_dropout", least=0.0, below=1.0)
        check_number(self, "silence_seconds", "s", least=0.0)
        check_number(self, "kept_weight", least=0.0)
        for name in ("one_shot_probability", "mask_padding_dropout"):
            check_number(self, name, least=0.0, most=1.0)


@dataclass(frozen=True)
class LatentWindow:
    """Frames [start, stop) of a recording."""

    index: int
    start: int
    stop: int


class DiTNetwork(nn.Module):
    """The trained networks: the transformer and the embedders of numbers. The text encoder is frozen and outside."""

    def __init__(
        self, config: ModelConfig, dit: DiffusionTransformer[Any], numbers: nn.ModuleDict
    ) -> None:
        super().__init__()
        self.dit, self.numbers = dit, numbers
        self.router = Router(config, numbers)

    def forward(
        self,
        noisy: Float[Tensor, "batch channel frame"],
        t: Float[Tensor, " batch"],
        text: Float[Tensor, "batch token dim"],
        text_mask: Bool[Tensor, "batch token"],
        numbers: Float[Tensor, "batch number"],
        keep: Bool[Tensor, " batch"],
        extra: Float[Tensor, "batch extra frame"] | None = None,
        valid: Bool[Tensor, "batch frame"] | None = None,
    ) -> Float[Tensor, "batch channel frame"]:
        """The velocity. `numbers` has a column for each number condition of the model, in its order."""
        by_id = dict(zip(self.router.number_ids, numbers.unbind(1), strict=True))
        conditioning = self.router.assemble(TextStates(text, text_mask), by_id, keep)
        return self.dit(noisy, t, conditioning.context, conditioning.global_embed, extra, valid)


class DiTTask:
    name = "dit"

    def __init__(
        self,
        config: ModelConfig,
        network: DiTNetwork,
        source: LatentSource,
        texts: TextSource,
        settings: DiTSettings,
        optimization: OptimizerSettings,
        seed: int,
    ) -> None:
        self.networks: dict[str, nn.Module] = {"dit": network}
        self.optimization = {"dit": optimization}
        self.config, self.audio = config, config.audio
        self.objective: Objective = OBJECTIVES[config.objective]
        self.shift = config.distribution_shift
        self.number_ids = network.router.number_ids
        self.source, self.texts, self.settings, self.seed = source, texts, settings, seed
        self.window = settings.window_frames or config.window_frames
        self.trained, self.held_out = self._split()

    def turn(self, step: int) -> str:
        return "dit"

    def batch(self, step: int, share: Share) -> Batch:
        windows = self._windows(step)
        places = share.positions(len(windows))
        rngs = [item_rng(self.seed, step, place) for place in places]
        batch = self._items([windows[place] for place in places], rngs)
        kept = [rng.random() >= self.settings.condition_dropout for rng in rngs]
        quantiles = [even_uniform(step * len(windows) + place, self.seed) for place in places]
        frames = batch["latents"].shape[-1]
        lengths = [self._shift_length(windows[place], frames) for place in places]
        times = self._times(quantiles, lengths, rngs)
        if self._counts_padding(step) and not self.config.masks_padding:
            batch["mask"] = torch.ones_like(batch["mask"])
            batch["counted"] = torch.tensor(float(frames))
        elif self.settings.mask_padding:
            batch["counted"] = self._counted(windows[: len(places) * share.count])
        return batch | {"t": times, "keep": torch.tensor(kept)}

    def _times(
        self,
        quantiles: Sequence[float],
        lengths: Sequence[int],
        rngs: Sequence[np.random.Generator],
    ) -> Float[Tensor, " batch"]:
        """Return the items' timesteps: drawn, shifted as the model's config asks for, now and then 1."""
        drawn = [self.settings.timesteps.at(u, self.objective) for u in quantiles]
        times = torch.tensor(drawn, dtype=torch.float64)
        if self.shift is not None:
            pairs = zip(times, lengths, strict=True)
            times = torch.stack([shift_times(t, self.shift, length) for t, length in pairs])
        shots = [rng.random() < self.settings.one_shot_probability for rng in rngs]
        return times.masked_fill(torch.tensor(shots), 1.0).float()

    def _shift_length(self, window: LatentWindow, num_frames: int) -> int:
        """Return the frames that the shift of an item's timestep is for: of the batch, or of the seconds that it is told."""
        if not self.config.shifts_by_sound:
            return num_frames
        seconds = self._timing(window)[1]
        return self.audio.num_frames(int(seconds * self.audio.sample_rate))

    def _counted(self, windows: Sequence[LatentWindow]) -> Float[Tensor, ""]:
        """Return the mean number of frames that hold sound."""
        ends = [min(w.stop, self.source.record(w.index).num_frames) for w in windows]
        return torch.tensor(
            float(np.mean([e - w.start for e, w in zip(ends, windows, strict=True)]))
        )

    def _counts_padding(self, step: int) -> bool:
        share = self.settings.mask_padding_dropout
        return share > 0 and np.random.default_rng([self.seed, MASK_STREAM, step]).random() < share

    def losses(
        self, batch: Batch, step: int, networks: Mapping[str, nn.Module]
    ) -> dict[str, Tensor]:
        return {"v": self._error(batch, networks["dit"])}

    def validate(self, networks: Mapping[str, nn.Module]) -> dict[str, float]:
        """Mean squared error at fixed timesteps on items that are not trained on, with the same noise every time."""
        errors = dict.fromkeys(VALIDATION_TIMES, 0.0)
        count = max(1, len(self.held_out))
        device = next(networks["dit"].parameters()).device
        for batch in self._validation_batches:
            batch = {name: value.to(device) for name, value in batch.items()}
            size = len(batch["keep"])
            for t in VALIDATION_TIMES:
                error = self._error(batch | {"t": torch.full((size,), t)}, networks["dit"])
                errors[t] += float(error) * size / count
        if not self.held_out:
            return {}
        return {"v": sum(errors.values()) / len(errors)} | {f"v_t{t}": e for t, e in errors.items()}

    @torch.no_grad()
    def explained(self) -> tuple[float, float]:
        """Loss of the network as it is on one batch of items, at the times of `validate`, and that of predicting 0."""
        network = self.networks["dit"]
        device = next(network.parameters()).device
        batch = {k: v.to(device) for k, v in self.batch(0, Share(0, 1)).items()}
        batch["keep"] = torch.ones_like(batch["keep"])
        losses, nothing = [], []
        for t in VALIDATION_TIMES:
            times = torch.full((len(batch["keep"]),), t)
            losses.append(float(self._error(batch | {"t": times}, network)))
            target = self.objective.target(batch["latents"], batch["noise"], t)
            nothing.append(float(self._mean(target.square().mean(dim=1), batch)))
        return sum(losses) / len(losses), sum(nothing) / len(nothing)

    def _error(self, batch: Batch, network: nn.Module) -> Float[Tensor, ""]:
        latents, noise = batch["latents"], batch["noise"]
        t = batch["t"].to(latents.device)
        noisy = self.objective.add_noise(latents, noise, t)
        target = self.objective.target(latents, noise, t)
        inputs = (batch[name] for name in ("text", "text_mask", "numbers", "keep"))
        extra = None
        if self.config.input_ids:
            extra = MaskedInput.of(latents, batch["kept"]).channels(self.config.input_ids)
        v = network(noisy, t, *inputs, extra, batch.get("valid")).float()
        return self._mean((v - target).square().mean(dim=1), batch)

    def _mean(self, squared: Float[Tensor, "batch frame"], batch: Batch) -> Float[Tensor, ""]:
        """Return the mean over the frames that count."""
        if self.config.masks_padding:
            kept = batch["kept"][:, 0] if "kept" in batch else torch.zeros_like(squared)
            made = _item_means(squared, batch["mask"] * (1 - kept))
            return (
                made + self.settings.kept_weight * _item_means(squared, batch["mask"] * kept)
            ).mean()
        if not self.settings.mask_padding:
            return squared.mean()
        # over the frames that count in the whole batch, so that the mean over shares is the published one
        return ((squared * batch["mask"]).sum(1) / batch["counted"]).mean()

    def _items(self, windows: Sequence[LatentWindow], rngs: Sequence[np.random.Generator]) -> Batch:
        ends = [self._end(w, rng) for w, rng in zip(windows, rngs, strict=True)]
        width = max(ends)
        posterior = rngs if self.settings.sample_latents else [None] * len(rngs)
        latents = torch.stack(
            [
                self.source.latents(w.index, w.start, w.start + width, rng)
                for w, rng in zip(windows, posterior, strict=True)
            ]
        )
        noise = [
            _widened(rng.standard_normal((latents.shape[1], end), dtype=np.float32), width)
            for end, rng in zip(ends, rngs, strict=True)
        ]
        text = self.texts([w.index for w in windows], rngs)
        return self._lengths(windows, ends, rngs) | {
            "latents": latents,
            "noise": torch.from_numpy(np.stack(noise)),
            "text": text.states,
            "text_mask": text.mask,
            "numbers": torch.tensor([self._numbers(w) for w in windows]),
            "counted": self._counted(windows),
            "audio_seconds": torch.tensor(len(ends) * width / self.audio.frame_rate),
        }

    def _end(self, window: LatentWindow, rng: np.random.Generator) -> int:
        """Return the frames of an item: of its window, or of its sound and some silence where padding is masked."""
        frames = window.stop - window.start
        if not self.config.masks_padding:
            return frames
        scale = self.settings.silence_seconds * self.audio.frame_rate
        silence = int(rng.exponential(scale))
        return min(self.source.record(window.index).num_frames - window.start + silence, frames)

    def _lengths(
        self,
        windows: Sequence[LatentWindow],
        ends: Sequence[int],
        rngs: Sequence[np.random.Generator],
    ) -> Batch:
        """Return what counts of each item and, for a model trained for inpainting, what is kept of it."""
        lengths = ends
        if not self.config.masks_padding:
            lengths = [self.source.record(w.index).num_frames - w.start for w in windows]
        frames = torch.arange(max(ends))
        mask = frames < torch.tensor(lengths)[:, None]
        made: Batch = {"mask": mask}
        if self.config.masks_padding and not mask.all():
            made["valid"] = mask
        if self.config.input_ids:
            draw = self.settings.inpainting.kept_frames
            pairs = zip(lengths, rngs, strict=True)
            kept = torch.from_numpy(np.stack([draw(n, len(frames), rng) for n, rng in pairs]))
            made["kept"] = (kept * mask if self.config.masks_padding else kept)[:, None]
        return made

    def _timing(self, window: LatentWindow) -> tuple[float, float]:
        """Return the seconds before a window, and those of its recording."""
        start = window.start / self.audio.frame_rate
        total = self.source.record(window.index).seconds
        if self.settings.whole_seconds:
            start, total = map(float, crop_timing(start, total))
        return start, total

    def _numbers(self, window: LatentWindow) -> list[float]:
        """The number conditions of a window: when it is, and what its recording says for the others."""
        start, total = self._timing(window)
        values = {"seconds_start": start, "seconds_total": total}
        values |= recording_conditions(self.config, self.source.record(window.index))
        return [values[name] for name in self.number_ids]

    def _windows(self, step: int) -> list[LatentWindow]:
        """Return the windows of a step, the same in every process."""
        if self.settings.batch_frames:
            return self._bucket(np.random.default_rng([self.seed, BATCH_STREAM, step]))
        size = self.settings.batch_size
        return [self._crop(step * size + position, step, position) for position in range(size)]

    def _crop(self, count: int, step: int, position: int) -> LatentWindow:
        """The window of the count-th item of the run: every item once an epoch, in an order drawn anew."""
        epoch, place = divmod(count, len(self.trained))
        index = self.trained[int(self._order(epoch)[place])]
        rng = item_rng(self.seed, step, BATCH_STREAM + position)
        start = crop_start(self.source.record(index).num_frames, self.window, rng)
        return LatentWindow(index, start, start + self.window)

    @lru_cache(maxsize=2)  # noqa: B019  an epoch's order is used by all its steps; a task lives as long as its run
    def _order(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, EPOCH_STREAM, epoch]).permutation(
            len(self.trained)
        )

    def _bucket(self, rng: np.random.Generator) -> list[LatentWindow]:
        first, last, longest = self._buckets[int(rng.integers(len(self._buckets)))]
        size = max(1, self.settings.batch_frames // longest)
        chosen = [self._by_length[int(i)] for i in rng.integers(first, last, size)]
        frames = max(self.source.record(index).num_frames for index in chosen)
        return [LatentWindow(index, 0, frames) for index in chosen]

    @cached_property
    def _by_length(self) -> list[int]:
        return sorted(self.trained, key=lambda index: self.source.record(index).num_frames)

    @cached_property
    def _buckets(self) -> list[tuple[int, int, int]]:
        """Ranges of items of similar length and their longest, each as often as its share of all frames asks for."""
        lengths = [self.source.record(index).num_frames for index in self._by_length]
        ranges: dict[int, list[int]] = {}
        for place, length in enumerate(lengths):
            ranges.setdefault(length // self.settings.bucket_frames, []).append(place)
        buckets = []
        for places in ranges.values():
            frames = sum(lengths[place] for place in places)
            bucket = (places[0], places[-1] + 1, lengths[places[-1]])
            buckets += [bucket] * max(1, round(1_000 * frames / sum(lengths)))
        return buckets

    def _split(self) -> tuple[list[int], list[int]]:
        """Items that are trained on, and those that are held out for validation."""
        rng = np.random.default_rng([self.seed, EPOCH_STREAM])
        order = rng.permutation(len(self.source)).tolist()
        metadata = (self.source.record(index).metadata for index in order)
        roles = roles_of(metadata, self.settings.split_column)
        trained, held_out = split_up(order, roles, self.settings.validation_items)
        trained = sorted(trained)
        if not self.settings.batch_frames and len(trained) < self.settings.batch_size:
            raise InvalidRequest(
                f"{len(trained)} recordings are fewer than one batch of {self.settings.batch_size}; "
                "add recordings or lower ",
                Field("batch_size"),
            )
        if not trained:
            raise InvalidRequest("there are no latents to train on; encode a dataset first")
        return trained, held_out

    @property
    def _validation_batches(self) -> Iterator[Batch]:
        size = self.settings.batch_size
        for first in range(0, len(self.held_out), size):
            indices = self.held_out[first : first + size]
            frames = self.window
            if self.settings.batch_frames:
                frames = max(self.source.record(index).num_frames for index in indices)
            rngs = [item_rng(self.seed, EPOCH_STREAM, index) for index in indices]
            batch = self._items([LatentWindow(index, 0, frames) for index in indices], rngs)
            batch["keep"] = torch.ones(len(indices), dtype=torch.bool)
            yield batch


def _item_means(
    values: Float[Tensor, "batch frame"], counts: Float[Tensor, "batch frame"]
) -> Float[Tensor, " batch"]:
    """Return the mean of each item over the frames that count; 0 where none does."""
    return (values * counts).sum(1) / counts.sum(1).clamp(min=1)


def _widened(
    noise: Float[np.ndarray, "channel frame"], frames: int
) -> Float[np.ndarray, "channel wide"]:
    """Return the noise of an item with zeros behind it."""
    return np.pad(noise, ((0, 0), (0, frames - noise.shape[1])))
