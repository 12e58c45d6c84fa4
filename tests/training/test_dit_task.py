"""Batches of latents: their timing, their padding, their independence of how a batch is shared, and what is held out."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auralith.config import (
    AudioFormat,
    DistributionShift,
    DiTConfig,
    ModelConfig,
    NumberCondition,
    SpectralConfig,
    TextCondition,
)
from auralith.data.latents import LatentRecord
from auralith.diffusion import OBJECTIVES, shift_times
from auralith.errors import InvalidRequest
from auralith.models.dit import DiT
from auralith.models.embedders import NumberEmbedder
from auralith.text.encoder import TextStates
from auralith.training.dit import DiTNetwork, DiTSettings, DiTTask
from auralith.training.noising import TimestepSettings, even_uniform
from auralith.training.optimizers import OptimizerSettings
from auralith.training.task import Share
from tests.networks import dit_config

SPECTRAL = SpectralConfig()
AUDIO = AudioFormat(
    SPECTRAL.sample_rate, SPECTRAL.channels, SPECTRAL.latent_channels, SPECTRAL.samples_per_frame
)
CONFIG = ModelConfig(
    audio=AUDIO,
    window_samples=24 * AUDIO.samples_per_frame,
    autoencoder=SPECTRAL,
    dit=DiTConfig(
        latent_channels=AUDIO.latent_channels,
        embed_dim=64,
        depth=1,
        num_heads=2,
        context_dim=32,
        global_dim=64,
        project_context=True,
    ),
    conditions=(
        TextCondition(encoder="none", max_tokens=4),
        NumberCondition("seconds_start", 0.0, 64.0),
        NumberCondition("seconds_total", 0.0, 64.0),
    ),
    condition_dim=32,
    context_ids=("prompt", "seconds_start", "seconds_total"),
    global_ids=("seconds_start", "seconds_total"),
)


class Items:
    """Recordings whose latents tell the frame they are of, silence being −1."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = lengths

    def __len__(self) -> int:
        return len(self.lengths)

    def record(self, index: int) -> LatentRecord:
        frames = self.lengths[index]
        seconds = AUDIO.seconds(frames * AUDIO.samples_per_frame)
        return LatentRecord(str(index), str(index), seconds, frames, (f"sound {index}",), {})

    def latents(self, index: int, start: int, stop: int, rng: np.random.Generator | None) -> Tensor:
        frames = torch.arange(start, stop).float()
        frames[frames >= self.lengths[index]] = -1
        noise = 0.0 if rng is None else 1e-3 * float(rng.standard_normal())
        return frames.expand(AUDIO.latent_channels, -1) + noise


def texts(indices: Sequence[int], rngs: Sequence[np.random.Generator]) -> TextStates:
    states = torch.stack([torch.full((4, 32), float(index)) for index in indices])
    return TextStates(states, torch.ones(len(indices), 4, dtype=torch.bool))


def task(lengths: Sequence[int], **changes: object) -> DiTTask:
    settings = replace(
        DiTSettings(batch_size=8, sample_latents=False, validation_items=2),
        **changes,  # pyright: ignore[reportArgumentType]
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        dit = DiT(dit_config(CONFIG))
        numbers = nn.ModuleDict(
            {
                c.id: NumberEmbedder(c, 32)
                for c in CONFIG.conditions
                if isinstance(c, NumberCondition)
            }
        )
    network = DiTNetwork(CONFIG, dit, numbers)
    return DiTTask(CONFIG, network, Items(lengths), texts, settings, OptimizerSettings(), 3)


LENGTHS = [10, 24, 60, 200, 31, 90, 12, 24, 48, 400, 77, 24, 33, 8, 150, 64, 25, 26, 27, 28]


def test_windows_have_their_own_timing() -> None:
    made = task(LENGTHS).batch(5, Share(0, 1))
    for latents, seconds, mask, text in zip(
        made["latents"], made["numbers"], made["mask"], made["text"], strict=True
    ):
        frames = LENGTHS[int(text[0, 0])]
        start = int(latents[0, 0])
        assert seconds[0] == int(AUDIO.seconds(start * AUDIO.samples_per_frame))
        assert seconds[1] == np.ceil(AUDIO.seconds(frames * AUDIO.samples_per_frame))
        assert int(mask.sum()) == min(24, frames - start)
        assert (latents[0] == -1).sum() == 24 - mask.sum()


def test_crops_move_along_a_long_recording() -> None:
    made = task([400] * 20)
    starts = {int(x[0, 0]) for step in range(8) for x in made.batch(step, Share(0, 1))["latents"]}
    assert len(starts) > 40 and max(starts) > 300


def test_every_recording_is_seen_once_an_epoch() -> None:
    made = task(LENGTHS, batch_size=6)
    assert len(made.trained) == 18 and len(made.held_out) == 2
    seen = [int(t[0, 0]) for step in range(3) for t in made.batch(step, Share(0, 1))["text"]]
    assert sorted(seen) == made.trained
    assert not set(seen) & set(made.held_out)


@pytest.mark.parametrize("changes", [{}, {"batch_frames": 300}])
def test_items_do_not_depend_on_how_a_batch_is_shared(changes: dict[str, object]) -> None:
    made = task([24] * 20, sample_latents=True, **changes)
    whole = made.batch(7, Share(0, 1))
    parts = [made.batch(7, Share(index, 3)) for index in range(3)]
    size = 3 * len(parts[0]["t"])
    for name in ("latents", "noise", "t", "keep", "numbers", "text"):
        for index, part in enumerate(parts):
            assert torch.equal(whole[name][index:size:3], part[name])


def test_a_batch_that_can_not_be_shared_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="can't be shared by 9 parts"):
        task(LENGTHS).batch(0, Share(0, 9))
    with pytest.raises(InvalidRequest, match="fewer than one batch of 32"):
        task(LENGTHS, batch_size=32)


