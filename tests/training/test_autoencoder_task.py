"""Training the waveform autoencoder: it learns, turns alternate cleanly, a frozen encoder stays as it is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auralith.config import OobleckConfig
from auralith.data.crops import AudioOptions
from auralith.data.recording import Recording, Recordings
from auralith.errors import InvalidRequest
from auralith.models.autoencoder import Oobleck
from auralith.models.discriminator import Discriminator, DiscriminatorConfig
from auralith.sound.extent import SoundInfo
from auralith.training.autoencoder import (
    AutoencoderNetwork,
    AutoencoderOptimization,
    AutoencoderSettings,
    AutoencoderTask,
    trained_oobleck,
)
from auralith.training.loop import Run, train
from auralith.training.task import LoopSettings, Share
from recipes.tiny.recordings import ProceduralRecordings

pytestmark = pytest.mark.usefixtures("undrawn")

CONFIG = OobleckConfig(
    latent_channels=16,
    strides=(2, 4),
    encoder_width=8,
    encoder_multiples=(1, 2),
    decoder_width=8,
    decoder_multiples=(1, 2),
)
SETTINGS = AutoencoderSettings(batch_size=2, crop_samples=2_048, validation_items=4)
OPTIMIZATION = AutoencoderOptimization()


def oobleck(config: OobleckConfig = CONFIG) -> Oobleck:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Oobleck(config)


def discriminator() -> Discriminator:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return Discriminator(DiscriminatorConfig(filters=4, fft_sizes=(256, 64)))


def task(
    recordings: Recordings | None = None, autoencoder: Oobleck | None = None, **changes: Any
) -> AutoencoderTask:
    return AutoencoderTask(
        autoencoder or oobleck(),
        discriminator(),
        recordings or ProceduralRecordings(40),
        replace(SETTINGS, **changes),
        OPTIMIZATION,
        seed=3,
    )


def step_of(made: AutoencoderTask, step: int) -> dict[str, Tensor]:
    """Losses of a step after their backward pass."""
    losses = made.losses(made.batch(step, Share(0, 1)), step, made.networks)
    torch.stack(list(losses.values())).sum().backward()
    return losses


def has_gradients(network: nn.Module) -> set[bool]:
    return {p.grad is not None for p in network.parameters() if p.requires_grad}


class Listed(Recordings):
    """Given waveforms; none stands for a file that can't be read."""

    def __init__(self, waveforms: list[Tensor | None]) -> None:
        self.waveforms = waveforms

    def __len__(self) -> int:
        return len(self.waveforms)

    def __getitem__(self, i: int) -> Recording:
        return Recording(str(i), f"file-{i}.wav", (), {})

    def info(self, i: int) -> SoundInfo:
        waveform = self.waveforms[i]
        return SoundInfo(3_000 if waveform is None else waveform.shape[1], 44_100, 2)

    def read(self, i: int, start: int = 0, stop: int | None = None) -> tuple[Tensor, int]:
        waveform = self.waveforms[i]
        if waveform is None:
            raise InvalidRequest(f"file-{i}.wav holds NaN")
        return waveform[:, start:stop], 44_100


def test_it_learns() -> None:
    """Latents are nearly without noise here, which otherwise takes thousands of steps to be outgrown."""
    autoencoder = oobleck()
    with torch.no_grad():
        bias = autoencoder.encoder.conv_out.bias
        assert bias is not None
        bias[CONFIG.latent_channels :] -= 6
    made = task(
        autoencoder=autoencoder,
        batch_size=1,
        warmup_steps=100,
        warmup_mode="full",
        stft_normalized_by="original",
    )
    network = made.networks["autoencoder"]
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, betas=(0.8, 0.99))
    with torch.no_grad():
        before = made.validate(made.networks)
    for step in range(70):
        step_of(made, step)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        after = made.validate(made.networks)
    assert after["stft"] < 0.75 * before["stft"]
    assert after["mel"] < 0.7 * before["mel"]
    assert after["si_sdr"] > before["si_sdr"] + 15


@pytest.mark.parametrize(("mode", "expected"), [("adversarial", "adadad"), ("full", "aaadad")])
def test_turns_and_the_warm_up(mode: str, expected: str) -> None:
    """As published the discriminator learns while the autoencoder does not hear it yet."""
    made = task(warmup_steps=2, warmup_mode=mode)
    turns = "".join(made.turn(step)[0] for step in range(6))
    assert turns == expected
    assert set(step_of(made, 0)) == {"stft", "kl"}
    assert set(step_of(made, 2)) == {"stft", "kl", "adversarial", "matching"}


def test_the_autoencoders_turn_leaves_no_gradient_in_the_discriminator() -> None:
    made = task()
    step_of(made, 0)
    assert has_gradients(made.networks["discriminator"]) == {False}
    assert has_gradients(made.networks["autoencoder"]) == {True}
    assert all(p.requires_grad for p in made.networks["discriminator"].parameters())


def test_the_discriminators_turn_leaves_no_gradient_in_the_autoencoder() -> None:
    made = task()
    assert set(step_of(made, 1)) == {"hinge"}
    assert has_gradients(made.networks["discriminator"]) == {True}
    assert has_gradients(made.networks["autoencoder"]) == {False}


def test_the_discriminator_pulls_the_autoencoder() -> None:
    """Without the spectral loss, the two terms alone reach the decoder."""
    made = task(stft_weight=0.0, kl_weight=0.0)
    losses = step_of(made, 0)
    gradients = {n: p.grad for n, p in made.networks["autoencoder"].named_parameters()}
    last = gradients["autoencoder.decoder.blocks.1.snake.log_alpha"]
    assert last is not None and float(last.abs().max()) > 0
    assert float(losses["matching"].detach()) > 0


