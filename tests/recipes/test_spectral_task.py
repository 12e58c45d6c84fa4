"""Training the spectral autoencoder: its batches, its losses, and that a step lowers them."""

import pytest
import torch

from auralith.config import SpectralConfig
from auralith.models.spectral import Spectral
from auralith.training.optimizers import OptimizerSettings
from auralith.training.task import Share
from recipes.tiny.corpus import ProceduralCorpus
from recipes.tiny.spectral import SpectralSettings, SpectralTask


@pytest.fixture
def task() -> SpectralTask:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Spectral(
            SpectralConfig(fine_width=8, coarse_width=16, fine_blocks=1, coarse_blocks=1)
        )
    settings = SpectralSettings(batch_size=2, crop_frames=6)
    return SpectralTask(network, ProceduralCorpus(), settings, OptimizerSettings(), seed=3)


def test_items_do_not_depend_on_the_share(task: SpectralTask) -> None:
    whole = task.batch(7, Share(0, 1))
    assert whole["waveform"].shape == (2, 2, 6 * 2_048)
    assert whole["noise"].shape == (2, 64, 6)
    for index in range(2):
        part = task.batch(7, Share(index, 2))
        assert torch.equal(part["waveform"], whole["waveform"][index::2])
        assert torch.equal(part["noise"], whole["noise"][index::2])


def test_it_learns(task: SpectralTask) -> None:
    network = task.networks["autoencoder"]
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    with torch.no_grad():
        before = task.validate(task.networks)
    for step in range(25):
        losses = task.losses(task.batch(step, Share(0, 1)), step, task.networks)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
    with torch.no_grad():
        after = task.validate(task.networks)
    assert list(after) == ["level", "likelihood", "tilt", "kl"]
    assert after["level"] < 0.8 * before["level"]
