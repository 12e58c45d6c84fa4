"""The discriminator: shapes, size, where it looks, and that its pieces are the published ones."""

import numpy as np
import pytest
import torch
from torch import Tensor

from auralith.models.discriminator import (
    Discriminator,
    DiscriminatorConfig,
    StftDiscriminator,
    spectrogram,
)

SMALL = DiscriminatorConfig(filters=4, fft_sizes=(256, 64))


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_the_published_size() -> None:
    network = Discriminator(DiscriminatorConfig())
    of_a_scale = (
        (4 * 27 + 3 * 64 * 27 + 64 * 9) * 64  # weights of the hidden layers
        + 64 * 9  # of the last
        + 2 * (5 * 64 + 1)  # biases, and the lengths of weight norm
    )
    assert sum(p.numel() for p in network.parameters()) == 5 * of_a_scale == 1_883_850
    assert not list(network.buffers())


def test_every_scale_keeps_the_size_of_its_map() -> None:
    judgments = Discriminator(SMALL)(noise(3, 2, 4_096))
    for size, (score, features) in zip(SMALL.fft_sizes, judgments, strict=True):
        time, bins = (4_096 - size) // (size // 4) + 1, size // 2 + 1
        assert score.shape == (3, 1, time, bins)
        assert [f.shape for f in features] == 5 * [(3, 4, time, bins)]


def test_the_spectrogram_written_out() -> None:
    waveform = noise(1, 2, 1_000)
    found = spectrogram(waveform, 256)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(256) / 256)
    frame = waveform[0].double().numpy()[:, 128:384] * window
    expected = np.fft.rfft(frame) / np.sqrt((window**2).sum())
    parts = np.concatenate((expected.real, expected.imag))
    assert np.abs(found[0, :, 2].numpy() - parts).max() < 1e-5


def test_dilation_is_in_time() -> None:
    """1 + 1 + 2 + 4 + 1 + 1 frames to each side, 4 · 4 + 2 bins."""
    scale = StftDiscriminator(SMALL, 256)
    seen = torch.zeros(1, 4, 41, 129, requires_grad=True)
    hidden = seen
    for conv in scale.convs:
        hidden = conv(hidden)
    (gradient,) = torch.autograd.grad(scale.conv_out(hidden)[0, 0, 20, 64], seen)
    frames, bins = (gradient[0].abs().sum((0, axis)).nonzero().flatten() for axis in (2, 1))
    assert (int(frames.min()), int(frames.max())) == (10, 30)
    assert (int(bins.min()), int(bins.max())) == (46, 82)


def test_the_spectrogram_is_exact_under_autocast() -> None:
    waveform = noise(1, 2, 1_000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = spectrogram(waveform, 64)
    assert torch.equal(found, spectrogram(waveform, 64))


def test_it_learns_to_tell_noise_from_a_tone() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Discriminator(SMALL)
    optimizer = torch.optim.Adam(network.parameters(), 1e-2)
    tone = torch.sin(torch.arange(512) * 0.1).expand(1, 2, -1)
    both = torch.cat((tone, 0.3 * noise(1, 2, 512)))

    def hinge() -> Tensor:
        halves = [judgment.score.chunk(2) for judgment in network(both)]
        losses = [(1 - r).relu().mean() + (1 + f).relu().mean() for r, f in halves]
        return torch.stack(losses).mean()

    before = float(hinge().detach())
    for _ in range(20):
        optimizer.zero_grad()
        hinge().backward()
        optimizer.step()
    assert before == pytest.approx(2, abs=0.3)
    assert float(hinge().detach()) < 0.5 * before
