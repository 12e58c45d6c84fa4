"""Write tests/golden/training/losses.safetensors from a checkout of stable-audio-tools.

    python scripts/golden_training.py STABLE_AUDIO_TOOLS

The reference's discriminator, its hinge, adversarial and feature matching losses, the KL of its bottleneck, its spectral
loss in float64, the factors of its InverseLR, and its timesteps of training, all on random numbers. Everything that
these functions never call is a stand-in.
"""

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

PACKAGE = "stable_audio_tools"
FFT_SIZES = (256, 64)
SCALES = (2_048, 1_024, 512, 256, 128, 64, 32)
FOLDER = Path(__file__).parents[1] / "tests" / "golden" / "training"


class StandIn(ModuleType):
    """A module from which any public name can be imported."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class Spectrogram(torch.nn.Module):
    """torchaudio's, with the arguments that the discriminator gives."""

    def __init__(self, n_fft: int, hop_length: int, **_: Any) -> None:
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length

    def forward(self, waveform: Tensor) -> Tensor:
        window = torch.hann_window(self.n_fft)
        spectrum = torch.stft(
            waveform.flatten(0, 1),
            self.n_fft,
            self.hop_length,
            window=window,
            center=False,
            return_complex=True,
        ).unflatten(0, waveform.shape[:2])
        return spectrum / window.square().sum().sqrt()


def module(checkout: Path, name: str) -> Any:
    """One module of the checkout by its path, without its packages' __init__."""
    full = f"{PACKAGE}.{name}"
    path = checkout / PACKAGE / (name.replace(".", "/") + ".py")
    spec = importlib.util.spec_from_file_location(full, path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[full] = made
    spec.loader.exec_module(made)
    return made


def stand_in(*names: str) -> None:
    for name in names:
        sys.modules[name] = StandIn(name)


def adversarial(checkout: Path, generator: torch.Generator) -> dict[str, Tensor]:
    stand_in("torchaudio", f"{PACKAGE}.models.autoencoders", "vector_quantize_pytorch")
    setattr(sys.modules["torchaudio"], "transforms", SimpleNamespace(Spectrogram=Spectrogram))  # noqa: B010
    module(checkout, "models.encodec")
    discriminators = module(checkout, "models.discriminators")
    torch.manual_seed(0)
    network = discriminators.EncodecDiscriminator(
        in_channels=2,
        filters=4,
        n_ffts=list(FFT_SIZES),
        hop_lengths=[size // 4 for size in FFT_SIZES],
        win_lengths=list(FFT_SIZES),
    )
    real, fake = (0.3 * torch.randn(2, 2, 1_500, generator=generator) for _ in range(2))
    with torch.no_grad():
        hinge, score, matching = network.loss(real, fake)
    weights = {f"discriminator.{name}": value for name, value in network.state_dict().items()}
    return weights | {
        "real": real,
        "fake": fake,
        "hinge": hinge,
        "adversarial": score,
        "matching": matching,
    }


def kl(checkout: Path, generator: torch.Generator) -> dict[str, Tensor]:
    stand_in("einops.layers.torch", "dac", "dac.nn", "dac.nn.quantize", f"{PACKAGE}.models.fsq")
    bottleneck = module(checkout, "models.bottleneck")
    mean, scale = (torch.randn(2, 3, 7, generator=generator) for _ in range(2))
    _, divergence = bottleneck.vae_sample(mean, scale)
    return {"kl.mean": mean, "kl.scale": scale, "kl": divergence}


def spectral(checkout: Path, stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradient in float64, by which the rounding of the float32 ones is measured."""
    auraloss = module(checkout, "training.losses.auraloss")
    found = {}
    for rate in (44_100, 48_000):
        settings = {
            "fft_sizes": SCALES,
            "hop_sizes": [size // 4 for size in SCALES],
            "win_lengths": SCALES,
            "perceptual_weighting": True,
            "sample_rate": rate,
        }
        both = auraloss.SumAndDifferenceSTFTLoss(**settings).double()
        each = auraloss.MultiResolutionSTFTLoss(**settings).double()
        for part in (*both.modules(), *each.modules()):
            if isinstance(getattr(part, "window", None), Tensor):
                part.window = torch.hann_window(len(part.window), dtype=torch.float64)
        decoded = stored[f"{rate}.decoded"].double().requires_grad_()
        original = stored[f"{rate}.original"].double()
        loss = both(original, decoded)  # the published order
        for channel in (slice(0, 1), slice(1, 2)):
            loss = loss + each(original[:, channel], decoded[:, channel]) / 2
        loss.backward()
        assert decoded.grad is not None
        taps = auraloss.FIRFilter("aw", fs=rate).fir.weight.data.flatten()
        found |= {
            f"{rate}.taps64": taps,
            f"{rate}.loss64": loss.detach(),
            f"{rate}.grad64": decoded.grad,
        }
    return found


def schedules(checkout: Path) -> dict[str, Tensor]:
    stand_in(
        "wandb", "pytorch_lightning", "pytorch_lightning.loggers", f"{PACKAGE}.interface.aeiou"
    )
    utils = module(checkout, "training.utils")
    found = {}
    for name, settings in (
        ("dit", {"inv_gamma": 1_000_000, "power": 0.5, "warmup": 0.99}),
        ("autoencoder", {"inv_gamma": 200_000, "power": 0.5, "warmup": 0.999}),
        ("other", {"inv_gamma": 100, "power": 0.75, "warmup": 0.9}),
    ):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = utils.InverseLR(optimizer, **settings)
        rates = []
        for _ in range(300):
            rates.append(schedule.get_last_lr()[0])
            optimizer.step()
            schedule.step()
        found[f"rate.{name}"] = torch.tensor(rates, dtype=torch.float64)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="a checkout of stable-audio-tools")
    checkout = parser.parse_args().checkout
    generator = torch.Generator().manual_seed(1)
    stored = load_file(FOLDER / "stft_loss.safetensors")
    found = adversarial(checkout, generator) | kl(checkout, generator)
    found |= spectral(checkout, stored) | schedules(checkout)
    save_file(
        {name: value.contiguous() for name, value in found.items()}, FOLDER / "losses.safetensors"
    )


if __name__ == "__main__":
    main()
