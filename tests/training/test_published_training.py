"""Losses, schedule, average and optimizer against numbers of stable-audio-tools (`scripts/golden_training.py`).

The gradient of the spectral loss jumps where a magnitude falls below its floor and where two are nearly equal: float32
leaves the reference's own gradient up to 5e-5 from its float64 one, and a last bit of a tap moves it by 2e-5.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from auralith.models.discriminator import Discriminator, DiscriminatorConfig
from auralith.training import losses
from auralith.training.losses import (
    a_weighting_taps,
    adversarial_loss,
    feature_matching_loss,
    hinge_loss,
    kl_divergence,
    stft_loss,
)
from auralith.training.optimizers import Average, OptimizerSettings, build_optimizers, set_rates

FOLDER = Path(__file__).parents[1] / "golden" / "training"
RATES = (44_100, 48_000)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(FOLDER / "stft_loss.safetensors") | load_file(FOLDER / "losses.safetensors")


def spectral(decoded: Tensor, original: Tensor, rate: int) -> tuple[Tensor, Tensor]:
    """The loss and its gradient with respect to `decoded`."""
    decoded = decoded.clone().requires_grad_()
    loss = stft_loss(decoded, original, rate)
    loss.backward()
    assert decoded.grad is not None
    return loss.detach(), decoded.grad


@pytest.mark.parametrize("rate", [16_000, 22_050, 32_000, 44_100, 48_000, 96_000])
def test_taps_of_the_weighting(golden: dict[str, Tensor], rate: int) -> None:
    taps = torch.from_numpy(a_weighting_taps(rate))
    torch.testing.assert_close(taps, golden[f"fir.{rate}"], rtol=0, atol=1e-7)


@pytest.mark.parametrize("rate", RATES)
def test_the_spectral_loss_and_its_gradient(
    golden: dict[str, Tensor], rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the very same float32 taps the gradients agree to 1e-7, in double precision far closer."""
    decoded, original = golden[f"{rate}.decoded"], golden[f"{rate}.original"]
    loss, own = spectral(decoded, original, rate)
    torch.testing.assert_close(loss, golden[f"{rate}.loss"], rtol=0, atol=1e-5)
    assert (own - golden[f"{rate}.grad"]).abs().max() < 5e-5
    taps = golden[f"fir.{rate}"].numpy()
    monkeypatch.setattr(losses, "a_weighting_taps", lambda _: taps)
    loss, gradient = spectral(decoded, original, rate)
    torch.testing.assert_close(loss, golden[f"{rate}.loss"], rtol=0, atol=1e-6)
    rounding = (golden[f"{rate}.grad"] - golden[f"{rate}.grad64"]).abs().max()
    assert (gradient - golden[f"{rate}.grad"]).abs().max() < rounding


@pytest.mark.parametrize("rate", RATES)
def test_the_spectral_loss_in_double_precision(
    golden: dict[str, Tensor], rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "a_weighting_taps", lambda _: golden[f"{rate}.taps64"].numpy())
    loss, gradient = spectral(
        golden[f"{rate}.decoded"].double(), golden[f"{rate}.original"].double(), rate
    )
    torch.testing.assert_close(loss, golden[f"{rate}.loss64"], rtol=0, atol=1e-9)
    torch.testing.assert_close(gradient, golden[f"{rate}.grad64"], rtol=0, atol=1e-9)


def test_the_discriminator_and_its_losses(golden: dict[str, Tensor]) -> None:
    network = Discriminator(DiscriminatorConfig(filters=4, fft_sizes=(256, 64)))
    network.load_state_dict(_discriminator_weights(golden), strict=True)
    with torch.no_grad():
        real, fake = network(golden["real"]), network(golden["fake"])
    found = {
        "hinge": hinge_loss([j.score for j in real], [j.score for j in fake]),
        "adversarial": adversarial_loss(fake),
        "matching": feature_matching_loss(real, fake),
    }
    for name, loss in found.items():
        torch.testing.assert_close(loss, golden[name], rtol=1e-5, atol=1e-6)


def _discriminator_weights(golden: dict[str, Tensor]) -> dict[str, Tensor]:
    prefix = "discriminator.discriminators.discriminators."
    names = {
        ".conv.weight_g": ".parametrizations.weight.original0",
        ".conv.weight_v": ".parametrizations.weight.original1",
        ".conv.bias": ".bias",
        "conv_post": "conv_out",
    }
    weights = {}
    for name, value in golden.items():
        if name.startswith(prefix) and "spec_transform" not in name:
            ours = "scales." + name.removeprefix(prefix)
            for theirs, new in names.items():
                ours = ours.replace(theirs, new)
            weights[ours] = value
    return weights


def test_the_divergence_of_the_bottleneck(golden: dict[str, Tensor]) -> None:
    std = nn.functional.softplus(golden["kl.scale"]) + 1e-4
    torch.testing.assert_close(kl_divergence(golden["kl.mean"], std), golden["kl"])


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("dit", OptimizerSettings()),
        ("autoencoder", OptimizerSettings(warmup=0.999, gamma=200_000.0)),
        ("other", OptimizerSettings(warmup=0.9, gamma=100.0, power=0.75)),
    ],
)
def test_the_learning_rate(
    golden: dict[str, Tensor], name: str, settings: OptimizerSettings
) -> None:
    found = [settings.rate(step, 1_000) for step in range(300)]
    np.testing.assert_allclose(found, golden[f"rate.{name}"].numpy(), rtol=1e-12)


@pytest.mark.parametrize("decay_vectors", [True, False])
def test_weight_decay_reaches_vectors_as_published(decay_vectors: bool) -> None:
    """One group of plain AdamW by default; without `decay_vectors` biases are left out."""
    settings = OptimizerSettings(learning_rate=1e-2, weight_decay=0.5, decay_vectors=decay_vectors)
    networks = [nn.Linear(3, 2), nn.Linear(3, 2)]
    networks[1].load_state_dict(networks[0].state_dict())
    (ours,) = build_optimizers(networks[0], settings)
    theirs = torch.optim.AdamW(networks[1].parameters(), lr=1e-2, weight_decay=0.5)
    for _ in range(3):
        set_rates([ours], settings, 1.0)
        for network, optimizer in zip(networks, (ours, theirs), strict=True):
            network(torch.ones(1, 3)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    torch.testing.assert_close(networks[0].weight, networks[1].weight)
    assert torch.allclose(networks[0].bias, networks[1].bias) == decay_vectors


def test_the_average_is_that_of_the_published_training() -> None:
    """After n updates the weights enter with 1 - min(0.9999, 1 - n^(-3/4)); the first ones are copied."""
    network = nn.Linear(1, 1, bias=False)
    average = Average(network, 0.9999, on_cpu=False)
    expected = 0.0
    for n in range(1, 6):
        nn.init.constant_(network.weight, float(n))
        average.update(n - 1)
        decay = min(0.9999, 1 - n**-0.75)
        expected = decay * expected + (1 - decay) * n
    assert float(average.values["weight"]) == pytest.approx(expected, rel=1e-6)