def test_whole_recordings_of_similar_length_share_a_batch() -> None:
    made = task(LENGTHS, batch_frames=400, bucket_frames=12)
    for step in range(20):
        batch = made.batch(step, Share(0, 1))
        lengths = batch["mask"].sum(1)
        assert batch["latents"].shape[-1] == int(lengths.max())
        assert int(lengths.max() - lengths.min()) < 12
        assert len(lengths) == max(1, 400 // batch["latents"].shape[-1]) or len(lengths) > 1


def test_padding_counts_unless_it_is_masked() -> None:
    counted, masked = task([10] * 20), task([10] * 20, mask_padding=True)
    batch = counted.batch(0, Share(0, 1))
    other = batch | {"latents": batch["latents"].clone()}
    other["latents"][..., 20:] += 5.0
    first = [t.losses(batch, 0, t.networks)["v"] for t in (counted, masked)]
    second = [t.losses(other, 0, t.networks)["v"] for t in (counted, masked)]
    assert abs(float(second[0] - first[0])) > 0.1
    # what attention carries from the padding to the sound is all that is left
    assert abs(float(second[1] - first[1])) < 0.1 * abs(float(second[0] - first[0]))


def test_validation_is_the_same_every_time() -> None:
    made = task(LENGTHS)
    first, second = made.validate(made.networks), made.validate(made.networks)
    assert first == second and set(first) == {"v"} | {f"v_t{t}" for t in (0.1, 0.3, 0.5, 0.7, 0.9)}
    assert first["v"] == pytest.approx(np.mean([v for k, v in first.items() if k != "v"]))


def test_timesteps_cover_their_distribution_evenly() -> None:
    numbers = np.array([even_uniform(index, 5) for index in range(256)])
    assert sorted((numbers * 256).astype(int)) == list(range(256))
    assert even_uniform(0, 5) != even_uniform(0, 6)
    objective = OBJECTIVES["v"]
    logit = [TimestepSettings("logit_normal", 1.0, 2.0).at(u, objective) for u in numbers]
    values = np.log(logit) - np.log1p(-np.array(logit))
    assert np.mean(values) == pytest.approx(1.0, abs=0.05)
    assert np.std(values) == pytest.approx(2.0, rel=0.05)
    snr = [TimestepSettings("log_snr", -1.2, 2.0).at(u, objective) for u in numbers]
    values = -2 * np.log(np.tan(np.array(snr) * np.pi / 2))
    assert np.mean(values) == pytest.approx(-1.2, abs=0.05)
    assert np.all(
        np.diff([TimestepSettings("log_snr").at(u, objective) for u in (0.1, 0.5, 0.9)]) > 0
    )


def test_a_models_shift_moves_the_times_of_training_and_one_shots_stay_at_one() -> None:
    times = task([24] * 20).batch(3, Share(0, 1))["t"]
    made = task([24] * 20, one_shot_probability=0.5)
    made.shift = DistributionShift(min_length=8.0, max_length=48.0)
    shifted = made.batch(3, Share(0, 1))["t"]
    shot = shifted == 1
    assert 0 < int(shot.sum()) < 8
    torch.testing.assert_close(shifted[~shot], shift_times(times, made.shift, 24)[~shot])
    parts = [made.batch(3, Share(part, 2))["t"] for part in range(2)]
    assert torch.equal(torch.stack(parts, dim=1).flatten(), shifted)


def test_the_masked_loss_is_the_mean_over_the_frames_that_count() -> None:
    """As published: over the frames of the whole batch, not of each item, however the batch is shared."""
    made = task([5, 10, 24, 60] * 5, mask_padding=True)
    whole = made.batch(1, Share(0, 1))
    network = made.networks["dit"]
    names = ("text", "text_mask", "numbers", "keep")
    with torch.no_grad():
        noisy = made.objective.add_noise(whole["latents"], whole["noise"], whole["t"])
        target = made.objective.target(whole["latents"], whole["noise"], whole["t"])
        squared = (network(noisy, whole["t"], *(whole[n] for n in names)) - target).square()
        mask = whole["mask"][:, None].expand_as(squared)
        expected = squared[mask].mean()
        parts = [made.batch(1, Share(part, 2)) for part in range(2)]
        losses = [made.losses(batch, 1, made.networks)["v"] for batch in (whole, *parts)]
    torch.testing.assert_close(losses[0], expected)
    torch.testing.assert_close((losses[1] + losses[2]) / 2, expected)


def test_padding_counts_in_some_steps() -> None:
    """Of a step of any share alike, so that the mean over shares stays the mean over the batch."""
    made = task([10] * 20, mask_padding=True, mask_padding_dropout=0.5)
    masks = [made.batch(step, Share(0, 1))["mask"] for step in range(30)]
    counted = [bool(mask.all()) for mask in masks]
    assert 5 < sum(counted) < 25
    assert all(int(mask.sum()) == 8 * 10 for mask in masks if not mask.all())
    part = [bool(made.batch(step, Share(1, 2))["mask"].all()) for step in range(30)]
    assert part == counted


def test_a_datasets_own_split_is_used() -> None:
    made = task([24] * 20, batch_size=4)
    made.source.record = lambda index: replace(  # pyright: ignore[reportAttributeAccessIssue]
        Items([24] * 20).record(index),
        metadata={"split": ("train", "validation", "test")[min(index % 5, 2)]},
    )
    trained, held_out = made._split()
    assert len(held_out) == 2 and {i % 5 for i in held_out} == {1}
    assert trained == [0, 5, 10, 15]