def test_a_frozen_encoder_stays_bit_for_bit_while_the_decoder_moves() -> None:
    original = oobleck()
    encoder, decoder = (
        {name: value.clone() for name, value in part.state_dict().items()}
        for part in (original.encoder, original.decoder)
    )
    made = task(autoencoder=original, freeze_encoder=True)
    network = made.networks["autoencoder"]
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], 1e-2)
    assert "kl" not in step_of(made, 0)
    optimizer.step()
    trained = trained_oobleck(CONFIG, network.state_dict())
    for name, value in trained.encoder.state_dict().items():
        assert torch.equal(value, encoder[name])
    moved = {n: not torch.allclose(v, decoder[n]) for n, v in trained.decoder.state_dict().items()}
    assert any(moved.values()) and moved["conv_out.weight"]


def test_weight_norm_changes_nothing_and_folds() -> None:
    """The names are those of the plain network, so that checkpoints can be written."""
    waveform, noise = torch.sin(torch.arange(512) * 0.2).expand(1, 2, -1), torch.zeros(1, 16, 64)
    plain = oobleck()
    expected = plain.decode(plain.encode(waveform).mean)
    network = AutoencoderNetwork(oobleck())
    assert torch.allclose(network(waveform, noise).decoded, expected, atol=1e-6)
    folded = trained_oobleck(CONFIG, network.state_dict())
    assert folded.state_dict().keys() == plain.state_dict().keys()
    assert torch.allclose(folded.decode(folded.encode(waveform).mean), expected, atol=1e-6)
    assert all(p.requires_grad for p in folded.parameters())


def test_items_do_not_depend_on_the_share() -> None:
    made = task(batch_size=4)
    whole = made.batch(7, Share(0, 1))
    for index in range(2):
        part = made.batch(7, Share(index, 2))
        assert torch.equal(part["waveform"], whole["waveform"][index::2])
        assert torch.equal(part["noise"], whole["noise"][index::2])
    assert whole["noise"].shape == (4, 16, 256)
    assert float(whole["audio_seconds"]) == pytest.approx(4 * 2_048 / 44_100)
    assert not torch.equal(whole["waveform"], made.batch(8, Share(0, 1))["waveform"])


def test_every_share_is_as_large() -> None:
    assert list(Share(1, 3).positions(8)) == [1, 4]
    with pytest.raises(InvalidRequest, match="a batch of 2 can't be shared by 3 parts"):
        Share(0, 3).positions(2)


def test_silent_and_unreadable_recordings_are_replaced_and_named() -> None:
    loud, silent = torch.full((2, 3_000), 0.5), torch.full((2, 3_000), 1e-4)
    made = task(Listed([silent, None, loud, loud]), batch_size=8)
    for step in range(4):
        waveform = made.batch(step, Share(0, 1))["waveform"]
        assert torch.equal(waveform.abs(), torch.full_like(waveform, 0.5))
        assert set(waveform[:, 0, 0].sign().tolist()) <= {-1.0, 1.0}
    assert made.unreadable == {"file-1.wav": "file-1.wav holds NaN"}
    hopeless = task(Listed([silent, None]))
    with pytest.raises(InvalidRequest, match=r"silent or unreadable \(file-1\.wav holds NaN\)"):
        hopeless.batch(0, Share(0, 1))


def test_polarity_is_flipped_half_of_the_time() -> None:
    made = task(Listed([torch.full((2, 3_000), 0.5)]), batch_size=64)
    signs = made.batch(0, Share(0, 1))["waveform"][:, 0, 0].sign()
    assert 16 < int((signs < 0).sum()) < 48


def test_validation_repeats_and_its_recordings_are_not_trained_on() -> None:
    made = task()
    assert len(made.held_out) == 4 and not set(made.held_out) & set(made.trained)
    with torch.no_grad():
        first, second = made.validate(made.networks), task().validate(made.networks)
    assert first == second
    assert list(first) == ["stft", "mel", "si_sdr", "multi_resolution_stft"]
    assert task(validation_items=0).validate(made.networks) == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_samples": 2_050}, "crop_samples is 2050; it must be a multiple of 8"),
        ({"crop_samples": 128}, "at least 256"),
        ({"crops": AudioOptions(channels=1)}, "channels must be equal"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        task(**changes)


def test_the_loop_trains_both_networks_and_what_it_made_is_an_autoencoder(tmp_path: Path) -> None:
    settings = LoopSettings(steps=4, save_every=2, device="cpu", ema_decay=0.5)
    run = Run(task(validation_items=1), settings, tmp_path)
    made = list(train(run))
    assert [sorted(set(p.losses) - {"gradient"}) for p in made[:2]] == [
        ["adversarial", "kl", "matching", "stft"],
        ["hinge"],
    ]
    assert np.isfinite(list(made[-1].validation.values())).all()
    final = trained_oobleck(CONFIG, run.averaged_state())
    assert not torch.equal(final.decoder.conv_out.weight, oobleck().decoder.conv_out.weight)


def test_published_numbers() -> None:
    settings, moved = AutoencoderSettings(), AutoencoderOptimization()
    assert (settings.crop_samples, settings.crops.flip_probability) == (65_536, 0.5)
    weights = "stft_weight", "adversarial_weight", "matching_weight", "kl_weight"
    assert [getattr(settings, name) for name in weights] == [1.0, 0.1, 5.0, 1e-4]
    assert (moved.autoencoder.learning_rate, moved.discriminator.learning_rate) == (1.5e-4, 3e-4)
    assert moved.autoencoder.betas == (0.8, 0.99) and moved.autoencoder.weight_decay == 1e-3
    assert moved.discriminator.rate(200_000, 1) == pytest.approx(2**-0.5)
